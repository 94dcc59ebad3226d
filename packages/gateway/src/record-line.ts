/** A record on a line of its own, shaped as in `records`: newline-delimited JSON, read as the produce route reads it. */

import { RequestError } from "./errors.ts";
import { type Format, RecordFailure, serialize } from "./formats.ts";
import { lastQuoteOf, skipWhitespace, unexpected } from "./json/scanner.ts";
import { bodyError, checkText, scanRecord } from "./produce-body.ts";
import { type ScannedHeader, ScannedRecord } from "./scanned-records.ts";

/** What a line holds. The bytes are views of it. */
export interface LineRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly ScannedHeader[];
  readonly partition?: number;
  /** Milliseconds since the epoch. */
  readonly timestamp?: number;
}

/** What key and value mean where the record does not say it. */
export interface LineFormats {
  readonly keyFormat: Format;
  readonly valueFormat: Format;
}

/** Throws an Error that says what is wrong with the line, and at which column if it is no JSON or has a wrong shape. */
export function readRecordLine(line: Buffer, formats: LineFormats): LineRecord {
  const record = scanLine(line);
  const key = serialized("key", record.keyFormat ?? formats.keyFormat, line, record.keyStart, record.keyEnd);
  const value = serialized(
    "value",
    record.valueFormat ?? formats.valueFormat,
    line,
    record.valueStart,
    record.valueEnd,
  );
  if (record.failure !== null) throw new Error(record.failure.message);
  return {
    key,
    value,
    headers: record.headers ?? [],
    ...(record.partition === null ? {} : { partition: record.partition }),
    ...(record.timestampMs === null ? {} : { timestamp: record.timestampMs }),
  };
}

function scanLine(line: Buffer): ScannedRecord {
  const record = new ScannedRecord();
  try {
    checkText(line);
    const end = skipWhitespace(line, scanRecord(line, skipWhitespace(line, 0), record, lastQuoteOf(line)));
    if (end < line.length) throw unexpected(line, end, "the end of the line");
    return record;
  } catch (error) {
    throw lineError(bodyError(line, error, null));
  }
}

function lineError(error: unknown): unknown {
  const detail = error instanceof RequestError ? error.details[0] : undefined;
  return detail === undefined ? error : new Error(`${detail.message} (column ${detail.column})`);
}

function serialized(part: "key" | "value", format: Format, line: Buffer, start: number, end: number): Buffer | null {
  if (start < 0) return null;
  const bytes = serialize(format, line, start, end);
  if (bytes instanceof RecordFailure) throw new Error(`${part}: ${bytes.message}`);
  return bytes;
}
