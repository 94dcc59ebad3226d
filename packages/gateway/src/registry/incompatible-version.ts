/** How the registry tells that a schema does not go with an earlier one. */

import type { SchemaVersion } from "./registry-records.ts";
import type { Incompatibility } from "./schema-kinds.ts";

/** How a schema was found to be incompatible with a version: what its reader and its writer would stumble over. */
export interface IncompatibleVersion {
  readonly version: SchemaVersion;
  readonly reasons: readonly Incompatibility[];
}

/** In the form that clients of Confluent's registry print. */
export function describeIncompatible({ version, reasons }: IncompatibleVersion, level: string): string[] {
  return [
    ...reasons.map(
      ({ errorType, description, additionalInfo }) =>
        `{errorType:'${errorType}', description:"${description}", additionalInfo:'${additionalInfo}'}`,
    ),
    `{oldSchemaVersion: ${version.version}}`,
    `{compatibility: '${level}'}`,
  ];
}
