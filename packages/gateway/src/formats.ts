/** Formats: how a key or value in a request's JSON becomes the bytes of a record. */

import { QUOTE } from "./json/scanner.ts";
import { stringBytes } from "./json/strings.ts";

/**
 * json: the JSON as it was sent, byte for byte. string: the text of a JSON string; of any other value its JSON.
 * binary: the bytes that a JSON string holds in base64. avro: what the JSON says, as the request's schema has it.
 * jsonschema: the JSON as it was sent, if the request's schema lets it pass.
 */
export const formats = ["json", "string", "binary", "avro", "jsonschema"] as const;
export type Format = (typeof formats)[number];

/** Those that need a schema, and are written in Confluent's wire format. */
export const schemaFormats = ["avro", "jsonschema"] as const satisfies readonly Format[];
export type SchemaFormat = (typeof schemaFormats)[number];

export function isSchemaFormat(format: Format | undefined): format is SchemaFormat {
  return format === "avro" || format === "jsonschema";
}

/** Writes JSON as the bytes that a schema asks for. */
export interface PartCodec {
  readonly format: SchemaFormat;
  /** Of the JSON value from start to end, which the scanner has passed. */
  encode(body: Buffer, start: number, end: number): Buffer | RecordFailure;
}

/** What the keys and values of a request are written with, where its formats need a schema. */
export interface PartCodecs {
  readonly key: PartCodec | null;
  readonly value: PartCodec | null;
}

export const noCodecs: PartCodecs = { key: null, value: null };

/** Why a record's content cannot be stored: the record fails, the request goes on. Not an Error: a body may hold a million of them. */
export class RecordFailure {
  readonly code: "SERIALIZATION_FAILED" | "MESSAGE_TOO_LARGE" | "INVALID_PARTITIONS";
  readonly message: string;

  constructor(code: RecordFailure["code"], message: string) {
    this.code = code;
    this.message = message;
  }

  /** The same with the stage in front: "serialize key: …", as the document words it. */
  during(stage: "serialize key" | "serialize value"): RecordFailure {
    return new RecordFailure(this.code, `${stage}: ${this.message}`);
  }
}

const LOWER_N = 0x6e;
const NEWLINE = 0x0a;
const RETURN = 0x0d;

/**
 * The bytes of the JSON value from start to end, which the scanner has passed. JSON's null is no bytes in every format.
 *
 * codec: for formats that need a schema.
 */
export function serialize(
  format: Format,
  body: Buffer,
  start: number,
  end: number,
  codec: PartCodec | null = null,
): Buffer | null | RecordFailure {
  const first = body[start];
  if (isNull(body, start)) return null;
  if (isSchemaFormat(format)) {
    return codec?.format === format ? codec.encode(body, start, end) : failed(`${format} format needs a schema for it`);
  }
  if (format === "json" || (format === "string" && first !== QUOTE)) return body.subarray(start, end);
  if (first !== QUOTE) return failed("binary format expects a base64-encoded string");
  const text = stringBytes(body, start, end);
  if (text === null) return failed("the string has a lone surrogate, which UTF-8 cannot say");
  return format === "string" ? text : decodeBase64(text);
}

/** Of a JSON value that the scanner has passed. */
export function isNull(body: Buffer, start: number): boolean {
  return body[start] === LOWER_N;
}

/** RFC 4648 section 4, padded; line breaks are skipped, as Go's decoder does for the document's clients. */
export function decodeBase64(text: Buffer): Buffer | RecordFailure {
  const compact = text.includes(NEWLINE) || text.includes(RETURN) ? withoutLineBreaks(text) : text;
  const base64 = compact.toString("latin1");
  if (compact.length % 4 !== 0) return failed(`base64 has ${compact.length} characters; expected a multiple of 4`);
  const strange = /[^A-Za-z0-9+/=]|=(?!=?$)/.exec(base64);
  if (strange !== null) return failed(`base64 has a character that does not belong there at ${strange.index}`);
  return Buffer.from(base64, "base64");
}

function withoutLineBreaks(text: Buffer): Buffer {
  return Buffer.from(text.filter((byte) => byte !== NEWLINE && byte !== RETURN));
}

function failed(message: string): RecordFailure {
  return new RecordFailure("SERIALIZATION_FAILED", message);
}
