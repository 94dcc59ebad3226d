/** Cuts a batch that a broker finds too large into smaller ones: the one case in which sealed records are encoded again. */

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
    parts.push(partOf(batch, records, start, compression));
    start += records.length;
  }
  batch.replaceBy(parts);
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
  start: number,
  compression: CompressionType,
): MessageBatch {
  const slabBytes = records.reduce((sizeBytes, record) => sizeBytes + sizeLimitBytes(record), BATCH_HEADER_BYTES);
  const builder = new RecordBatchBuilder(Buffer.allocUnsafe(slabBytes));
  for (const { timestamp, key, value, headers } of records) {
    builder.append(Number(timestamp), key, key?.length ?? 0, value, headers);
  }
  const part = createMessageBatch({
    topic: batch.topic,
    partition: batch.partition,
    records: slice(batch.records, start, start + records.length),
    payload: encode(builder, compression),
    createdAtMs: batch.createdAtMs,
    ordinal: batch.ordinal,
    sizeBytes: builder.sizeBytes,
    // The memory that the whole batch holds is given back when its last part is settled.
    release: () => {},
  });
  // Being cut is no failure of theirs.
  part.attemptCount = batch.attemptCount - 1;
  if (batch.stamp !== null) part.stampWith({ ...batch.stamp, baseSequence: batch.stamp.baseSequence + start });
  return part;
}

function sizeLimitBytes(record: DecodedRecord): number {
  return recordSizeLimitBytes(record.key?.length ?? 0, record.value, record.headers);
}

function slice(records: BatchRecords, start: number, end: number): BatchRecords {
  return {
    completions: records.completions.slice(start, end),
    timestampsMs: records.timestampsMs.slice(start, end),
    slots: records.slots?.slice(start, end) ?? null,
  };
}

function encode(builder: RecordBatchBuilder, compression: CompressionType): Buffer {
  if (compression === "none") return builder.seal(null);
  return builder.seal({ records: compressSync(compression, builder.records), codecId: compressionId(compression) });
}
