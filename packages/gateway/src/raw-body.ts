/** Raw bodies: the whole body is one record's value; key, headers and the rest come from the query and the HTTP headers. */

import { RequestError } from "./errors.ts";
import {
  decodeBase64,
  type Format,
  isSchemaFormat,
  type PartCodec,
  RecordFailure,
  type SchemaFormat,
  serialize,
} from "./formats.ts";
import { jsonStart } from "./json/parse.ts";
import type { ProduceQuery } from "./produce-settings.ts";
import { type ScannedHeader, ScannedRecord } from "./scanned-records.ts";
import { TIME_MEANING, timestampOf } from "./timestamps.ts";
import { isTraceHeader } from "./trace-headers.ts";

const KEY_HEADER = "kafka-key";
const HEADER_PREFIX = "kafka-header-";
const QUERY_PREFIX = "header.";
const INT32_MAX = 2 ** 31 - 1;

/** Its value is the body, and its key came beside it: neither is JSON. */
class RawRecord extends ScannedRecord {
  readonly #key: Buffer | null;

  constructor(key: Buffer | null) {
    super();
    this.#key = key;
  }

  override keyBytes(_body: Buffer, format: Format, codec: PartCodec | null): Buffer | null | RecordFailure {
    if (isSchemaFormat(format) && this.#key !== null) return serializeJson(format, this.#key, codec);
    return this.#key !== null && format === "binary" ? decodeBase64(this.#key) : this.#key;
  }

  override valueBytes(body: Buffer, format: Format, codec: PartCodec | null): Buffer | null | RecordFailure {
    return isSchemaFormat(format) ? serializeJson(format, body, codec) : body;
  }
}

/** Of all formats these alone must know what the bytes say: they are JSON. */
function serializeJson(format: SchemaFormat, json: Buffer, codec: PartCodec | null): Buffer | null | RecordFailure {
  const start = jsonStart(json);
  if (start === null) return new RecordFailure("SERIALIZATION_FAILED", `${format} format expects JSON`);
  return serialize(format, json, start, json.length, codec);
}

/**
 * The one record of a raw body.
 *
 * rawHeaders: names and values by turns, as Node has them: their case, order and duplicates are the record's.
 * Throws RequestError INVALID_PARAMETER for a partition or timestamp that is none.
 */
export function rawRecord(query: ProduceQuery, rawHeaders: readonly string[]): ScannedRecord {
  const headers: ScannedHeader[] = [];
  let key: Buffer | null = query.key === undefined ? null : Buffer.from(query.key);
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? "";
    // Node reads header values as Latin-1; these are the bytes that were sent.
    const bytes = Buffer.from(rawHeaders[index + 1] ?? "", "latin1");
    const lowerName = name.toLowerCase();
    if (lowerName === KEY_HEADER) key ??= bytes;
    else if (lowerName.startsWith(HEADER_PREFIX)) headers.push([name.slice(HEADER_PREFIX.length), bytes]);
  }
  const record = new RawRecord(key);
  if (headers.length > 0) record.headers = headers;
  if (query.partition !== undefined) record.partition = checkPartition(Number(query.partition));
  if (query.timestamp !== undefined) record.timestampMs = readTimestamp(query.timestamp);
  return record;
}

/** Those of a request's headers that its records are made of: what a journal must keep of them. isRaw: its body is one value. */
export function rawHeadersForRecord(rawHeaders: readonly string[], isRaw: boolean, hasTrace: boolean): string[] {
  const kept: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? "";
    const lowerName = name.toLowerCase();
    const isOfRecord = isRaw && (lowerName === KEY_HEADER || lowerName.startsWith(HEADER_PREFIX));
    if (isOfRecord || (hasTrace && isTraceHeader(lowerName))) kept.push(name, rawHeaders[index + 1] ?? "");
  }
  return kept;
}

/** header.NAME=value in the query, as the request's headers would have it: names and values by turns. */
export function queryHeadersForRecord(url: string): string[] {
  const queryAt = url.indexOf("?");
  if (queryAt < 0 || !url.includes(QUERY_PREFIX, queryAt)) return [];
  return [...new URLSearchParams(url.slice(queryAt + 1))].flatMap(([name, value]) =>
    name.startsWith(QUERY_PREFIX)
      ? [HEADER_PREFIX + name.slice(QUERY_PREFIX.length), Buffer.from(value).toString("latin1")]
      : [],
  );
}

function checkPartition(partition: number): number {
  if (partition <= INT32_MAX) return partition;
  throw invalid("partition", "must be a whole number of 32 bits");
}

function readTimestamp(text: string): number {
  const timestampMs = timestampOf(text);
  if (timestampMs === null) throw invalid("timestamp", `must be ${TIME_MEANING}`);
  return timestampMs;
}

function invalid(field: string, message: string): RequestError {
  return new RequestError("INVALID_PARAMETER", `${field} ${message}`, { details: [{ field, message }] });
}
