/** The body of a produce request, `{"records":[…]}`: checked, and each record's parts found, without parsing a value. */

import { isUtf8 } from "node:buffer";
import { type ErrorDetail, RequestError } from "./errors.ts";
import { decodeBase64, type Format, formats, isNull, RecordFailure } from "./formats.ts";
import {
  byteAt,
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COMMA,
  JsonSyntaxError,
  lastQuoteOf,
  locate,
  MINUS,
  NEWLINE,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  skipColon,
  skipSpace,
  skipString,
  skipValue,
  skipWhitespace,
  unexpected,
  ZERO,
} from "./json/scanner.ts";
import { hasEscape, stringBytes, stringText } from "./json/strings.ts";
import { type ScannedHeader, type ScannedRecord, ScannedRecords } from "./scanned-records.ts";
import { isoTimestamp, TIME_MEANING } from "./timestamps.ts";

/** A place in the body; start is -1 where the field was left out. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** The type or shape of something is wrong: the whole request is refused. */
class ShapeError extends Error {
  readonly byteOffset: number;
  readonly field: string;

  constructor(field: string, expected: string, byteOffset: number) {
    super(`${field} must be ${expected}`);
    this.field = field;
    this.byteOffset = byteOffset;
  }
}

const RECORDS = Buffer.from('"records"');

/**
 * The records of an envelope, in order.
 *
 * Fields that are not known are checked as JSON and passed over. Throws RequestError (INVALID_JSON, INVALID_BODY with
 * line, column and record; NO_RECORDS; TOO_MANY_RECORDS).
 */
export function scanEnvelope(body: Buffer, recordLimit: number): ScannedRecords {
  checkText(body);
  const records = new ScannedRecords();
  const place = { isInRecord: false };
  try {
    let at = skipWhitespace(body, 0);
    if (byteAt(body, at) !== OPEN_BRACE) throw notAnObject(body, at, "the body");
    at = skipWhitespace(body, at + 1);
    let hasRecords = false;
    while (byteAt(body, at) !== CLOSE_BRACE) {
      const nameStart = at;
      const nameEnd = skipName(body, at);
      const start = skipColon(body, nameEnd);
      if (isAt(body, nameStart, RECORDS) || stringText(body, nameStart, nameEnd) === "records") {
        if (hasRecords) throw new ShapeError("records", "given once", nameStart);
        hasRecords = true;
        at = scanRecords(body, start, records, recordLimit, place);
      } else at = skipValue(body, start);
      at = skipToNext(body, at, CLOSE_BRACE, '"," or "}"');
    }
    at = skipWhitespace(body, at + 1);
    if (at < body.length) throw unexpected(body, at, "the end");
  } catch (error) {
    throw bodyError(body, error, place.isInRecord ? records.length : null);
  }
  if (records.length === 0) throw new RequestError("NO_RECORDS", "no records to produce");
  return records;
}

function scanRecords(
  body: Buffer,
  at: number,
  records: ScannedRecords,
  recordLimit: number,
  place: { isInRecord: boolean },
): number {
  if (byteAt(body, at) !== OPEN_BRACKET) {
    const end = skipValue(body, at);
    if (isNull(body, at)) return end;
    throw new ShapeError("records", "an array", at);
  }
  at = skipWhitespace(body, at + 1);
  const lastQuote = lastQuoteOf(body);
  while (byteAt(body, at) !== CLOSE_BRACKET) {
    if (records.length >= recordLimit) {
      throw new RequestError("TOO_MANY_RECORDS", `the body has more than ${recordLimit} records`);
    }
    place.isInRecord = true;
    const record = records.blank();
    at = scanRecord(body, at, record, lastQuote);
    place.isInRecord = false;
    records.add(record);
    at = skipToNext(body, at, CLOSE_BRACKET, '"," or "]"');
  }
  return at + 1;
}

/**
 * The records of a body with one record object a line (NDJSON). Empty lines are passed over.
 *
 * Throws RequestError as scanEnvelope does.
 */
export function scanLines(body: Buffer, recordLimit: number): ScannedRecords {
  if (body.length === 0) checkText(body);
  const records = scanLineBlock(body, recordLimit, FROM_THE_START);
  if (records.length === 0) throw new RequestError("NO_RECORDS", "no records to produce");
  return records;
}

/** How much of a body came before a block of its lines. */
export interface LinesBefore {
  readonly lineCount: number;
  readonly recordCount: number;
}

const FROM_THE_START: LinesBefore = { lineCount: 0, recordCount: 0 };

/**
 * Adds the records of some whole lines of a body; as scanLines, but there may be none. When it throws, those before the
 * line that is wrong have been added.
 */
