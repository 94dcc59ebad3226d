/** A record from the log as JSON: its bytes as text where they are text, as base64 where they are not. */

import { isUtf8 } from "node:buffer";
import type { ConsumedRecord } from "@millrace/client";
import { JsonSyntaxError, skipValue, skipWhitespace } from "./json/scanner.ts";

export const readFormats = ["string", "json", "binary", "avro"] as const;
export type ReadFormat = (typeof readFormats)[number];

export interface ReadFormats {
  readonly key: ReadFormat;
  readonly value: ReadFormat;
}

/** What Avro's bytes say. */
export interface DecodedPart {
  readonly json: string;
  readonly schemaId: number;
}

/** Null for bytes that are no Avro with a schema that is known. */
export type PartDecoder = (bytes: Buffer) => DecodedPart | null;

/** How bytes are shown: the JSON, and what must be said about it for the bytes to be had back. */
interface Shown {
  readonly json: string;
  readonly encoding: "base64" | "utf8" | null;
  readonly schemaId?: number;
}

const NULL: Shown = { json: "null", encoding: null };

/** decode: for parts in avro format. */
export function messageJson(record: ConsumedRecord, formats: ReadFormats, decode: PartDecoder): string {
  const { partition, offset, timestamp, headers } = record;
  const key = showPart(record.key, formats.key, decode);
  const value = showPart(record.value, formats.value, decode);
  let json = `{"partition":${partition},"offset":${offset},"key":${key.json},"value":${value.json},"timestamp":${timestamp}`;
  if (key.encoding !== null) json += `,"keyEncoding":"${key.encoding}"`;
  if (value.encoding !== null) json += `,"valueEncoding":"${value.encoding}"`;
  if (key.schemaId !== undefined) json += `,"keySchemaId":${key.schemaId}`;
  if (value.schemaId !== undefined) json += `,"valueSchemaId":${value.schemaId}`;
  if (headers.length > 0) json += `,"headers":[${headers.map(headerJson).join(",")}]`;
  return `${json}}`;
}

/** In the form in which produce takes it. */
function headerJson([name, bytes]: ConsumedRecord["headers"][number]): string {
  const value = show(bytes, "string");
  const encoding = value.encoding === null ? "" : `,"encoding":"${value.encoding}"`;
  return `{"key":${JSON.stringify(name)},"value":${value.json}${encoding}}`;
}

/** What is not Avro is marked as the bytes that it is. */
function showPart(bytes: Buffer | null, format: ReadFormat, decode: PartDecoder): Shown {
  if (bytes === null || format !== "avro") return show(bytes, format);
  const decoded = decode(bytes);
  return decoded === null ? show(bytes, "binary") : { ...decoded, encoding: null };
}

function show(bytes: Buffer | null, format: ReadFormat): Shown {
  if (bytes === null) return NULL;
  if (format === "binary" || !isUtf8(bytes)) return { json: `"${bytes.toString("base64")}"`, encoding: "base64" };
  const text = bytes.toString("utf8");
  if (format === "string") return { json: JSON.stringify(text), encoding: null };
  // Embedded as it is. What is no JSON is a string, and marked, as a JSON string would look the same.
  return isJson(bytes) ? { json: text, encoding: null } : { json: JSON.stringify(text), encoding: "utf8" };
}

function isJson(bytes: Buffer): boolean {
  try {
    return skipWhitespace(bytes, skipValue(bytes, skipWhitespace(bytes, 0))) === bytes.length;
  } catch (error) {
    if (error instanceof JsonSyntaxError) return false;
    throw error;
  }
}
