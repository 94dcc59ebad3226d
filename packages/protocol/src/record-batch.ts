/** Record batches of format 2: read, split and patched where they lie. RecordBatchBuilder writes them. */

import { type CompressionType, compressionById, decompress } from "./compression/index.ts";
import { crc32c } from "./crc32c.ts";
import { WireError } from "./errors.ts";
import { Reader } from "./reader.ts";

/**
 *     byte  0   base offset             i64   ┐
 *           8   batch length            i32   │ bytes behind this field     not covered by the CRC:
 *          12   partition leader epoch  i32   │                             a broker sets them in place
 *          16   magic                   i8    │ 2
 *          17   crc                     u32   ┘ CRC-32C of all that follows
 *          21   attributes              i16   ┐ bits 0–2 compression, 3 timestamp type, 4 transactional, 5 control
 *          23   last offset delta       i32   │
 *          27   base timestamp          i64   │
 *          35   max timestamp           i64   │
 *          43   producer id             i64   │ -1 without idempotence; so are the next two
 *          51   producer epoch          i16   │
 *          53   base sequence           i32   │
 *          57   record count            i32   │
 *          61   records                       ┘ compressed as one; the header never is
 *
 *     record    length              varint    bytes behind this field
 *               attributes          i8        unused
 *               timestamp delta     varlong   to the base timestamp
 *               offset delta        varint    to the base offset
 *               key length, key     varint    -1 is null
 *               value length, value varint    -1 is null
 *               header count        varint
 *               header              varint length and UTF-8 name, varint length (-1 is null) and value
 *
 * Source: Kafka protocol guide, "Record Batch" and "Record"; KIP-98.
 */
export const BATCH_HEADER_BYTES = 61;

const BASE_OFFSET_AT = 0;
export const BATCH_LENGTH_AT = 8;
export const LEADER_EPOCH_AT = 12;
export const MAGIC_AT = 16;
export const CRC_AT = 17;
export const ATTRIBUTES_AT = 21;
export const LAST_OFFSET_DELTA_AT = 23;
export const BASE_TIMESTAMP_AT = 27;
export const MAX_TIMESTAMP_AT = 35;
export const PRODUCER_ID_AT = 43;
export const PRODUCER_EPOCH_AT = 51;
export const BASE_SEQUENCE_AT = 53;
export const RECORD_COUNT_AT = 57;

export const BATCH_MAGIC = 2;
/** What stands before the bytes that "batch length" counts. */
export const BATCH_PREFIX_BYTES = 12;

export const COMPRESSION_MASK = 0b111;
export const LOG_APPEND_TIME_BIT = 1 << 3;
export const TRANSACTIONAL_BIT = 1 << 4;
export const CONTROL_BIT = 1 << 5;

/** Length, attributes, two deltas, two lengths of null and a header count, a byte each. */
const SMALLEST_RECORD_BYTES = 7;
/** A name's length and a value's. */
const SMALLEST_HEADER_BYTES = 2;
/** What a batch may decompress to where the caller sets no limit of its own: a frame's limit. */
const DECOMPRESSED_LIMIT_BYTES = 100 * 1024 * 1024;

export interface BatchHeader {
  readonly baseOffset: bigint;
  /** The whole batch, header included. */
  readonly sizeBytes: number;
  readonly partitionLeaderEpoch: number;
  readonly magic: number;
  readonly crc: number;
  readonly attributes: number;
  readonly compression: CompressionType;
  readonly isTransactional: boolean;
  readonly isControl: boolean;
  readonly timestampType: "CreateTime" | "LogAppendTime";
  readonly lastOffsetDelta: number;
  readonly baseTimestamp: bigint;
  readonly maxTimestamp: bigint;
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
}

/**
 * Reads the header at the offset; the records behind it need not be there.
 *
 * Throws WireError if fewer than 61 bytes are left, or for what no batch of format 2 may have: another format, a length
 * shorter than the header, an unknown compression, a negative count.
 */
