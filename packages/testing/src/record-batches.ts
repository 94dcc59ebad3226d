/** Record batches for tests, as a broker would hold them. */

import {
  ATTRIBUTES_AT,
  assignOffset,
  CONTROL_BIT,
  type CompressionType,
  compressionId,
  compressSync,
  LAST_OFFSET_DELTA_AT,
  type ProducerStamp,
  RecordBatchBuilder,
  stampBatch,
  TRANSACTIONAL_BIT,
} from "@millrace/protocol";

const SLAB_BYTES = 1024 * 1024;
const NOBODY: ProducerStamp = { producerId: -1n, producerEpoch: -1, baseSequence: -1 };

export interface TestRecord {
  readonly key?: Uint8Array | null;
  readonly value: Uint8Array | string | null;
  readonly timestamp?: number;
}

export interface TestBatchOptions {
  readonly baseOffset: bigint;
  readonly compression?: CompressionType;
  /** More than there are records: what a compacted batch looks like. */
  readonly lastOffsetDelta?: number;
  readonly isTransactional?: boolean;
  readonly isControl?: boolean;
  readonly stamp?: ProducerStamp;
}

/** One batch of at least one record, with a right CRC. */
export function recordBatch(records: readonly TestRecord[], options: TestBatchOptions): Buffer {
  const builder = new RecordBatchBuilder(Buffer.alloc(SLAB_BYTES));
  for (const { key = null, value, timestamp = 1_700_000_000_000 } of records) {
    if (!builder.append(timestamp, key, key?.length ?? 0, value, null)) throw new Error("the records do not fit");
  }
  const { compression = "none" } = options;
  const batch = builder.seal(
    compression === "none"
      ? null
      : { records: compressSync(compression, builder.records), codecId: compressionId(compression) },
  );
  const bits =
    (options.isTransactional === true ? TRANSACTIONAL_BIT : 0) | (options.isControl === true ? CONTROL_BIT : 0);
  batch.writeInt16BE(batch.readInt16BE(ATTRIBUTES_AT) | bits, ATTRIBUTES_AT);
  if (options.lastOffsetDelta !== undefined) batch.writeInt32BE(options.lastOffsetDelta, LAST_OFFSET_DELTA_AT);
  stampBatch(batch, options.stamp ?? NOBODY);
  assignOffset(batch, 0, options.baseOffset, 0);
  return batch;
}

/** The marker that ends a transaction. */
export function transactionMarker(type: "abort" | "commit", options: TestBatchOptions): Buffer {
  const key = Buffer.from([0, 0, 0, type === "abort" ? 0 : 1]);
  return recordBatch([{ key, value: Buffer.alloc(6) }], { ...options, isControl: true, isTransactional: true });
}
