/** Avro schemas as the registry sees them: checked, and the same whenever they say the same. */

import { createHash } from "node:crypto";
import type { SchemaReference } from "@millrace/client/avro";
import avro from "avsc";
import { JsonCursor } from "../avro/json-cursor.ts";
import { parseJson } from "../json/parse.ts";
import { RegistryError } from "./registry-errors.ts";

export type AvroType = avro.Type;

/** A record of the topic must hold it, with all that is escaped. */
const SCHEMA_LIMIT_BYTES = 512 * 1024;

/**
 * The type that a schema describes; its longs, decimals and the like as Avro's plain types, which is how compatibility
 * looks at them.
 *
 * referenced: schemas of the named types that it uses and does not define, each behind those that it uses itself.
 * Throws RegistryError INVALID_SCHEMA.
 */
export function parseSchema(text: string, referenced: readonly string[]): AvroType {
  if (text.trim() === "") throw new RegistryError("INVALID_SCHEMA", "Empty schema");
  const options = { registry: {} };
  try {
    for (const schema of referenced) avro.Type.forSchema(readSchema(schema), options);
    return avro.Type.forSchema(readSchema(text), options);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RegistryError("INVALID_SCHEMA", `Invalid schema: ${reason}`, { cause: error });
  }
}

function readSchema(text: string): avro.Schema {
  const bytes = Buffer.from(text);
  if (bytes.length > SCHEMA_LIMIT_BYTES) {
    throw new RangeError(`it has ${bytes.length} bytes; at most ${SCHEMA_LIMIT_BYTES} are taken`);
  }
  // The name of a primitive type is written without quotes as well.
  if (/^\s*[a-z]+\s*$/.test(text)) return text.trim() as avro.Schema;
  return parseJson(bytes) as avro.Schema; // avsc checks it
}

/** Equal for schemas that differ in nothing but spacing, the order of attributes, and how primitive types are written. */
export function schemaFingerprint(text: string, references: readonly SchemaReference[]): string {
  const named = references.map(({ name, subject, version }) => [name, subject, version]);
  return createHash("sha256")
    .update(`${canonicalText(text)} ${JSON.stringify(named.sort())}`)
    .digest("base64");
}

/** Numbers keep their digits: two defaults may differ beyond what a double holds. */
function canonicalText(text: string): string {
  const trimmed = text.trim();
  if (/^[a-z]+$/.test(trimmed)) return JSON.stringify(trimmed);
  const bytes = Buffer.from(trimmed);
  return canonicalValue(JsonCursor.at(bytes, 0, bytes.length));
}

function canonicalValue(json: JsonCursor): string {
  switch (json.kind) {
    case "object": {
      const members: [name: string, value: string][] = [];
      for (let isMore = json.open(); isMore; isMore = json.next()) members.push([json.name(), canonicalValue(json)]);
      const [only] = members;
      if (members.length === 1 && only?.[0] === "type") return only[1];
      const sorted = members.toSorted(([a], [b]) => (a < b ? -1 : 1));
      return `{${sorted.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
    }
    case "array": {
      const items: string[] = [];
      for (let isMore = json.open(); isMore; isMore = json.next()) items.push(canonicalValue(json));
      return `[${items.join(",")}]`;
    }
    case "string":
      return JSON.stringify(json.string());
    case "number":
      return json.number();
    case "boolean":
      return String(json.boolean());
    case "null":
      json.skip();
      return "null";
  }
}
