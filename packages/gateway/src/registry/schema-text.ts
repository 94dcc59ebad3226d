/** The text of a schema as it comes: its limit, and how it is refused. */

import { parseJson } from "../json/parse.ts";
import { RegistryError } from "./registry-errors.ts";

/** A record of the topic must hold it, with all that is escaped. */
const SCHEMA_LIMIT_BYTES = 512 * 1024;

/** Throws for what is too long, and for what is not JSON. */
export function readSchemaText(text: string): unknown {
  if (text.trim() === "") throw new RegistryError("INVALID_SCHEMA", "Empty schema");
  const bytes = Buffer.from(text);
  if (bytes.length > SCHEMA_LIMIT_BYTES) {
    throw new RangeError(`it has ${bytes.length} bytes; at most ${SCHEMA_LIMIT_BYTES} are taken`);
  }
  return parseJson(bytes);
}

export function invalidSchema(error: unknown): RegistryError {
  if (error instanceof RegistryError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new RegistryError("INVALID_SCHEMA", `Invalid schema: ${reason}`, { cause: error });
}
