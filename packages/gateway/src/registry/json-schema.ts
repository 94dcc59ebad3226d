/** JSON Schemas as the registry sees them: checked, and compared for being the same alone. */

import type { ReferencedSchema } from "@millrace/client/avro";
import { parseJsonSchema } from "../json-schema-format/json-schema-check.ts";
import { canonicalText } from "./schema-fingerprint.ts";
import type { Incompatibility, ParsedSchema } from "./schema-kinds.ts";
import { invalidSchema, readSchemaText } from "./schema-text.ts";

export function parseJson(text: string, referenced: readonly ReferencedSchema[]): JsonSchema {
  try {
    for (const schema of [text, ...referenced.map((reference) => reference.schema)]) readSchemaText(schema);
    parseJsonSchema(text, referenced);
  } catch (error) {
    throw invalidSchema(error);
  }
  return new JsonSchema(text, referenced);
}

/**
 * Whether all that one JSON schema lets pass another does too cannot be told in general, and where it can, one wrong answer
 * is data that a reader stumbles over. So two that are not the same are never said to go together.
 */
class JsonSchema implements ParsedSchema {
  readonly #canonical: string;

  constructor(text: string, referenced: readonly ReferencedSchema[]) {
    const texts = [text, ...referenced.map(({ name, schema }) => `${JSON.stringify(name)}: ${schema}`)];
    this.#canonical = texts.map((schema) => canonicalText("JSON", schema)).join("\n");
  }

  readerProblems(writer: JsonSchema): readonly Incompatibility[] {
    return this.#canonical === writer.#canonical ? [] : [notCompared];
  }
}

const notCompared: Incompatibility = {
  errorType: "NOT_COMPARED",
  path: "",
  description:
    "This registry does not compare JSON schemas that differ. It takes another version where the subject's compatibility is NONE",
  additionalInfo: 'PUT /schemas/config/{subject} with {"compatibility":"NONE"}',
};
