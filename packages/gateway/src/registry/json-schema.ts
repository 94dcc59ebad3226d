/** JSON Schemas as the registry sees them: checked, and compared. */

import type { ReferencedSchema } from "@millrace/client/avro";
import { JsonCursor } from "../avro/json-cursor.ts";
import { parseJsonSchema } from "../json-schema-format/json-schema-check.ts";
import { uncertainPlace } from "./json-schema-compatibility.ts";
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

class JsonSchema implements ParsedSchema {
  readonly #text: string;
  readonly #referenced: readonly ReferencedSchema[];

  constructor(text: string, referenced: readonly ReferencedSchema[]) {
    this.#text = text;
    this.#referenced = referenced;
  }

  /** A schema that cannot be compared for sure counts as one that does not go with the other: nobody else would look. */
  readerProblems(writer: JsonSchema): readonly Incompatibility[] {
    if (this.#canonical === writer.#canonical) return [];
    const found = this.#isComparable && writer.#isComparable ? uncertainPlace(this.#value, writer.#value) : "/";
    return found === null ? [] : [notImplied(found)];
  }

  get #value(): unknown {
    return JSON.parse(this.#text);
  }

  /** What others say of it is left alone, and numbers that a double does not keep. */
  get #isComparable(): boolean {
    const bytes = Buffer.from(this.#text.trim());
    return this.#referenced.length === 0 && hasExactNumbers(JsonCursor.at(bytes, 0, bytes.length));
  }

  get #canonical(): string {
    const texts = [this.#text, ...this.#referenced.map(({ name, schema }) => `[${JSON.stringify(name)},${schema}]`)];
    return texts.map((schema) => canonicalText("JSON", schema)).join("\n");
  }
}

function hasExactNumbers(json: JsonCursor): boolean {
  const isObject = json.kind === "object";
  switch (json.kind) {
    case "object":
    case "array": {
      let isExact = true;
      for (let isMore = json.open(); isMore; isMore = json.next()) {
        if (isObject) json.name();
        isExact = hasExactNumbers(json) && isExact;
      }
      return isExact;
    }
    case "number": {
      const text = json.number();
      return String(Number(text)) === text;
    }
    default:
      json.skip();
      return true;
  }
}

function notImplied(path: string): Incompatibility {
  return {
    errorType: "NOT_IMPLIED",
    path,
    description: `At path '${path}' the READER schema may refuse what the WRITER schema lets pass`,
    additionalInfo:
      'no more than keyword by keyword is compared; if they go together all the same: PUT /schemas/config/{subject} {"compatibility":"NONE"}',
  };
}
