/**
 * A record as one line of JSON: what `consume --format json` writes and `produce --format ndjson` reads.
 *
 *     {"partition":0,"offset":12,"timestamp":1517966773840,"key":"ci37868143","keyFormat":"string","value":{"mag":2}}
 *
 * The value's bytes stand in the line as they are where they are JSON of one line. What is text, or neither, is told by
 * valueFormat: "string" or "binary" (base64). So null, empty and the text null stay three things, and what was written
 * is what a reader of the line gets back.
 */

import { isUtf8 } from "node:buffer";
import type { ConsumedRecord } from "@millrace/client";

const NEWLINE = Buffer.from("\n");

/** The pieces of the line, its newline included; concatenated they are the line. The value is not copied. */
export function recordLine(record: ConsumedRecord): Uint8Array[] {
  const fields = [`"partition":${record.partition}`, `"offset":${record.offset}`];
  // A record of the oldest format has no time: -1, which no producer would send.
  if (record.timestamp >= 0) fields.push(`"timestamp":${record.timestamp}`);
  fields.push(keyFields(record.key));
  if (record.headers.length > 0) fields.push(`"headers":[${record.headers.map(headerObject).join(",")}]`);
  const start = `{${fields.join(",")},"value":`;

  const { value } = record;
  if (value !== null && isOneLineJson(value)) return [Buffer.from(start), value, Buffer.from("}\n")];
  const { text, format } = asText(value);
  const tail = format === null ? "}" : `,"valueFormat":"${format}"}`;
  return [Buffer.from(start + text + tail), NEWLINE];
}

/** Keys are names more often than JSON, so that a key 123 is shown as the text it is. */
function keyFields(key: Buffer | null): string {
  const { text, format } = asText(key);
  return format === null ? `"key":${text}` : `"key":${text},"keyFormat":"${format}"`;
}

function headerObject([name, value]: readonly [string, Buffer | null]): string {
  const { text, format } = asText(value);
  const encoding = format === "binary" ? ',"encoding":"base64"' : "";
  return `{"key":${JSON.stringify(name)},"value":${text}${encoding}}`;
}

function asText(bytes: Buffer | null): { readonly text: string; readonly format: "string" | "binary" | null } {
  if (bytes === null) return { text: "null", format: null };
  if (isUtf8(bytes)) return { text: JSON.stringify(bytes.toString("utf8")), format: "string" };
  return { text: `"${bytes.toString("base64")}"`, format: "binary" };
}

/** Whether these bytes, put into a line of JSON, are read from it again as they are. The bare null is not: it means none. */
function isOneLineJson(bytes: Buffer): boolean {
  if (bytes.length === 0 || bytes.includes(0x0a) || bytes.includes(0x0d) || !isUtf8(bytes)) return false;
  const text = bytes.toString("utf8");
  if (text !== text.trim() || text === "null") return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