export function readBatchHeader(bytes: Buffer, offset = 0): BatchHeader {
  if (bytes.length - offset < BATCH_HEADER_BYTES) {
    throw new WireError(`expected a batch header of 61 bytes, found ${bytes.length - offset}`, offset);
  }
  const magic = bytes.readInt8(offset + MAGIC_AT);
  if (magic !== BATCH_MAGIC) {
    throw new WireError(`expected record batch format 2, found ${magic}`, offset + MAGIC_AT);
  }
  const sizeBytes = BATCH_PREFIX_BYTES + bytes.readInt32BE(offset + BATCH_LENGTH_AT);
  if (sizeBytes < BATCH_HEADER_BYTES) {
    throw new WireError(`a batch of ${sizeBytes} bytes is shorter than its header`, offset + BATCH_LENGTH_AT);
  }
  const attributes = bytes.readInt16BE(offset + ATTRIBUTES_AT);
  const compression = compressionById(attributes & COMPRESSION_MASK);
  if (compression === null) {
    throw new WireError(`there is no compression ${attributes & COMPRESSION_MASK}`, offset + ATTRIBUTES_AT);
  }
  const lastOffsetDelta = bytes.readInt32BE(offset + LAST_OFFSET_DELTA_AT);
  const recordCount = bytes.readInt32BE(offset + RECORD_COUNT_AT);
  if (lastOffsetDelta < 0) {
    throw new WireError(`last offset delta is ${lastOffsetDelta}`, offset + LAST_OFFSET_DELTA_AT);
  }
  if (recordCount < 0) throw new WireError(`record count is ${recordCount}`, offset + RECORD_COUNT_AT);
  return {
    baseOffset: bytes.readBigInt64BE(offset + BASE_OFFSET_AT),
    sizeBytes,
    partitionLeaderEpoch: bytes.readInt32BE(offset + LEADER_EPOCH_AT),
    magic,
    crc: bytes.readUInt32BE(offset + CRC_AT),
    attributes,
    compression,
    isTransactional: (attributes & TRANSACTIONAL_BIT) !== 0,
    isControl: (attributes & CONTROL_BIT) !== 0,
    timestampType: (attributes & LOG_APPEND_TIME_BIT) === 0 ? "CreateTime" : "LogAppendTime",
    lastOffsetDelta,
    baseTimestamp: bytes.readBigInt64BE(offset + BASE_TIMESTAMP_AT),
    maxTimestamp: bytes.readBigInt64BE(offset + MAX_TIMESTAMP_AT),
    producerId: bytes.readBigInt64BE(offset + PRODUCER_ID_AT),
    producerEpoch: bytes.readInt16BE(offset + PRODUCER_EPOCH_AT),
    baseSequence: bytes.readInt32BE(offset + BASE_SEQUENCE_AT),
    recordCount,
  };
}

/** Whether the batch at the offset is there whole and has the checksum that it says it has. */
export function isBatchCrcValid(bytes: Buffer, offset = 0): boolean {
  if (bytes.length - offset < BATCH_HEADER_BYTES) return false;
  const sizeBytes = BATCH_PREFIX_BYTES + bytes.readInt32BE(offset + BATCH_LENGTH_AT);
  if (sizeBytes < BATCH_HEADER_BYTES || sizeBytes > bytes.length - offset) return false;
  return crc32c(bytes.subarray(offset + ATTRIBUTES_AT, offset + sizeBytes)) === bytes.readUInt32BE(offset + CRC_AT);
}

/** Gives the batch at the offset its place in the log. In place, and outside the CRC: this costs twelve bytes. */
export function assignOffset(bytes: Buffer, offset: number, baseOffset: bigint, leaderEpoch: number): void {
  bytes.writeBigInt64BE(baseOffset, offset + BASE_OFFSET_AT);
  bytes.writeInt32BE(leaderEpoch, offset + LEADER_EPOCH_AT);
}

/** Puts the broker's time over that of all records in the batch at the offset: in place, with a new CRC. */
export function setLogAppendTime(bytes: Buffer, offset: number, timestampMs: bigint): void {
  const { sizeBytes, attributes } = readBatchHeader(bytes, offset);
  bytes.writeInt16BE(attributes | LOG_APPEND_TIME_BIT, offset + ATTRIBUTES_AT);
  bytes.writeBigInt64BE(timestampMs, offset + MAX_TIMESTAMP_AT);
  const crc = crc32c(bytes.subarray(offset + ATTRIBUTES_AT, offset + sizeBytes));
  bytes.writeUInt32BE(crc, offset + CRC_AT);
}

/**
 * The batches that stand one behind the other in the bytes, as views.
 *
 * A last batch that is cut off ends them without an error: Fetch answers may be cut anywhere. Throws WireError for
 * what is no batch.
 */