export function scanLineBlock(
  body: Buffer,
  recordLimit: number,
  before: LinesBefore,
  records = new ScannedRecords(),
): ScannedRecords {
  if (body.length === 0) return records;
  checkText(body, before.lineCount);
  const lastQuote = lastQuoteOf(body);
  try {
    for (let at = skipWhitespace(body, 0); at < body.length; at = skipWhitespace(body, at)) {
      if (records.length >= recordLimit) {
        throw new RequestError("TOO_MANY_RECORDS", `the body has more than ${recordLimit} records`);
      }
      const start = at;
      const record = records.blank();
      at = scanRecord(body, at, record, lastQuote);
      const found = body.indexOf(NEWLINE, start);
      const lineEnd = found < 0 ? body.length : found;
      if (lineEnd < at) throw new ShapeError("a record", "on one line", start);
      const next = skipWhitespace(body, at);
      if (next < lineEnd) throw unexpected(body, next, "a new line");
      records.add(record);
    }
  } catch (error) {
    throw bodyError(body, error, before.recordCount + records.length, before.lineCount);
  }
  return records;
}

/** Fills in the record that starts here; returns the place behind it. lastQuote: as for skipValue. */
export function scanRecord(body: Buffer, at: number, record: ScannedRecord, lastQuote: number): number {
  if (byteAt(body, at) !== OPEN_BRACE) throw notAnObject(body, at, "a record");
  at = skipSpace(body, at + 1);
  let seen = 0;
  while (byteAt(body, at) !== CLOSE_BRACE) {
    const nameStart = at;
    const plain = plainFieldAt(body, at);
    const nameEnd = plain === null ? skipName(body, at) : at + plain.quoted.length;
    const field = plain ?? escapedField(body, nameStart, nameEnd);
    const start = skipColon(body, nameEnd);
    at = skipValue(body, start, lastQuote);
    if (field !== null) {
      // The last one would win silently, and the sender would never learn that the first was lost.
      if ((seen & field.bit) !== 0) throw new ShapeError(field.name, "given once", nameStart);
      seen |= field.bit;
      readField(record, field.name, body, start, at);
    }
    at = skipToNext(body, at, CLOSE_BRACE, '"," or "}"');
  }
  return at + 1;
}

function readField(record: ScannedRecord, field: FieldName, body: Buffer, start: number, end: number): void {
  if (field === "key") {
    record.keyStart = start;
    record.keyEnd = end;
  } else if (field === "value") {
    record.valueStart = start;
    record.valueEnd = end;
  } else if (!isNull(body, start)) readOptionalField(record, field, body, start, end);
}

/** Fields in which null is the same as leaving them out. */
function readOptionalField(
  record: ScannedRecord,
  field: Exclude<FieldName, "key" | "value">,
  body: Buffer,
  start: number,
  end: number,
): void {
  record.isSpecial = true;
  switch (field) {
    case "partition":
      record.partition = readPartition(body, start, end);
      return;
    case "timestamp":
      record.timestampMs = readTimestamp(body, start, end);
      return;
    case "headers":
      readHeaders(record, body, start);
      return;
    case "id":
      record.id = readId(body, start, end);
      return;
    case "keyFormat":
      record.keyFormat = readFormat(field, body, start, end);
      return;
    case "valueFormat":
      record.valueFormat = readFormat(field, body, start, end);
      return;
  }
}

const fieldNames = ["key", "value", "partition", "timestamp", "headers", "id", "keyFormat", "valueFormat"] as const;
type FieldName = (typeof fieldNames)[number];

interface Field {
  readonly name: FieldName;
  /** As it stands in JSON. */
  readonly quoted: Buffer;
  readonly bit: number;
}

const fields: readonly Field[] = fieldNames.map(fieldOf);
const VALUE = fieldOf("value", fieldNames.indexOf("value"));
/** By the first letter of their names. */
const fieldsByLetter: readonly (readonly Field[])[] = Array.from({ length: 256 }, (_, letter) =>
  fields.filter(({ name }) => name.charCodeAt(0) === letter),
);

function fieldOf(name: FieldName, index: number): Field {
  return { name, quoted: Buffer.from(JSON.stringify(name)), bit: 1 << index };
}

/** The field whose name stands here in quotes; null if it is none of ours, or has an escape. */
function plainFieldAt(body: Buffer, at: number): Field | null {
  if (isValueAt(body, at)) return VALUE;
  const candidates = fieldsByLetter[byteAt(body, at + 1)] ?? [];
  for (let index = 0; index < candidates.length; index++) {
    const field = candidates[index];
    if (field !== undefined && isAt(body, at, field.quoted)) return field;
  }
  return null;
}

