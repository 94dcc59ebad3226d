/** One segment of a partition's log: a file of record batches, and its two sparse indexes. */

import { assert, type File, type FileSystem, type Logger, writeFully } from "@millrace/base";
import { BATCH_HEADER_BYTES, type BatchHeader, KafkaError } from "@millrace/protocol";
import { batchSizeAt, lastOffsetAt, looksLikeBatch } from "./batch-scanner.ts";
import type { FileHandles } from "./file-handles.ts";
import { LOG_SUFFIX, offsetFileName } from "./file-names.ts";
import { OffsetIndex } from "./offset-index.ts";
import { TimeIndex } from "./time-index.ts";

/** An index entry's offset is 32 bits and relative to the base; Kafka reads it as signed. */
const RELATIVE_OFFSET_LIMIT = 2 ** 31 - 1;
/** Read beyond what was asked for, because the index leads to a place some batches before it. */
const LOOKUP_SLACK_BYTES = 16 * 1024;
const NO_BYTES = Buffer.alloc(0);

/** What the segments of one log share. */
export interface SegmentContext {
  readonly directory: string;
  readonly fileSystem: FileSystem;
  readonly handles: FileHandles;
  readonly logger: Logger;
}

export interface SegmentReadOptions {
  readonly maxBytes: number;
  /** The first batch is returned even if it alone is larger than maxBytes (KIP-74). */
  readonly minOneBatch: boolean;
  /** Batches from here on are not read. */
  readonly limitPosition: number;
}

interface Indexes {
  readonly offset: OffsetIndex;
  readonly time: TimeIndex;
}

/**
 * The active segment is appended to: `place` decides where a batch goes, at once; `write` and `sync` bring it there.
 * A sealed one is only read, and its indexes are loaded when they are first asked for.
 */
export class Segment {
  readonly baseOffset: bigint;
  readonly logPath: string;
  readonly #context: SegmentContext;
  /** Where the next batch goes. Bytes that wait to be written are counted. */
  #sizeBytes: number;
  /** Readers see what lies before it. */
  #readableBytes: number;
  /** Null: on the disk, or to be rebuilt from the log. */
  #indexes: Indexes | null;
  #bytesSinceIndexEntry = 0;
  #maxTimestamp = -1n;
  #maxTimestampOffset = -1n;
  /** Monotonic, by the broker's clock; null until the first append since the log was opened. */
  #firstAppendMs: number | null = null;
  #file: File | null = null;
  #isDirectorySynced: boolean;

  private constructor(context: SegmentContext, baseOffset: bigint, sizeBytes: number, indexes: Indexes | null) {
    this.baseOffset = baseOffset;
    this.logPath = `${context.directory}/${offsetFileName(baseOffset, LOG_SUFFIX)}`;
    this.#context = context;
    this.#sizeBytes = sizeBytes;
    this.#readableBytes = sizeBytes;
    this.#indexes = indexes;
    this.#isDirectorySynced = indexes === null;
  }

  /** A segment without a file: the first write makes it. */
  static create(context: SegmentContext, baseOffset: bigint): Segment {
    return new Segment(context, baseOffset, 0, { offset: new OffsetIndex(), time: new TimeIndex() });
  }

