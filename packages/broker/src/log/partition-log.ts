/** The log of one partition: batches get their offsets, go to the disk together, and are read back. */

import type { Clock, FileSystem, Logger } from "@millrace/base";
import { assignOffset, KafkaError, readBatchHeader, setLogAppendTime } from "@millrace/protocol";
import { ProducerState } from "../producer-state.ts";
import { batchSizeAt, endOfBatches, lastOffsetAt } from "./batch-scanner.ts";
import { type AppendOrigin, validateBatch } from "./batch-validation.ts";
import { FileHandles } from "./file-handles.ts";
import { type FlushGroup, type FlushListener, LogFlusher } from "./log-flusher.ts";
import type { LogSettings } from "./log-settings.ts";
import { Segment, type SegmentContext } from "./segment.ts";
import { TailCache, TailCacheBudget } from "./tail-cache.ts";

export interface AppendOptions {
  /** What the producer waits for: 0 nothing, 1 the write, -1 the flush. */
  readonly acks: number;
  /** "client" if left out. */
  readonly origin?: AppendOrigin;
}

export interface AppendResult {
  readonly baseOffset: bigint;
  /** The broker's time that went into the batch; -1 where records keep their own. */
  readonly logAppendTimeMs: bigint;
  /** The batch was in the log already; baseOffset is where. */
  readonly isDuplicate: boolean;
  /** Resolves when what acks asks for is done; rejects with KAFKA_STORAGE_ERROR. */
  readonly acknowledged: Promise<void>;
  /** Resolves when the bytes (of the original, for a duplicate) are as safe as the flush mode makes them. */
  readonly flushed: Promise<void>;
}

export interface ReadOptions {
  /** The first batch is returned even if it alone is larger than maxBytes (KIP-74). */
  readonly minOneBatch: boolean;
  /** Batches that hold this offset or later ones are not returned. The high watermark is a limit in any case. */
  readonly maxOffset?: bigint;
}

const DONE = Promise.resolve();

/**
 *     logStartOffset          highWatermark      writtenOffset       logEndOffset
 *          ├── segments on disk ──┼── being synced ──┼── queued to write ──┤
 *          └── what readers see ──┘                                        └ the next batch gets this offset
 *
 * `append` is synchronous: the check of the batch, its offset and its producer's sequence are one step, and the bytes
 * follow. Only the flusher touches the disk for writing.
 */
export class PartitionLog {
  readonly topic: string;
  readonly partition: number;
  readonly #name: string;
  readonly #clock: Clock;
  #settings: LogSettings;
  readonly #context: SegmentContext;
  /** Oldest first; the last one is active. Never empty. */
  #segments: Segment[];
  readonly #producers: ProducerState;
  readonly #tail: TailCache;
  readonly #flusher: LogFlusher;
  readonly #flushListeners = new Set<() => void>();
  #logStartOffset: bigint;
  #logEndOffset: bigint;
  #highWatermark: bigint;
  #leaderEpoch: number;
  #state: "open" | "rewinding" | "offline" | "closed" = "open";

  static async open(options: {
    readonly directory: string;
    readonly topic: string;
    readonly partition: number;
    readonly fileSystem: FileSystem;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly settings: LogSettings;
    readonly isCleanStart: boolean;
  }): Promise<PartitionLog> {
    await options.fileSystem.makeDirectory(options.directory);
    return new PartitionLog(options);
  }

  private constructor(options: {
    readonly directory: string;
    readonly topic: string;
    readonly partition: number;
    readonly fileSystem: FileSystem;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly settings: LogSettings;
  }) {
    const { directory, topic, partition, fileSystem, clock, logger, settings } = options;
    this.topic = topic;
    this.partition = partition;
    this.#name = `${topic}-${partition}`;
    this.#clock = clock;
    this.#settings = settings;
    this.#context = { directory, fileSystem, handles: new FileHandles(fileSystem, 16), logger };
    this.#segments = [Segment.create(this.#context, 0n)];
    this.#producers = new ProducerState();
    this.#tail = new TailCache(new TailCacheBudget(16 * 1024 * 1024));
    this.#logStartOffset = 0n;
    this.#logEndOffset = 0n;
    this.#highWatermark = 0n;
    this.#leaderEpoch = 0;
    this.#flusher = new LogFlusher(clock, settings, 0n, this.#flushListener());
  }

  get logStartOffset(): bigint {
    return this.#logStartOffset;
  }

  /** The offset that the next batch gets. */
  get logEndOffset(): bigint {
    return this.#logEndOffset;
  }

