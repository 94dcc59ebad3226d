/** By what the registry knows a schema again, however it is spelled. */

import { createHash } from "node:crypto";
import type { SchemaReference } from "@millrace/client/avro";
import { JsonCursor } from "../avro/json-cursor.ts";
import type { SchemaType } from "./schema-kinds.ts";

export interface SchemaIdentity {
  readonly schemaType: SchemaType;
  /** JSON text. */
  readonly schema: string;
  readonly references: readonly SchemaReference[];
}

/** Equal for schemas that differ in nothing but spacing, the order of members, and how Avro's primitive types are written. */
export function schemaFingerprint({ schemaType, schema, references }: SchemaIdentity): string {
  const named = references.map(({ name, subject, version }) => [name, subject, version]);
  return createHash("sha256")
    .update(`${schemaType} ${canonicalText(schemaType, schema)} ${JSON.stringify(named.sort())}`)
    .digest("base64");
}

/** Numbers keep their digits: two defaults may differ beyond what a double holds. */
export function canonicalText(schemaType: SchemaType, text: string): string {
  const trimmed = text.trim();
  if (schemaType === "AVRO" && /^[a-z]+$/.test(trimmed)) return JSON.stringify(trimmed);
  const bytes = Buffer.from(trimmed);
  return canonicalValue(JsonCursor.at(bytes, 0, bytes.length), schemaType);
}

function canonicalValue(json: JsonCursor, schemaType: SchemaType): string {
  switch (json.kind) {
    case "object": {
      const members: [name: string, value: string][] = [];
      for (let isMore = json.open(); isMore; isMore = json.next()) {
        members.push([json.name(), canonicalValue(json, schemaType)]);
      }
      const [only] = members;
      if (schemaType === "AVRO" && members.length === 1 && only?.[0] === "type") return only[1];
      const sorted = members.toSorted(([a], [b]) => (a < b ? -1 : 1));
      return `{${sorted.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
    }
    case "array": {
      const items: string[] = [];
      for (let isMore = json.open(); isMore; isMore = json.next()) items.push(canonicalValue(json, schemaType));
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
