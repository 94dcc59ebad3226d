/** Encodes sealed records again: in smaller batches where a broker finds one too large, or without those taken back or refused. */

import { assert } from "@millrace/base";
import {
  BATCH_HEADER_BYTES,
  type CompressionType,
  compressionId,
  compressSync,
  type DecodedRecord,
  RecordBatchBuilder,
  readBatchHeader,
  readRecords,
  recordSizeLimitBytes,
} from "@millrace/protocol";
import { addSequence } from "./idempotence.ts";
import { type BatchRecords, createMessageBatch, type MessageBatch } from "./message-batch.ts";

/**
 * The records of a batch in batches of at most batchSizeBytes, or of half its size if it was no larger than that.
 *
 * They keep their order and their sequences: the parts of a stamped batch are stamped one after the other (KIP-126).
 * The batch itself is over once all its parts are settled.
 */
export function splitBatch(batch: MessageBatch, batchSizeBytes: number): MessageBatch[] {
  assert(batch.payload !== null && batch.recordCount > 1, "only a batch of several records can be split");
  const limitBytes = batch.sizeBytes > batchSizeBytes ? batchSizeBytes : Math.ceil(batch.sizeBytes / 2);
  const { compression } = readBatchHeader(batch.payload);
  const parts: MessageBatch[] = [];
  let start = 0;
  for (const records of cut(readRecords(batch.payload), limitBytes)) {
    const indexes = records.map((_, index) => start + index);
    const part = partOf(batch, records, indexes, compression);
    // Being cut is no failure of theirs.
    part.attemptCount = batch.attemptCount - 1;
    if (batch.stamp !== null) {
      part.stampWith({ ...batch.stamp, baseSequence: addSequence(batch.stamp.baseSequence, start) });
    }
    parts.push(part);
    start += records.length;
  }
  batch.replaceBy(parts);
  return parts;
}

/** The batch without the records that their senders took back, or null if that is all of them. It has not left yet. */
export function withoutWithdrawn(batch: MessageBatch): MessageBatch | null {
  assert(batch.payload !== null && batch.attemptCount === 0, "records are taken back before their batch leaves");
  const { compression } = readBatchHeader(batch.payload);
  const records = readRecords(batch.payload);
  const indexes = Array.from(records.keys()).filter((index) => !batch.withdrawn.has(index));
  const kept = records.filter((_, index) => !batch.withdrawn.has(index));
  const rest = kept.length === 0 ? null : partOf(batch, kept, indexes, compression);
  batch.replaceBy(rest === null ? [] : [rest]);
  return rest;
}

/**
 * The records that a broker refused, and the others: a batch each, in their order.
 *
 * refusedIndexes: places in the batch, some of them but not all. Neither part is stamped: the broker took none of the
 * sequences, and those of the others have moved up.
 */
export function withoutRefused(
  batch: MessageBatch,
  refusedIndexes: ReadonlySet<number>,
): { readonly refused: MessageBatch; readonly rest: MessageBatch } {
  assert(batch.payload !== null, "a broker refuses what it was sent");
  const { compression } = readBatchHeader(batch.payload);
  const records = readRecords(batch.payload);
  const partWhere = (isRefused: boolean) => {
    const indexes = Array.from(records.keys()).filter((index) => refusedIndexes.has(index) === isRefused);
    const picked = records.filter((_, index) => refusedIndexes.has(index) === isRefused);
    const part = partOf(batch, picked, indexes, compression);
    part.attemptCount = batch.attemptCount;
    return part;
  };
  const parts = { refused: partWhere(true), rest: partWhere(false) };
  batch.replaceBy([parts.refused, parts.rest]);
  return parts;
}

function* cut(records: readonly DecodedRecord[], limitBytes: number): Iterable<DecodedRecord[]> {
  let part: DecodedRecord[] = [];
  let sizeBytes = BATCH_HEADER_BYTES;
  for (const record of records) {
    const recordBytes = sizeLimitBytes(record);
    if (part.length > 0 && sizeBytes + recordBytes > limitBytes) {
      yield part;
      part = [];
      sizeBytes = BATCH_HEADER_BYTES;
    }
    part.push(record);
    sizeBytes += recordBytes;
  }
  if (part.length > 0) yield part;
}

function partOf(
  batch: MessageBatch,
  records: readonly DecodedRecord[],
  /** Their places in the batch. */
  indexes: readonly number[],
  compression: CompressionType,
): MessageBatch {
  const slabBytes = records.reduce((sizeBytes, record) => sizeBytes + sizeLimitBytes(record), BATCH_HEADER_BYTES);
  const builder = new RecordBatchBuilder(Buffer.allocUnsafe(slabBytes));
  for (const { timestamp, key, value, headers } of records) {
    builder.append(Number(timestamp), key, key?.length ?? 0, value, headers);
  }
  return createMessageBatch({
    topic: batch.topic,
    partition: batch.partition,
    records: pick(batch.records, indexes),
    payload: encode(builder, compression),
    createdAtMs: batch.createdAtMs,
    ordinal: batch.ordinal,
    firstIndex: batch.firstIndex + (indexes[0] ?? 0),
    sizeBytes: builder.sizeBytes,
    // The memory that the whole batch holds is given back when its last part is settled.
    release: () => {},
  });
}

function sizeLimitBytes(record: DecodedRecord): number {
  return recordSizeLimitBytes(record.key?.length ?? 0, record.value, record.headers);
}

function pick({ completions, timestampsMs, slots }: BatchRecords, indexes: readonly number[]): BatchRecords {
  const isPicked = new Set(indexes);
  const at = <T>(list: readonly T[]) => list.filter((_, index) => isPicked.has(index));
  return { completions: at(completions), timestampsMs: at(timestampsMs), slots: slots === null ? null : at(slots) };
}

function encode(builder: RecordBatchBuilder, compression: CompressionType): Buffer {
  if (compression === "none") return builder.seal(null);
  return builder.seal({ records: compressSync(compression, builder.records), codecId: compressionId(compression) });
}