export function* splitBatches(bytes: Buffer): Generator<{ readonly header: BatchHeader; readonly bytes: Buffer }> {
  let offset = 0;
  while (bytes.length - offset >= BATCH_HEADER_BYTES) {
    const header = readBatchHeader(bytes, offset);
    const end = offset + header.sizeBytes;
    if (end > bytes.length) return;
    yield { header, bytes: bytes.subarray(offset, end) };
    offset = end;
  }
}

/** Keys, values and header values are views of the batch, or of what it decompressed to. */
export interface DecodedRecord {
  readonly offset: bigint;
  /** Milliseconds since the epoch; the broker's time for a batch with LogAppendTime. */
  readonly timestamp: bigint;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[];
}

/**
 * The records of one whole batch. The CRC is not looked at: `isBatchCrcValid`.
 *
 * limitBytes: what the records may decompress to.
 * Throws WireError unless the records are exactly as many and exactly as long as they say, in the order of their
 * offsets; KafkaError CORRUPT_MESSAGE if they do not decompress, MESSAGE_TOO_LARGE beyond the limit.
 */
export function readRecords(batch: Buffer, limitBytes = DECOMPRESSED_LIMIT_BYTES): DecodedRecord[] {
  const header = readBatchHeader(batch);
  if (header.sizeBytes !== batch.length) {
    throw new WireError(`expected one batch of ${header.sizeBytes} bytes, found ${batch.length}`, BATCH_LENGTH_AT);
  }
  // What compaction leaves of a batch may have no records, and then nothing is compressed either.
  if (header.recordCount === 0 && header.sizeBytes === BATCH_HEADER_BYTES) return [];
  const reader =
    header.compression === "none"
      ? new Reader(batch, BATCH_HEADER_BYTES)
      : new Reader(decompress(header.compression, batch.subarray(BATCH_HEADER_BYTES), limitBytes));
  if (header.recordCount > reader.remainingBytes / SMALLEST_RECORD_BYTES) {
    throw new WireError(`${header.recordCount} records in ${reader.remainingBytes} bytes`, RECORD_COUNT_AT);
  }
  const records: DecodedRecord[] = [];
  let previousDelta = -1;
  for (let index = 0; index < header.recordCount; index++) {
    previousDelta = readRecord(reader, header, previousDelta, records);
  }
  reader.expectEnd();
  return records;
}

/** Adds one record to the list; returns its offset delta. */
function readRecord(reader: Reader, header: BatchHeader, previousDelta: number, records: DecodedRecord[]): number {
  const sizeBytes = reader.varint();
  const end = reader.offset + sizeBytes;
  if (sizeBytes < 0 || sizeBytes > reader.remainingBytes) {
    throw new WireError(`a record of ${sizeBytes} bytes in ${reader.remainingBytes}`, reader.offset);
  }
  reader.int8();
  const timestampDelta = reader.varlong();
  const offsetDelta = reader.varint();
  // Compaction leaves gaps, but no batch goes backwards or beyond its own end.
  if (offsetDelta <= previousDelta || offsetDelta > header.lastOffsetDelta) {
    throw new WireError(
      `offset delta ${offsetDelta} behind ${previousDelta}; the last is ${header.lastOffsetDelta}`,
      reader.offset,
    );
  }
  const key = readNullableBytes(reader);
  const value = readNullableBytes(reader);
  const headers = readHeaders(reader);
  if (reader.offset !== end) {
    throw new WireError(`record ends ${end - reader.offset} bytes before the end that it gives`, reader.offset);
  }
  records.push({
    offset: header.baseOffset + BigInt(offsetDelta),
    timestamp: header.timestampType === "LogAppendTime" ? header.maxTimestamp : header.baseTimestamp + timestampDelta,
    key,
    value,
    headers,
  });
  return offsetDelta;
}

function readNullableBytes(reader: Reader): Buffer | null {
  const sizeBytes = reader.varint();
  return sizeBytes === -1 ? null : reader.slice(sizeBytes);
}

const NO_HEADERS: DecodedRecord["headers"] = [];

function readHeaders(reader: Reader): DecodedRecord["headers"] {
  const count = reader.varint();
  if (count === 0) return NO_HEADERS;
  if (count < 0 || count > reader.remainingBytes / SMALLEST_HEADER_BYTES) {
    throw new WireError(`${count} headers in ${reader.remainingBytes} bytes`, reader.offset);
  }
  const headers: (readonly [string, Buffer | null])[] = [];
  for (let index = 0; index < count; index++) {
    const name = reader.utf8(reader.varint());
    headers.push([name, readNullableBytes(reader)]);
  }
  return headers;
}
