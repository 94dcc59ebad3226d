/** A record from the log as JSON: its bytes as text where they are text, as base64 where they are not. */

import { isUtf8 } from "node:buffer";
import type { ConsumedRecord } from "@millrace/client";
import { isSchemaFormat, type SchemaFormat } from "./formats.ts";
import { JsonSyntaxError, skipValue, skipWhitespace } from "./json/scanner.ts";
import { schemaIdOf, WIRE_HEADER_BYTES } from "./wire-format.ts";

export const readFormats = ["string", "json", "binary", "avro", "jsonschema"] as const;
export type ReadFormat = (typeof readFormats)[number];

export interface ReadFormats {
  readonly key: ReadFormat;
  readonly value: ReadFormat;
}

/** What bytes in Confluent's wire format say. */
export interface DecodedPart {
  readonly json: string;
  readonly schemaId: number;
}

/** Shows Avro: null for bytes that are none, or of a schema that is not known. */
export type AvroDecoder = (bytes: Buffer) => DecodedPart | null;

/** How bytes are shown: the JSON, and what must be said about it for the bytes to be had back. */
interface Shown {
  readonly json: string;
  readonly encoding: "base64" | "utf8" | null;
  readonly schemaId?: number;
}

const NULL: Shown = { json: "null", encoding: null };

/** decodeAvro: for parts in avro format. */
export function messageJson(record: ConsumedRecord, formats: ReadFormats, decodeAvro: AvroDecoder): string {
  const { partition, offset, timestamp, headers } = record;
  const key = showPart(record.key, formats.key, decodeAvro);
  const value = showPart(record.value, formats.value, decodeAvro);
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

/** What is not what the format says is marked as the bytes that it is. */
function showPart(bytes: Buffer | null, format: ReadFormat, decodeAvro: AvroDecoder): Shown {
  if (bytes === null) return NULL;
  if (!isSchemaFormat(format)) return show(bytes, format);
  const decoded = format === "avro" ? decodeAvro(bytes) : decodeJson(bytes);
  return decoded === null ? show(bytes, "binary") : { ...decoded, encoding: null };
}

/** The JSON stands there as it was sent: nobody needs to be asked for its schema. */
function decodeJson(bytes: Buffer): DecodedPart | null {
  const schemaId = schemaIdOf(bytes);
  const json = bytes.subarray(WIRE_HEADER_BYTES);
  return schemaId !== null && isUtf8(json) && isJson(json) ? { json: json.toString("utf8"), schemaId } : null;
}

function show(bytes: Buffer | null, format: Exclude<ReadFormat, SchemaFormat>): Shown {
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
