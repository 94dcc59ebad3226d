/** The log of one partition: batches get their offsets, go to the disk together, and are read back. */

import { hasCode } from "@millrace/base";
import { assignOffset, type BatchHeader, KafkaError, readBatchHeader, setLogAppendTime } from "@millrace/protocol";
import type { ProducerBatch, ProducerEntry, ProducerState } from "../producer-state.ts";
import { endOfBatches } from "./batch-scanner.ts";
import { type AppendOrigin, validateBatch } from "./batch-validation.ts";
import { larger, smaller } from "./bigints.ts";
import { cleanableSegments, compactSegments, isDirtyEnough } from "./compaction.ts";
import { LEADER_EPOCH_FILE, partitionDirectoryName } from "./file-names.ts";
import { type EpochEndOffset, LeaderEpochs } from "./leader-epochs.ts";
import { type FlushGroup, type FlushListener, LogFlusher } from "./log-flusher.ts";
import type { LogManager, ManagedLog } from "./log-manager.ts";
import { LogSegments } from "./log-segments.ts";
import type { LogSettings } from "./log-settings.ts";
import { PartitionFolder } from "./partition-folder.ts";
import { encodeSnapshot, type ProducerSnapshots } from "./producer-snapshots.ts";
import { type RecoveredLog, recoverLog, replayProducers } from "./recovery.ts";
import { countExpired, isExpired } from "./retention.ts";
import { RoomWatch } from "./room-watch.ts";
import type { Segment, SegmentContext } from "./segment.ts";
import { TailCache, type TailReadOptions } from "./tail-cache.ts";
import { findNewest, findTimestamp, type RecordPosition, type SearchedLog } from "./time-lookup.ts";

export interface PartitionLogOptions {
  readonly manager: LogManager;
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** Whether the partition's folder is there. If not, the log is empty, and the first record makes it. */
  readonly hasFolder: boolean;
  readonly settings: LogSettings;
}

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

export interface ReadOptions extends TailReadOptions {
  /** Batches that hold this offset or later ones are not returned. The high watermark is a limit in any case. */
  readonly maxOffset?: bigint;
}

/** Whether a log takes batches, and if not, why. All but "offline" pass by themselves. */
type LogState =
  | "open"
  /** A write failed; what it left is being cut off. */
  | "being repaired"
  /** The disk has no room. It is looked at every now and then (`RoomWatch`). */
  | "waiting for room on the disk"
  /** fdatasync failed, or the repair did: nobody knows what is on the disk until the next start has looked. */
  | "offline";

const DONE = Promise.resolve();
/** How often a read is tried whose files go away under it. */
const READ_ATTEMPTS = 3;

/**
 *     logStartOffset          highWatermark      writtenOffset       logEndOffset
 *          ├── segments on disk ──┼── being synced ──┼── queued to write ──┤
 *          └── what readers see ──┘                                        └ the next batch gets this offset
 *
 * `append` is synchronous: the check of the batch, its offset and its producer's sequence are one step, and the bytes
 * follow. Only the flusher writes to the active segment.
 */
export class PartitionLog implements ManagedLog {
  readonly topic: string;
  readonly partition: number;
  readonly #name: string;
  readonly #manager: LogManager;
  readonly #context: SegmentContext;
  #settings: LogSettings;
  readonly #segments: LogSegments;
  #producers: ProducerState;
  readonly #snapshots: ProducerSnapshots;
  readonly #epochs: LeaderEpochs;
  readonly #tail: TailCache;
  readonly #flusher: LogFlusher;
  readonly #flushListeners = new Set<() => void>();
  readonly #room: RoomWatch;
  readonly #openedAtMs: number;
  #logStartOffset: bigint;
  #logEndOffset: bigint;
  #highWatermark: bigint;
  /** The recovery point as of the last checkpoint. */
  #checkpointOffset: bigint;
  /** What a restart would read because the side files do not speak of it. */
  #bytesSinceCheckpoint: number;
  /** All before it was compacted. */
  #cleanedOffset: bigint;
  #isCompacting = false;
  #state: LogState = "open";
  #isClosed = false;

