/** Avro schemas as the registry sees them: checked, and compared. */

import type { ReferencedSchema } from "@millrace/client/avro";
import avro from "avsc";
import { type AvroType, incompatibilities } from "./avro-compatibility.ts";
import type { Incompatibility, ParsedSchema } from "./schema-kinds.ts";
import { invalidSchema, readSchemaText } from "./schema-text.ts";

export function parseAvro(text: string, referenced: readonly ReferencedSchema[]): AvroSchema {
  return new AvroSchema(
    parseSchema(
      text,
      referenced.map(({ schema }) => schema),
    ),
  );
}

class AvroSchema implements ParsedSchema {
  readonly #type: AvroType;

  constructor(type: AvroType) {
    this.#type = type;
  }

  readerProblems(writer: AvroSchema): readonly Incompatibility[] {
    return incompatibilities(this.#type, writer.#type);
  }
}

/**
 * The type that a schema describes; its longs, decimals and the like as Avro's plain types, which is how compatibility
 * looks at them.
 *
 * referenced: schemas of the named types that it uses and does not define, each behind those that it uses itself.
 * Throws RegistryError INVALID_SCHEMA.
 */
export function parseSchema(text: string, referenced: readonly string[]): AvroType {
  const options = { registry: {} };
  try {
    for (const schema of referenced) avro.Type.forSchema(readSchema(schema), options);
    return avro.Type.forSchema(readSchema(text), options);
  } catch (error) {
    throw invalidSchema(error);
  }
}

function readSchema(text: string): avro.Schema {
  // The name of a primitive type is written without quotes as well.
  if (/^\s*[a-z]+\s*$/.test(text)) return text.trim() as avro.Schema;
  return readSchemaText(text) as avro.Schema; // avsc checks it
}