/** `"value"`, which nearly every record has: as any other name, through a loop, it took a tenth of the scan. */
function isValueAt(body: Buffer, at: number): boolean {
  return (
    at + VALUE.quoted.length <= body.length &&
    body[at + 1] === 0x76 &&
    body[at + 2] === 0x61 &&
    body[at + 3] === 0x6c &&
    body[at + 4] === 0x75 &&
    body[at + 5] === 0x65 &&
    body[at + 6] === QUOTE &&
    body[at] === QUOTE
  );
}

/** The field with the name between these quotes, which is written with an escape; null if it is none of ours. */
function escapedField(body: Buffer, start: number, end: number): Field | null {
  if (!hasEscape(body, start, end)) return null;
  const name = stringText(body, start, end);
  return fields.find((field) => field.name === name) ?? null;
}

function isAt(body: Buffer, at: number, bytes: Buffer): boolean {
  if (at + bytes.length > body.length) return false;
  for (let index = 0; index < bytes.length; index++) if (body[at + index] !== bytes[index]) return false;
  return true;
}

const INT32_MAX = 2 ** 31 - 1;

function readPartition(body: Buffer, start: number, end: number): number {
  const partition = wholeNumber(body, start, end);
  if (partition !== null && Math.abs(partition) <= INT32_MAX) return partition;
  throw new ShapeError("partition", "a whole number of 32 bits", start);
}

function readTimestamp(body: Buffer, start: number, end: number): number {
  const timestampMs =
    body[start] === QUOTE ? isoTimestamp(stringText(body, start, end)) : wholeNumber(body, start, end);
  if (timestampMs !== null && timestampMs >= 0) return timestampMs;
  throw new ShapeError("timestamp", TIME_MEANING, start);
}

const WHOLE_NUMBER = /^-?\d+$/;

/** It goes back as it stands: a number may have any length. */
function readId(body: Buffer, start: number, end: number): string {
  const source = body.toString("utf8", start, end);
  if (body[start] === QUOTE || WHOLE_NUMBER.test(source)) return source;
  throw new ShapeError("id", "a string or a whole number", start);
}

function readFormat(field: string, body: Buffer, start: number, end: number): Format {
  const given = body[start] === QUOTE ? stringText(body, start, end) : null;
  const format = formats.find((candidate) => candidate === given);
  if (format !== undefined) return format;
  throw new ShapeError(field, `one of ${formats.join(", ")}`, start);
}

/** Headers keep their order and their duplicates. The scanner has passed the JSON; only shapes are in question here. */
function readHeaders(record: ScannedRecord, body: Buffer, start: number): void {
  if (body[start] !== OPEN_BRACKET) throw new ShapeError("headers", "an array", start);
  const headers: ScannedHeader[] = [];
  let at = skipWhitespace(body, start + 1);
  while (body[at] !== CLOSE_BRACKET) {
    const field = `headers[${headers.length}]`;
    if (body[at] !== OPEN_BRACE) throw new ShapeError(field, "an object", at);
    const parts = { key: ABSENT, value: ABSENT, encoding: ABSENT };
    const headerStart = at;
    at = scanHeader(body, at, field, parts);
    const header = readHeader(body, parts, field, headerStart);
    if (header instanceof RecordFailure) record.failure ??= header;
    else headers.push(header);
    at = skipToNext(body, at, CLOSE_BRACKET, '"," or "]"');
  }
  record.headers = headers;
}

const ABSENT: Span = { start: -1, end: -1 };

interface HeaderParts {
  key: Span;
  value: Span;
  encoding: Span;
}

function scanHeader(body: Buffer, at: number, field: string, parts: HeaderParts): number {
  at = skipWhitespace(body, at + 1);
  while (body[at] !== CLOSE_BRACE) {
    const nameStart = at;
    const nameEnd = skipString(body, at);
    const name = stringText(body, nameStart, nameEnd);
    const start = skipColon(body, nameEnd);
    at = skipValue(body, start);
    if (name === "key" || name === "value" || name === "encoding") {
      if (parts[name] !== ABSENT) throw new ShapeError(`${field}.${name}`, "given once", nameStart);
      parts[name] = { start, end: at };
    }
    at = skipToNext(body, at, CLOSE_BRACE, '"," or "}"');
  }
  return at + 1;
}