  /** A segment whose file is there. */
  static existing(context: SegmentContext, baseOffset: bigint, sizeBytes: number): Segment {
    return new Segment(context, baseOffset, sizeBytes, null);
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get readableBytes(): number {
    return this.#readableBytes;
  }

  makeReadable(untilPosition: number): void {
    this.#readableBytes = untilPosition;
  }

  /** False if a batch has to go into a new segment: this one would be too long, too old, or its offsets too far apart. */
  hasRoomFor(
    batchBytes: number,
    lastOffset: bigint,
    limits: { segmentBytes: number; segmentMs: number },
    nowMs: number,
  ) {
    if (this.#sizeBytes === 0) return true;
    if (this.#sizeBytes + batchBytes > limits.segmentBytes) return false;
    if (lastOffset - this.baseOffset > RELATIVE_OFFSET_LIMIT) return false;
    return !this.isOlderThan(limits.segmentMs, nowMs);
  }

  isOlderThan(ageMs: number, nowMs: number): boolean {
    return this.#firstAppendMs !== null && nowMs - this.#firstAppendMs > ageMs;
  }

  /** Gives the batch its place and enters it into the indexes. Returns its position; nothing is written yet. */
  place(header: BatchHeader, baseOffset: bigint, indexIntervalBytes: number, nowMs: number): number {
    const position = this.#sizeBytes;
    this.#firstAppendMs ??= nowMs;
    this.#sizeBytes = position + header.sizeBytes;
    this.#enter(header, baseOffset, position, indexIntervalBytes);
    return position;
  }

  #enter(header: BatchHeader, baseOffset: bigint, position: number, indexIntervalBytes: number): void {
    const indexes = this.#indexes;
    assert(indexes !== null, `the indexes of ${this.logPath} are not loaded`);
    const lastOffset = baseOffset + BigInt(header.lastOffsetDelta);
    if (header.maxTimestamp > this.#maxTimestamp) {
      this.#maxTimestamp = header.maxTimestamp;
      this.#maxTimestampOffset = lastOffset;
    }
    if (this.#bytesSinceIndexEntry > indexIntervalBytes) {
      indexes.offset.append(Number(lastOffset - this.baseOffset), position);
      this.#enterMaxTimestamp(indexes);
      this.#bytesSinceIndexEntry = 0;
    }
    this.#bytesSinceIndexEntry += header.sizeBytes;
  }

  #enterMaxTimestamp(indexes: Indexes): void {
    if (this.#maxTimestampOffset < 0n) return;
    indexes.time.maybeAppend(this.#maxTimestamp, Number(this.#maxTimestampOffset - this.baseOffset));
  }

  /** Throws what the disk says; then nothing is known about the bytes from the position on. */
  async write(chunks: readonly Uint8Array[], position: number): Promise<void> {
    this.#file ??= await this.#context.fileSystem.open(this.logPath, "readWrite");
    await writeFully(this.#file, chunks, position);
  }

  /** Makes what was written last, and the file's name with it. */
  async sync(): Promise<void> {
    const file = this.#file;
    if (file === null) return;
    if (this.#isDirectorySynced) return file.sync();
    await Promise.all([file.sync(), this.#context.fileSystem.syncDirectory(this.#context.directory)]);
    this.#isDirectorySynced = true;
  }

  /**
   * The whole batches from the one that holds the offset, or the first one behind it, on. One piece of memory.
   *
   * Empty if the first batch is larger than maxBytes and minOneBatch is not set; null if the segment has nothing there.
   * Throws KAFKA_STORAGE_ERROR if what lies there is no batch.
   */
  async read(fromOffset: bigint, options: SegmentReadOptions): Promise<Buffer | null> {
    const { maxBytes, minOneBatch, limitPosition } = options;
    let position = await this.#lookup(fromOffset);
    let window: Buffer = NO_BYTES;
    let at = 0;
    for (;;) {
      if (position >= limitPosition) return null;
      if (at + BATCH_HEADER_BYTES > window.length) {
        window = await this.#readAt(position, Math.min(maxBytes + LOOKUP_SLACK_BYTES, limitPosition - position));
        at = 0;
      }
      this.#expectBatch(window, at, position);
      if (lastOffsetAt(window, at) >= fromOffset) break;
      const sizeBytes = batchSizeAt(window, at);
      position += sizeBytes;
      at += sizeBytes;
    }

    const firstBytes = batchSizeAt(window, at);
    if (firstBytes > maxBytes && !minOneBatch) return NO_BYTES;
    const wantedBytes = Math.min(Math.max(firstBytes, maxBytes), limitPosition - position);
    if (at + firstBytes > window.length) {
      window = await this.#readAt(position, wantedBytes);
      at = 0;
    }
    return wholeBatches(window, at, Math.min(window.length, at + wantedBytes));
  }

  /** Where to start walking to reach the batch that holds the offset. */
  async #lookup(offset: bigint): Promise<number> {
    const relativeOffset = offset <= this.baseOffset ? 0 : Number(offset - this.baseOffset);
    return this.#indexes?.offset.lookup(relativeOffset) ?? 0;
  }

  #expectBatch(window: Buffer, at: number, position: number): void {
    if (at + BATCH_HEADER_BYTES <= window.length && looksLikeBatch(window, at)) return;
    throw new KafkaError(
      "KAFKA_STORAGE_ERROR",
      `expected a record batch at position ${position} of ${this.logPath}, found ${window.length - at} bytes that are none`,
    );
  }

  async #readAt(position: number, sizeBytes: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(sizeBytes);
    const filledBytes = await this.#context.handles.read(this.logPath, buffer, position);
    return filledBytes === sizeBytes ? buffer : buffer.subarray(0, filledBytes);
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    this.#context.handles.evict(this.logPath);
    await file?.close();
  }
}

/** The bytes from the offset on, without a batch that the end cuts off. */
function wholeBatches(bytes: Buffer, from: number, end: number): Buffer {
  let at = from;
  while (at + BATCH_HEADER_BYTES <= end) {
    const sizeBytes = batchSizeAt(bytes, at);
    if (sizeBytes < BATCH_HEADER_BYTES || at + sizeBytes > end) break;
    at += sizeBytes;
  }
  return bytes.subarray(from, at);
}