  /** Readers see what lies before it: in flush mode "always" what is on the disk. */
  get highWatermark(): bigint {
    return this.#highWatermark;
  }

  get leaderEpoch(): number {
    return this.#leaderEpoch;
  }

  /** Of all segments, bytes that wait to be written included. */
  get sizeBytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.sizeBytes, 0);
  }

  /**
   * Gives one record batch its offsets and queues it to be written.
   *
   * batch: exactly one batch of format 2; its base offset and leader epoch are overwritten, and it must not be touched
   * until it is flushed. A retry of one of its producer's last five batches succeeds with the original's offset.
   * Throws KafkaError, with nothing appended: what validateBatch and ProducerState.check throw; KAFKA_STORAGE_ERROR
   * while the log cannot be written to, or too many bytes wait already.
   * Source: Kafka, UnifiedLog.append; KIP-98 for the sequence check.
   */
  append(batch: Buffer, options: AppendOptions): AppendResult {
    this.#expectWritable();
    const settings = this.#settings;
    const nowMs = this.#clock.timestampMs();
    const header = validateBatch(batch, settings, options.origin ?? "client", nowMs, this.#name);
    if (header.producerId >= 0n) {
      const original = this.#producers.check(header, this.#name);
      if (original !== null) return this.#resultOfRetry(original, options.acks);
    }
    this.#expectRoomInQueue(batch.length);

    const logAppendTimeMs = this.#stampTime(batch, nowMs);
    const baseOffset = this.#logEndOffset;
    const endOffset = baseOffset + BigInt(header.lastOffsetDelta) + 1n;
    assignOffset(batch, 0, baseOffset, this.#leaderEpoch);
    const segment = this.#segmentFor(batch.length, endOffset - 1n);
    const stamped = logAppendTimeMs < 0n ? header : readBatchHeader(batch);
    const position = segment.place(stamped, baseOffset, settings.indexIntervalBytes, this.#clock.nowMs());
    if (header.producerId >= 0n) this.#producers.advance(stamped, baseOffset, nowMs);
    this.#logEndOffset = endOffset;
    const group = this.#flusher.add(batch, segment, position, baseOffset, endOffset);
    return {
      baseOffset,
      logAppendTimeMs,
      isDuplicate: false,
      acknowledged: acknowledgement(group, options.acks),
      flushed: group.flushed,
    };
  }

  #resultOfRetry(original: { baseOffset: bigint; lastOffset: bigint; timestamp: bigint }, acks: number): AppendResult {
    // Its bytes may still be on their way: a retry is answered no sooner than its original would be.
    const group = this.#flusher.groupOf(original.lastOffset);
    const isLogAppendTime = this.#settings.messageTimestampType === "LogAppendTime";
    return {
      baseOffset: original.baseOffset,
      logAppendTimeMs: isLogAppendTime ? original.timestamp : -1n,
      isDuplicate: true,
      acknowledged: group === null ? DONE : acknowledgement(group, acks),
      flushed: group?.flushed ?? DONE,
    };
  }

  #stampTime(batch: Buffer, nowMs: number): bigint {
    if (this.#settings.messageTimestampType === "CreateTime") return -1n;
    const logAppendTimeMs = BigInt(nowMs);
    setLogAppendTime(batch, 0, logAppendTimeMs);
    return logAppendTimeMs;
  }

  #segmentFor(batchBytes: number, lastOffset: bigint): Segment {
    const active = this.#activeSegment;
    if (active.hasRoomFor(batchBytes, lastOffset, this.#settings, this.#clock.nowMs())) return active;
    const next = Segment.create(this.#context, this.#logEndOffset);
    this.#segments.push(next);
    return next;
  }

  get #activeSegment(): Segment {
    const active = this.#segments.at(-1);
    if (active === undefined) throw new Error("a log has at least one segment");
    return active;
  }

  #expectWritable(): void {
    if (this.#state === "open") return;
    throw new KafkaError("KAFKA_STORAGE_ERROR", `${this.#name} cannot be written to: it is ${this.#state}`);
  }

  #expectRoomInQueue(batchBytes: number): void {
    const { queuedBytesLimit } = this.#settings;
    if (this.#flusher.queuedBytes === 0 || this.#flusher.queuedBytes + batchBytes <= queuedBytesLimit) return;
    throw new KafkaError(
      "KAFKA_STORAGE_ERROR",
      `${this.#name}: ${this.#flusher.queuedBytes} bytes wait for the disk already; queuedBytesLimit is ${queuedBytesLimit}`,
    );
  }

  #flushListener(): FlushListener {
    return {
      onWritten: (group, pieces) => this.#keepTail(group, pieces),
      onReadable: (endOffset) => {
        this.#highWatermark = endOffset;
        for (const listener of this.#flushListeners) listener();
      },
      onSynced: () => {},
      onWriteFailed: async (error, groups) => {
        this.#state = "offline";
        for (const group of groups) group.fail(this.#storageError(error));
      },
      onSyncFailed: (error, groups) => {
        this.#state = "offline";
        for (const group of groups) group.fail(this.#storageError(error));
      },
    };
  }

  #keepTail(group: FlushGroup, pieces: readonly Buffer[]): void {
    let baseOffset = group.baseOffset;
    for (const piece of pieces) {
      const endOffset = endOffsetOf(piece);
      this.#tail.add(piece, baseOffset, endOffset);
      baseOffset = endOffset;
    }
  }

  #storageError(cause: unknown): KafkaError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new KafkaError("KAFKA_STORAGE_ERROR", `${this.#name}: ${reason}`, { cause });
  }

  /**
   * Whole batches from the one that holds the offset on, below the high watermark. A buffer may hold several, one
   * behind the other. Empty at the end of the log.
   *
   * Throws KafkaError OFFSET_OUT_OF_RANGE before the log's start or behind its end.
   */
  async read(fromOffset: bigint, maxBytes: number, options: ReadOptions): Promise<readonly Buffer[]> {
    if (fromOffset < this.#logStartOffset || fromOffset > this.#logEndOffset) {
      throw new KafkaError(
        "OFFSET_OUT_OF_RANGE",
        `${this.#name} holds offsets ${this.#logStartOffset} to ${this.#logEndOffset}; ${fromOffset} was asked for`,
      );
    }
    const { minOneBatch, maxOffset = this.#highWatermark } = options;
    const limitOffset = smaller(maxOffset, this.#highWatermark);
    if (fromOffset >= limitOffset) return [];
    const cachedFrom = this.#tail.startOffset;
    if (cachedFrom !== null && cachedFrom <= fromOffset) {
      return this.#tail.read(fromOffset, limitOffset, maxBytes, minOneBatch);
    }
    return this.#readSegments(fromOffset, limitOffset, maxBytes, minOneBatch);
  }

  async #readSegments(fromOffset: bigint, limitOffset: bigint, maxBytes: number, minOneBatch: boolean) {
    for (let index = this.#segmentIndexOf(fromOffset); index < this.#segments.length; index++) {
      const segment = this.#segments[index];
      if (segment === undefined) break;
      const batches = await segment.read(fromOffset, { maxBytes, minOneBatch, limitPosition: segment.readableBytes });
      if (batches === null) continue;
      const end = endOfBatches(batches, 0, batches.length, limitOffset);
      return end === 0 ? [] : [batches.subarray(0, end)];
    }
    return [];
  }

  /** Index of the segment that would hold the offset. */
  #segmentIndexOf(offset: bigint): number {
    let index = this.#segments.length - 1;
    while (index > 0 && (this.#segments[index]?.baseOffset ?? 0n) > offset) index -= 1;
    return index;
  }

  async offsetForTimestamp(_timestampMs: bigint): Promise<{ offset: bigint; timestamp: bigint } | null> {
    return null;
  }

  async maxTimestamp(): Promise<{ offset: bigint; timestamp: bigint } | null> {
    return null;
  }

  /** Calls back whenever readers can see more. Returns the function that takes the listener back. */
  onFlushed(listener: () => void): () => void {
    this.#flushListeners.add(listener);
    return () => this.#flushListeners.delete(listener);
  }

  async deleteRecordsBefore(offset: bigint): Promise<void> {
    this.#logStartOffset = offset;
  }

  epochEndOffset(leaderEpoch: number): { leaderEpoch: number; endOffset: bigint } {
    return { leaderEpoch, endOffset: this.#logEndOffset };
  }

  applySettings(settings: LogSettings): void {
    this.#settings = settings;
    this.#flusher.applyPolicy(settings);
  }

  async enforceRetention(): Promise<void> {}

  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    await this.#flusher.close();
    this.#tail.clear();
    for (const segment of this.#segments) await segment.close();
  }
}

/** Of acks: what the batch's producer waits for. */
function acknowledgement(group: FlushGroup, acks: number): Promise<void> {
  if (acks === 0) return DONE;
  return acks === 1 ? group.written : group.flushed;
}

/** The offset behind the last of these whole batches. */
function endOffsetOf(batches: Buffer): bigint {
  let at = 0;
  while (at + batchSizeAt(batches, at) < batches.length) at += batchSizeAt(batches, at);
  return lastOffsetAt(batches, at) + 1n;
}

function smaller(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}