  /**
   * Opens the log in its folder; one without segments is an empty log.
   *
   * Whatever a crash left is repaired: after it the log ends behind its last good batch. Rejects with
   * KAFKA_STORAGE_ERROR if the folder cannot be read or repaired.
   */
  static async open(options: PartitionLogOptions): Promise<PartitionLog> {
    const { manager, topic, topicId, partition, hasFolder, settings } = options;
    const { fileSystem, handles, logger, clock } = manager;
    const directory = `${manager.dataDir}/${partitionDirectoryName(topic, partition)}`;
    const missing = hasFolder ? null : { topicId, syncDataDir: () => manager.syncDataDir() };
    const folder = new PartitionFolder(fileSystem, directory, missing);
    const context = { directory, folder, fileSystem, handles, logger, indexIntervalBytes: settings.indexIntervalBytes };
    const recoveryPoint = manager.recoveryPointOf(topic, partition);
    const epochs = new LeaderEpochs();
    const recovered = await recoverLog({
      context,
      clock,
      epochs,
      logStartOffset: manager.logStartOffsetOf(topic, partition),
      recoveryPoint,
      isCleanStart: manager.isCleanStart && recoveryPoint !== null,
    });
    epochs.assign(Math.max(manager.leaderEpoch, epochs.latestEpoch + 1), recovered.logEndOffset);
    const log = new PartitionLog(
      options,
      context,
      recovered,
      epochs,
      smaller(recoveryPoint ?? 0n, recovered.logEndOffset),
    );
    manager.add(log);
    if (log.isCheckpointDue) manager.noteAdvance(log);
    // What was written down about a log of this name that is gone must not be believed about this one.
    if (recoveryPoint !== null && recoveryPoint > recovered.logEndOffset) await manager.saveRecoveryPoints();
    return log;
  }

