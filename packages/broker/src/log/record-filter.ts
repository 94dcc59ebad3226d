/** Takes records out of a batch without touching those that stay: offsets, timestamps and bytes are what they were. */

import {
  ATTRIBUTES_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_AT,
  BATCH_PREFIX_BYTES,
  type BatchHeader,
  CRC_AT,
  compress,
  crc32c,
  decompress,
  loadCodec,
  MAX_TIMESTAMP_AT,
  RECORD_COUNT_AT,
  Reader,
  readBatchHeader,
} from "@millrace/protocol";
import { larger } from "./bigints.ts";

/** The batch's base timestamp is the time from which on its tombstones may go. Source: KIP-534. */
const DELETE_HORIZON_BIT = 1 << 6;
const DECOMPRESSED_LIMIT_BYTES = 100 * 1024 * 1024;
const NO_TIMESTAMP = -1n;
const NO_RECORDS = Buffer.alloc(0);

/** One record as it stands in its batch. */
export interface RawRecord {
  readonly offset: bigint;
  /** Null for none. */
  readonly key: Buffer | null;
  /** A key without a value: whoever reads it forgets the key. */
  readonly isTombstone: boolean;
  readonly timestampDelta: bigint;
  /** All of the record behind its timestamp delta. */
  readonly rest: Buffer;
  /** The whole record, its length included. */
  readonly bytes: Buffer;
}

/** The records of one whole batch, which is known to be sound. */
export async function readRawRecords(batch: Buffer): Promise<RawRecord[]> {
  const header = readBatchHeader(batch);
  if (header.recordCount === 0) return [];
  await loadCodec(header.compression);
  const stored = batch.subarray(BATCH_HEADER_BYTES);
  const bytes =
    header.compression === "none" ? stored : decompress(header.compression, stored, DECOMPRESSED_LIMIT_BYTES);
  const reader = new Reader(bytes);
  const records: RawRecord[] = [];
  for (let index = 0; index < header.recordCount; index++) records.push(readRawRecord(reader, header));
  return records;
}

function readRawRecord(reader: Reader, header: BatchHeader): RawRecord {
  const start = reader.offset;
  const sizeBytes = reader.varint();
  const end = reader.offset + sizeBytes;
  reader.int8();
  const timestampDelta = reader.varlong();
  const restStart = reader.offset;
  const offset = header.baseOffset + BigInt(reader.varint());
  const keyBytes = reader.varint();
  const key = keyBytes < 0 ? null : reader.slice(keyBytes);
  const isTombstone = key !== null && reader.varint() < 0;
  reader.offset = end;
  return {
    offset,
    key,
    isTombstone,
    timestampDelta,
    rest: reader.bytes.subarray(restStart, end),
    bytes: reader.bytes.subarray(start, end),
  };
}

/** When the batch's tombstones may go, in milliseconds since the epoch; null if that was not decided yet. */
export function deleteHorizonOf(header: BatchHeader): bigint | null {
  return (header.attributes & DELETE_HORIZON_BIT) === 0 ? null : header.baseTimestamp;
}

/**
 * The batch with these of its records. Its offsets stay as they are, also where none is left.
 *
 * deleteHorizonMs: given to a batch that keeps tombstones and has no horizon yet; null leaves the timestamps alone.
 */
export async function withRecords(
  batch: Buffer,
  records: readonly RawRecord[],
  deleteHorizonMs: bigint | null,
): Promise<Buffer> {
  const header = readBatchHeader(batch);
  const pieces =
    deleteHorizonMs === null
      ? records.map((record) => record.bytes)
      : records.map((record) =>
          withTimestampDelta(record, record.timestampDelta + header.baseTimestamp - deleteHorizonMs),
        );
  const plain = Buffer.concat(pieces);
  const stored =
    records.length === 0
      ? NO_RECORDS
      : header.compression === "none"
        ? plain
        : await compress(header.compression, plain);

  const result = Buffer.concat([batch.subarray(0, BATCH_HEADER_BYTES), stored]);
  result.writeInt32BE(result.length - BATCH_PREFIX_BYTES, BATCH_LENGTH_AT);
  result.writeInt32BE(records.length, RECORD_COUNT_AT);
  // Those of Kafka's cleaner: what is left counts, and nothing counts as no time at all.
  if (records.length === 0) result.writeBigInt64BE(NO_TIMESTAMP, BASE_TIMESTAMP_AT);
  result.writeBigInt64BE(maxTimestampOf(header, records), MAX_TIMESTAMP_AT);
  if (deleteHorizonMs !== null) {
    result.writeInt16BE(header.attributes | DELETE_HORIZON_BIT, ATTRIBUTES_AT);
    result.writeBigInt64BE(deleteHorizonMs, BASE_TIMESTAMP_AT);
  }
  result.writeUInt32BE(crc32c(result.subarray(ATTRIBUTES_AT)), CRC_AT);
  return result;
}

function maxTimestampOf(header: BatchHeader, records: readonly RawRecord[]): bigint {
  if (records.length === 0) return NO_TIMESTAMP;
  if (header.timestampType === "LogAppendTime") return header.maxTimestamp;
  return records.map(({ timestampDelta }) => header.baseTimestamp + timestampDelta).reduce(larger, NO_TIMESTAMP);
}

function withTimestampDelta(record: RawRecord, timestampDelta: bigint): Buffer {
  const delta = encodeVarlong(timestampDelta);
  const length = encodeVarlong(BigInt(1 + delta.length + record.rest.length));
  return Buffer.concat([length, Buffer.from([0]), delta, record.rest]);
}

/** Zigzag varlong; for a number within 32 bits the same bytes as a varint. */
function encodeVarlong(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
