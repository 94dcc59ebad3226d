/** The kinds of schemas that the registry takes, and what it must know of each. */

import type { ReferencedSchema } from "@millrace/client/avro";

/** As Confluent's API names them. */
export const schemaTypes = ["AVRO", "JSON"] as const;
export type SchemaType = (typeof schemaTypes)[number];

/** What is said of a schema's kind in records and answers: without it, it is Avro. */
export function typeMember(schemaType: SchemaType): { readonly schemaType?: SchemaType } {
  return schemaType === "AVRO" ? {} : { schemaType };
}

/** referenced: what it may refer to, each behind what that refers to. Throws RegistryError INVALID_SCHEMA. */
export type SchemaParser = (text: string, referenced: readonly ReferencedSchema[]) => ParsedSchema;

/** A schema that was found to be one. */
export interface ParsedSchema {
  /** Why data that was written with an earlier schema of the same kind cannot be read with this one. Empty if it can. */
  readerProblems(writer: this): readonly Incompatibility[];
}

/** One reason why what one schema wrote cannot be read with another, in Confluent's words as far as it has any. */
export interface Incompatibility {
  readonly errorType:
    | "NAME_MISMATCH"
    | "FIXED_SIZE_MISMATCH"
    | "MISSING_ENUM_SYMBOLS"
    | "READER_FIELD_MISSING_DEFAULT_VALUE"
    | "TYPE_MISMATCH"
    | "MISSING_UNION_BRANCH"
    | "SCHEMA_TYPE_MISMATCH"
    | "NOT_IMPLIED";
  /** In the reader's schema, as a JSON pointer. */
  readonly path: string;
  readonly description: string;
  readonly additionalInfo: string;
}