  private constructor(
    options: PartitionLogOptions,
    context: SegmentContext,
    recovered: RecoveredLog,
    epochs: LeaderEpochs,
    recoveryPoint: bigint,
  ) {
    const { manager, topic, partition, settings } = options;
    this.topic = topic;
    this.partition = partition;
    this.#name = partitionDirectoryName(topic, partition);
    this.#manager = manager;
    this.#context = context;
    this.#settings = settings;
    this.#segments = new LogSegments({
      name: this.#name,
      context,
      segments: recovered.segments,
      snapshots: recovered.snapshots,
      isSynced: (offset) => offset <= this.#flusher.syncedOffset && !this.hasFailed,
    });
    this.#producers = recovered.producers;
    this.#snapshots = recovered.snapshots;
    this.#epochs = epochs;
    this.#tail = new TailCache(manager.tailCacheBudget);
    this.#room = this.#roomWatch();
    this.#openedAtMs = manager.clock.timestampMs();
    this.#logStartOffset = recovered.logStartOffset;
    this.#logEndOffset = recovered.logEndOffset;
    this.#highWatermark = recovered.logEndOffset;
    this.#checkpointOffset = recoveryPoint;
    this.#bytesSinceCheckpoint = recovered.replayedBytes;
    this.#cleanedOffset = smaller(manager.cleanedOffsetOf(topic, partition), recovered.logEndOffset);
    const flusherParts = { clock: manager.clock, memory: manager.batchMemory };
    this.#flusher = new LogFlusher(flusherParts, settings, recovered.logEndOffset, this.#flushListener());
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

  /** A segment that is not sealed yet has no indexes on the disk: a restart has to walk it. */
  get recoveryPoint(): bigint {
    return this.#segments.rolledOffset ?? this.#flusher.syncedOffset;
  }

  get cleanedOffset(): bigint {
    return this.#cleanedOffset;
  }

  get leaderEpoch(): number {
    return this.#epochs.latestEpoch;
  }

  /** Who wrote here with a producer id and is not forgotten yet. */
  producers(): ProducerEntry[] {
    return [...this.#producers.entries()];
  }

  get hasFailed(): boolean {
    return this.#state === "offline";
  }

  /** Of all segments, bytes that wait to be written included. */
  get sizeBytes(): number {
    return this.#segments.sizeBytes;
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
    const nowMs = this.#manager.clock.timestampMs();
    let header = validateBatch(batch, this.#settings, options.origin ?? "client", nowMs, this.#name);
    if (header.producerId >= 0n) {
      const original = this.#producers.check(header, this.#name);
      if (original !== null) return this.#resultOfRetry(original, options.acks);
    }
    this.#expectRoomInQueue(batch.length);

    const isLogAppendTime = this.#settings.messageTimestampType === "LogAppendTime";
    if (isLogAppendTime) {
      setLogAppendTime(batch, 0, BigInt(nowMs));
      header = readBatchHeader(batch);
    }
    const baseOffset = this.#logEndOffset;
    const endOffset = baseOffset + BigInt(header.lastOffsetDelta) + 1n;
    assignOffset(batch, 0, baseOffset, this.leaderEpoch);
    const segment = this.#segmentFor(header, endOffset - 1n);
    const position = segment.place(header, baseOffset, this.#manager.clock.nowMs());
    if (header.producerId >= 0n) this.#producers.advance(header, baseOffset, nowMs);
    this.#logEndOffset = endOffset;
    this.#bytesSinceCheckpoint += header.sizeBytes;
    const group = this.#flusher.add(batch, segment, position, baseOffset, endOffset);
    return {
      baseOffset,
      logAppendTimeMs: isLogAppendTime ? header.maxTimestamp : -1n,
      isDuplicate: false,
      acknowledged: acknowledgement(group, options.acks),
      flushed: group.flushed,
    };
  }

  #resultOfRetry(original: ProducerBatch, acks: number): AppendResult {
    // Its bytes may still be on their way: a retry is answered no sooner than its original would be.
    const group = this.#flusher.groupOf(original.lastOffset);
    return {
      baseOffset: original.baseOffset,
      logAppendTimeMs: this.#settings.messageTimestampType === "LogAppendTime" ? original.timestamp : -1n,
      isDuplicate: true,
      acknowledged: group === null ? DONE : acknowledgement(group, acks),
      flushed: group === null ? DONE : group.flushed,
    };
  }

  #segmentFor(header: BatchHeader, lastOffset: bigint): Segment {
    const { active } = this.#segments;
    const { segmentBytes, segmentMs } = this.#settings;
    const hasRoom = active.hasRoomFor(header.sizeBytes, lastOffset, segmentBytes);
    return hasRoom && !active.isOlderThan(segmentMs, this.#manager.clock.nowMs()) ? active : this.#roll();
  }

  #roll(): Segment {
    return this.#segments.roll(this.#logEndOffset, encodeSnapshot(this.#producers));
  }

  #expectWritable(): void {
    if (this.#state === "open" && !this.#isClosed) return;
    const state = this.#isClosed ? "closed" : this.#state;
    throw new KafkaError("KAFKA_STORAGE_ERROR", `${this.#name} takes no records: it is ${state}`);
  }

  #expectRoomInQueue(batchBytes: number): void {
    const { queuedBytesLimit } = this.#settings;
    const { queuedBytes } = this.#flusher;
    if (queuedBytes === 0 || queuedBytes + batchBytes <= queuedBytesLimit) return;
    throw new KafkaError(
      "KAFKA_STORAGE_ERROR",
      `${this.#name} takes no more records now: ${queuedBytes} bytes wait for the disk; the limit is ${queuedBytesLimit}`,
    );
  }

  #flushListener(): FlushListener {
    return {
      onWritten: (group, pieces) => this.#tail.addAll(pieces, group.baseOffset, group.endOffset),
      onReadable: (endOffset) => {
        this.#highWatermark = endOffset;
        for (const listener of this.#flushListeners) listener();
      },
      onSynced: () => {
        this.#manager.noteAdvance(this);
        this.#segments.sealSoon();
      },
      onWriteFailed: (error, groups) => this.#repair(error, groups),
      onGivenUp: (error, groups) => this.#goOffline(error, groups),
    };
  }

  /**
   * After a failed write: cuts off what it left, takes back what was promised behind it, and fails all who wait for that.
   *
   * Offsets and sequences are then those of the last whole write, so a retry finds the log as if it had never come.
   */
  async #repair(cause: unknown, groups: readonly FlushGroup[]): Promise<void> {
    const first = groups[0];
    if (first === undefined) return;
    this.#state = "being repaired";
    this.#room.stop();
    const error = this.#storageError("a write failed", cause);
    this.#manager.logger.error({ log: this.#name, error: cause }, "could not write records: cutting the log back");
    await this.#rewindTo(first);
    for (const group of groups) group.fail(error);
    this.#waitForRoom(groups.reduce((sum, group) => sum + group.sizeBytes, 0));
  }

  async #rewindTo({ segment, position, baseOffset: endOffset }: FlushGroup): Promise<void> {
    await this.#segments.truncate(segment, position, endOffset);
    const nowMs = this.#manager.clock.timestampMs();
    this.#producers = await replayProducers(this.#segments.all, this.#snapshots, endOffset, nowMs);
    this.#logEndOffset = endOffset;
  }

  /** Takes batches again once the disk has room for what did not fit. */
  #waitForRoom(neededBytes: number): void {
    this.#state = "waiting for room on the disk";
    if (!this.#isClosed) this.#room.wait(neededBytes);
  }

  #roomWatch(): RoomWatch {
    const { clock, logger, dataDir } = this.#manager;
    return new RoomWatch({
      name: this.#name,
      clock,
      logger,
      fileSystem: this.#context.fileSystem,
      // The partition's own folder may be what there was no room for.
      directory: dataDir,
      onRoom: (freeBytes) => {
        this.#state = "open";
        logger.info({ log: this.#name, freeBytes }, "takes records again");
      },
      // What retention would delete at its next turn may be room enough.
      onNoRoom: () => this.#deleteExpired(clock.timestampMs()),
    });
  }

  #goOffline(cause: unknown, groups: readonly FlushGroup[]): void {
    const what = this.#state === "being repaired" ? "the log could not be cut back" : "fdatasync failed";
    this.#state = "offline";
    this.#room.stop();
    this.#manager.logger.error({ log: this.#name, error: cause }, `${what}: no more records are taken until a restart`);
    for (const group of groups) group.fail(this.#storageError(what, cause));
  }

  #storageError(what: string, cause: unknown): KafkaError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new KafkaError("KAFKA_STORAGE_ERROR", `${this.#name}: ${what}: ${reason}`, { cause, persisted: "maybe" });
  }

  /**
   * Whole batches from the one that holds the offset on, below the high watermark. A buffer may hold several, one
   * behind the other. Empty at the end of the log.
   *
   * Rejects with OFFSET_OUT_OF_RANGE before the log's start or behind its end.
   */
  async read(fromOffset: bigint, maxBytes: number, options: ReadOptions): Promise<readonly Buffer[]> {
    this.#expectInRange(fromOffset);
    const limitOffset = smaller(options.maxOffset ?? this.#highWatermark, this.#highWatermark);
    if (fromOffset >= limitOffset) return [];
    const cachedFrom = this.#tail.startOffset;
    if (cachedFrom !== null && cachedFrom <= fromOffset) {
      return this.#tail.read(fromOffset, limitOffset, maxBytes, options);
    }
    return this.#readFiles(() => {
      this.#expectInRange(fromOffset);
      return this.#readSegments(fromOffset, limitOffset, maxBytes, options);
    });
  }

  /** Reads what retention or compaction may remove meanwhile: once they are done, the segments are true again. */
  async #readFiles<Result>(read: () => Promise<Result>): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await read();
      } catch (error) {
        if (error instanceof KafkaError) throw error;
        if (attempt === READ_ATTEMPTS || !hasCode(error, "ENOENT")) throw this.#storageError("a read failed", error);
      }
      await this.#segments.settled();
    }
  }

  #expectInRange(offset: bigint): void {
    if (offset >= this.#logStartOffset && offset <= this.#logEndOffset) return;
    throw new KafkaError(
      "OFFSET_OUT_OF_RANGE",
      `${this.#name} holds offsets ${this.#logStartOffset} to ${this.#logEndOffset}; ${offset} was asked for`,
    );
  }

  async #readSegments(
    fromOffset: bigint,
    limitOffset: bigint,
    maxBytes: number,
    { minOneBatch, onRelease }: ReadOptions,
  ): Promise<readonly Buffer[]> {
    const memory = onRelease === undefined ? null : this.#manager.readMemory;
    for (const segment of this.#segments.from(fromOffset)) {
      if (segment.baseOffset >= limitOffset) break;
      const limitPosition = segment.readableBytes;
      const batches = await segment.read(fromOffset, { maxBytes, minOneBatch, limitPosition, memory });
      if (batches === null) continue;
      onRelease?.(() => memory?.give(batches));
      const end =
        limitOffset < this.#highWatermark ? endOfBatches(batches, 0, batches.length, limitOffset) : batches.length;
      return end === 0 ? [] : [batches.subarray(0, end)];
    }
    return [];
  }

  /** Calls back whenever readers can see more. Returns the function that takes the listener back. */
  onFlushed(listener: () => void): () => void {
    this.#flushListeners.add(listener);
    return () => this.#flushListeners.delete(listener);
  }

  /** The first record that is as young as the timestamp or younger; null if none is. */
  offsetForTimestamp(timestampMs: bigint): Promise<RecordPosition | null> {
    return this.#readFiles(() => findTimestamp(this.#searched, timestampMs));
  }

  /** The record with the largest timestamp, the first of several; null if the log is empty. */
  maxTimestamp(): Promise<RecordPosition | null> {
    return this.#readFiles(() => findNewest(this.#searched));
  }

  get #searched(): SearchedLog {
    return { segments: this.#segments.all, logStartOffset: this.#logStartOffset, highWatermark: this.#highWatermark };
  }

  /** The epoch in which the record at the offset was or will be written. */
  epochOf(offset: bigint): number {
    return this.#epochs.epochOf(offset);
  }

  /** Where an epoch ended: a reader that read further reads what was cut off since. Source: KIP-320. */
  epochEndOffset(leaderEpoch: number): EpochEndOffset {
    return this.#epochs.endOffsetOf(leaderEpoch, this.#highWatermark);
  }

  /** Settings that only say how to write take effect with the next batch. */
  applySettings(settings: LogSettings): void {
    this.#settings = settings;
    this.#context.indexIntervalBytes = settings.indexIntervalBytes;
    this.#flusher.applyPolicy(settings);
  }

  /** Does what cleanup.policy says: deletes segments that are too old or too many, or compacts those that are closed. */
  async enforceRetention(): Promise<void> {
    const nowMs = this.#manager.clock.timestampMs();
    this.#producers.expire(nowMs - this.#settings.producerIdExpirationMs);
    await this.#deleteExpired(nowMs);
    if (this.#settings.cleanupPolicy !== "delete" && this.#state === "open") await this.#compact(nowMs);
  }

  async #deleteExpired(nowMs: number): Promise<void> {
    if (!this.#mayDelete) return;
    await this.#rollIfOld(nowMs);
    if (this.#settings.cleanupPolicy === "compact") return;
    // What is not readable yet has its way to the disk before it, through the segment's file.
    const segments = this.#segments.all.filter(({ baseOffset }) => baseOffset <= this.#highWatermark);
    const count = await countExpired(segments, this.#settings, nowMs, this.#openedAtMs);
    const startOffset = segments[count]?.baseOffset;
    if (count > 0 && startOffset !== undefined) await this.#moveStart(startOffset);
  }

  /** A full disk is the time to delete; while the log is cut back its segments are not to be touched. */
  get #mayDelete(): boolean {
    return !this.#isClosed && (this.#state === "open" || this.#state === "waiting for room on the disk");
  }

  /** Leaves the last record of each key, if enough has been written since the last time. */
  async #compact(nowMs: number): Promise<void> {
    if (this.#isCompacting) return;
    this.#isCompacting = true;
    try {
      await this.#segments.seal();
      const { minCompactionLagMs, minCleanableDirtyRatio } = this.#settings;
      const segments = await cleanableSegments(this.#segments.sealed, minCompactionLagMs, nowMs);
      const endOffset = this.#segments.all[segments.length]?.baseOffset;
      if (endOffset === undefined || !isDirtyEnough(segments, this.#cleanedOffset, minCleanableDirtyRatio)) return;
      this.#cleanedOffset = await compactSegments({
        context: this.#context,
        segments,
        endOffset,
        cleanedOffset: this.#cleanedOffset,
        producers: this.#producers,
        segmentBytes: this.#settings.segmentBytes,
        deleteRetentionMs: this.#settings.deleteRetentionMs,
        nowMs,
        replace: (group, swap) => this.#segments.replace(group, swap),
      });
      await this.#manager.saveCleanedOffsets();
    } finally {
      this.#isCompacting = false;
    }
  }

  /** Without new records the active segment would outlive its age, and its records their retention. */
  async #rollIfOld(nowMs: number): Promise<void> {
    const { active } = this.#segments;
    if (active.sizeBytes === 0) return;
    const { segmentMs, cleanupPolicy } = this.#settings;
    const retentionMs = cleanupPolicy === "compact" ? -1 : this.#settings.retentionMs;
    const isOld =
      active.isOlderThan(segmentMs, this.#manager.clock.nowMs()) ||
      isExpired(await active.newest(), retentionMs, nowMs, this.#openedAtMs);
    if (!isOld || !this.#mayDelete || active !== this.#segments.active) return;
    this.#roll();
    this.#segments.sealSoon();
  }

  /**
   * Makes the offset the log's start, for good, and deletes the segments before it.
   *
   * Rejects with OFFSET_OUT_OF_RANGE behind the high watermark.
   */
  async deleteRecordsBefore(offset: bigint): Promise<void> {
    if (offset > this.#highWatermark) {
      throw new KafkaError(
        "OFFSET_OUT_OF_RANGE",
        `${this.#name} can be read up to ${this.#highWatermark}; records before ${offset} were to be deleted`,
      );
    }
    if (offset > this.#logStartOffset) await this.#moveStart(offset);
  }

  async #moveStart(startOffset: bigint): Promise<void> {
    this.#logStartOffset = larger(this.#logStartOffset, startOffset);
    this.#epochs.truncateFromStart(this.#logStartOffset);
    const isWritten = await this.#manager.saveLogStartOffsets().then(
      () => true,
      (error) => {
        if (!hasCode(error, "ENOSPC")) throw error;
        return false;
      },
    );
    await this.#segments.removeBefore(startOffset);
    // A full disk has room for it only now.
    if (!isWritten) await this.#manager.saveLogStartOffsets();
  }

  /** Brings the side files up to the log's end, if that is due, so that a restart need not read far. */
  checkpoint(): Promise<void> {
    return this.#segments.exclusively(() => this.#writeCheckpoint());
  }

  get isCheckpointDue(): boolean {
    if (this.#bytesSinceCheckpoint < this.#manager.checkpointBytes) return false;
    return this.#checkpointOffset < this.#flusher.syncedOffset || !this.#snapshots.isUpTo(this.#logEndOffset);
  }

  async #writeCheckpoint(): Promise<void> {
    // While the log is cut back, its producers are still those of what is cut off.
    if (this.hasFailed || this.#state === "being repaired" || !this.isCheckpointDue) return;
    const { recoveryPoint } = this;
    const { directory, fileSystem } = this.#context;
    const { active } = this.#segments;
    const snapshotOffset = this.#logEndOffset;
    const snapshot = encodeSnapshot(this.#producers);
    const coveredBytes = this.#bytesSinceCheckpoint;
    await this.#epochs.save(fileSystem, `${directory}/${LEADER_EPOCH_FILE}`);
    await active.saveIndexes();
    await this.#snapshots.write(snapshotOffset, snapshot, false);
    await this.#snapshots.removeBefore(this.#checkpointOffset, active.baseOffset);
    this.#checkpointOffset = larger(recoveryPoint, this.#checkpointOffset);
    this.#bytesSinceCheckpoint -= coveredBytes;
  }

  /**
   * Waits until all that was appended is on the disk or has failed. May be called twice.
   *
   * Rejects if the side files could not be brought up to date: the next start has to look for itself.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#room.stop();
    try {
      await this.#flusher.close();
      await this.#segments.seal();
      await this.checkpoint();
    } finally {
      await this.#closeFiles();
      this.#manager.remove(this);
    }
  }

  /** Closes the log of a topic that is being deleted: its folder goes, and what the manager knows of it. */
  async discard(): Promise<void> {
    this.#isClosed = true;
    this.#room.stop();
    await this.#flusher.close();
    await this.#closeFiles();
    this.#manager.forget(this);
  }

  async #closeFiles(): Promise<void> {
    this.#tail.clear();
    await this.#segments.close();
  }
}

/** What the batch's producer waits for. */
function acknowledgement(group: FlushGroup, acks: number): Promise<void> {
  if (acks === 0) return DONE;
  return acks === 1 ? group.written : group.flushed;
}