function readHeader(body: Buffer, parts: HeaderParts, field: string, start: number): ScannedHeader | RecordFailure {
  const { key, value, encoding } = parts;
  if (body[key.start] !== QUOTE) throw new ShapeError(`${field}.key`, "a string", key === ABSENT ? start : key.start);
  const name = stringBytes(body, key.start, key.end);
  const isBase64 = readHeaderEncoding(body, encoding, field) === "base64";
  if (name === null) return headerFailure(field, "its key has a lone surrogate, which UTF-8 cannot say");
  if (value === ABSENT || isNull(body, value.start)) return [name.toString(), null];
  if (body[value.start] !== QUOTE) throw new ShapeError(`${field}.value`, "a string or null", value.start);
  const text = stringBytes(body, value.start, value.end);
  if (text === null) return headerFailure(field, "its value has a lone surrogate, which UTF-8 cannot say");
  if (!isBase64) return [name.toString(), text];
  const bytes = decodeBase64(text);
  return bytes instanceof RecordFailure ? headerFailure(field, bytes.message) : [name.toString(), bytes];
}

function readHeaderEncoding(body: Buffer, span: Span, field: string): "utf8" | "base64" {
  if (span === ABSENT || isNull(body, span.start)) return "utf8";
  const given = body[span.start] === QUOTE ? stringText(body, span.start, span.end) : null;
  if (given === "utf8" || given === "base64") return given;
  throw new ShapeError(`${field}.encoding`, '"utf8" or "base64"', span.start);
}

function headerFailure(field: string, message: string): RecordFailure {
  return new RecordFailure("SERIALIZATION_FAILED", `serialize ${field}: ${message}`);
}

/** The number between start and end, if it is written as a whole one and is one that JavaScript keeps exactly. */
function wholeNumber(body: Buffer, start: number, end: number): number | null {
  const isNegative = body[start] === MINUS;
  let number = 0;
  for (let at = isNegative ? start + 1 : start; at < end; at++) {
    const digit = (body[at] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) return null;
    number = number * 10 + digit;
  }
  if (number > Number.MAX_SAFE_INTEGER) return null;
  return isNegative ? 0 - number : number;
}

function skipName(body: Buffer, at: number): number {
  if (byteAt(body, at) !== QUOTE) throw unexpected(body, at, "a name in quotes");
  return skipString(body, at);
}

/** Behind a member: at the closer, or at what stands behind the comma, which may not be the closer. */
function skipToNext(body: Buffer, at: number, closer: number, expected: string): number {
  at = skipSpace(body, at);
  const next = byteAt(body, at);
  if (next === closer) return at;
  if (next !== COMMA) throw unexpected(body, at, expected);
  at = skipSpace(body, at + 1);
  if (byteAt(body, at) === closer) throw unexpected(body, at, closer === CLOSE_BRACE ? "a name in quotes" : "a value");
  return at;
}

/** A syntax error if what stands here is no JSON at all, else one of shape. */
function notAnObject(body: Buffer, at: number, what: string): Error {
  skipValue(body, at);
  return new ShapeError(what, "an object", at);
}

const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/** Throws RequestError for a body that is no UTF-8, is empty, or begins with a byte order mark. */
export function checkText(body: Buffer, linesBefore = 0): void {
  const refusal = (message: string, at: number) => bodyError(body, new JsonSyntaxError(message, at), null, linesBefore);
  if (body.length === 0) throw refusal("it is empty", 0);
  if (!isUtf8(body)) throw refusal("it is not UTF-8", firstInvalidUtf8(body));
  if (isAt(body, 0, BYTE_ORDER_MARK)) throw refusal("it begins with a byte order mark", 0);
}

const REPLACEMENT = "\ufffd";

/** Where the decoder first puts its replacement character although none was sent. */
function firstInvalidUtf8(body: Buffer): number {
  const text = body.toString("utf8");
  let byteOffset = 0;
  let searched = 0;
  for (let at = text.indexOf(REPLACEMENT); at >= 0; at = text.indexOf(REPLACEMENT, searched)) {
    byteOffset += Buffer.byteLength(text.slice(searched, at));
    if (body.toString("utf8", byteOffset, byteOffset + 3) !== REPLACEMENT || body[byteOffset] !== 0xef) break;
    byteOffset += 3;
    searched = at + 1;
  }
  return byteOffset;
}

/** What was thrown while reading the body, as the answer for the sender. index: the record that was being read. */
export function bodyError(body: Buffer, error: unknown, index: number | null, linesBefore = 0): unknown {
  if (!(error instanceof JsonSyntaxError) && !(error instanceof ShapeError)) return error;
  const { line: lineHere, column } = locate(body, error.byteOffset);
  const line = linesBefore + lineHere;
  const where = index === null ? "" : ` of record ${index}`;
  const detail: ErrorDetail = {
    ...(index === null ? {} : { index }),
    ...(error instanceof ShapeError ? { field: error.field } : {}),
    line,
    column,
    message: error.message,
  };
  return new RequestError(
    error instanceof ShapeError ? "INVALID_BODY" : "INVALID_JSON",
    `invalid request body: ${error.message} (line ${line}, column ${column}${where})`,
    { details: [detail] },
  );
}
