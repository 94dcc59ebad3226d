/** Group commit: all batches that wait go to the disk in one write, and one fdatasync answers all who wait for it. */

import { assert, type Clock, createDeferred, type Deferred, type Timer } from "@millrace/base";
import type { KafkaError } from "@millrace/protocol";
import type { BatchMemory, MemoryPiece } from "./batch-memory.ts";
import type { FlushMode } from "./log-settings.ts";
import type { Segment } from "./segment.ts";

/** A group is closed at this size, so that its first batch does not wait for a long write. */
const GROUP_LIMIT_BYTES = 8 * 1024 * 1024;

/** Batches of one segment that are written together. Its two promises are shared by all who wait for any of them. */
export class FlushGroup {
  readonly segment: Segment;
  readonly position: number;
  readonly baseOffset: bigint;
  endOffset: bigint;
  sizeBytes = 0;
  readonly batches: Buffer[] = [];
  readonly #written = createSilentDeferred();
  readonly #flushed = createSilentDeferred();

  constructor(segment: Segment, position: number, baseOffset: bigint) {
    this.segment = segment;
    this.position = position;
    this.baseOffset = baseOffset;
    this.endOffset = baseOffset;
  }

  /** Resolves when the bytes are with the operating system: a killed process loses them no more. */
  get written(): Promise<void> {
    return this.#written.promise;
  }

  /** Resolves when the bytes are as safe as the flush mode makes them. */
  get flushed(): Promise<void> {
    return this.#flushed.promise;
  }

  settleWritten(): void {
    this.#written.resolve();
  }

  settleFlushed(): void {
    this.#flushed.resolve();
  }

  fail(error: KafkaError): void {
    this.#written.reject(error);
    this.#flushed.reject(error);
  }
}

/** What the log does at each step of its bytes. */
export interface FlushListener {
  /** pieces: the group's batches as they were written, each piece whole batches. The listener's to release. */
  onWritten(group: FlushGroup, pieces: readonly MemoryPiece[]): void;
  /** All before the offset may be read. */
  onReadable(endOffset: bigint): void;
  /** syncedOffset moved on. */
  onSynced(): void;
  /**
   * A group could not be written. groups: this one and all behind it, which the listener fails once the log is rewound.
   * No sync is in progress meanwhile. Rejects if the log could not be rewound: onGivenUp follows.
   */
  onWriteFailed(error: unknown, groups: readonly FlushGroup[]): Promise<void>;
  /** Nothing is written or synced any more. groups: all that will never be known to be on the disk. */
  onGivenUp(error: unknown, groups: readonly FlushGroup[]): void;
}

export interface LogFlusherParts {
  readonly clock: Clock;
  readonly memory: BatchMemory;
}

export interface FlushPolicy {
  readonly flush: FlushMode;
  readonly flushIntervalBytes: number;
  readonly flushIntervalMs: number;
}

/**
 *     add ──▸ queued ──write──▸ unsynced ──fdatasync──▸ synced
 *                 └ next write ┘└ runs during the sync ┘
 *
 * One write and one sync are in progress at most. While they are, what comes in gathers into the next group: that is
 * the whole of the batching, there is no timer in mode "always".
 */
export class LogFlusher {
  readonly #clock: Clock;
  readonly #memory: BatchMemory;
  readonly #listener: FlushListener;
  #policy: FlushPolicy;
  /** The last of the queued groups, while batches may still join it. */
  #open: FlushGroup | null = null;
  #queued: FlushGroup[] = [];
  #queuedBytes = 0;
  /** Written, and waiting for a sync. */
  #unsynced: FlushGroup[] = [];
  #unsyncedBytes = 0;
  /** Segments with bytes that no sync has covered, oldest first. */
  #dirtySegments: Segment[] = [];
  #writtenOffset: bigint;
  #syncedOffset: bigint;
  #readableOffset: bigint;
  #isWriteScheduled = false;
  #writing: Promise<void> | null = null;
  #syncing: Promise<void> | null = null;
  #syncTimer: Timer | null = null;
  #isRewinding = false;
  #isClosed = false;
  #isFailed = false;

  constructor(parts: LogFlusherParts, policy: FlushPolicy, endOffset: bigint, listener: FlushListener) {
    this.#clock = parts.clock;
    this.#memory = parts.memory;
    this.#policy = policy;
    this.#listener = listener;
    this.#writtenOffset = endOffset;
    this.#syncedOffset = endOffset;
    this.#readableOffset = endOffset;
  }

  get writtenOffset(): bigint {
    return this.#writtenOffset;
  }

  get syncedOffset(): bigint {
    return this.#syncedOffset;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  applyPolicy(policy: FlushPolicy): void {
    this.#policy = policy;
    // Out of mode "always", the next group is readable at once, and with it all before it.
    if (policy.flush !== "always") for (const group of this.#unsynced) this.#makeReadable(group);
    this.#startSync();
  }

  /** Queues a batch that has its place in the segment. Returns the group that it shares its fate with. */
  add(batch: Buffer, segment: Segment, position: number, baseOffset: bigint, endOffset: bigint): FlushGroup {
    assert(!this.#isClosed, "append to a closed log");
    let group = this.#open;
    if (group === null || group.segment !== segment || group.sizeBytes + batch.length > GROUP_LIMIT_BYTES) {
      group = new FlushGroup(segment, position, baseOffset);
      this.#open = group;
      this.#queued.push(group);
    }
    group.batches.push(batch);
    group.sizeBytes += batch.length;
    group.endOffset = endOffset;
    this.#queuedBytes += batch.length;
    if (this.#writing === null && !this.#isWriteScheduled) {
      // At the end of this turn of the event loop: batches that came over other connections in it join the group.
      this.#isWriteScheduled = true;
      this.#clock.defer(() => {
        this.#isWriteScheduled = false;
        // A failed sync may have taken the queue in the meantime.
        if (this.#queued.length > 0) this.#writing ??= this.#writeQueued();
      });
    }
    return group;
  }

  /** The group that holds an offset that is not flushed yet; null if it is flushed. */
  groupOf(offset: bigint): FlushGroup | null {
    return (
      this.#unsynced.find((group) => offset < group.endOffset) ??
      this.#queued.find((group) => offset < group.endOffset) ??
      null
    );
  }

  /** Starts a sync of all that was written, whatever the mode, and waits until nothing is queued or unsynced. */
  async drain(): Promise<void> {
    for (;;) {
      if (this.#isWriteScheduled) await new Promise<void>((resolve) => this.#clock.defer(resolve));
      else if (this.#writing !== null) await this.#writing;
      else if (this.#syncing !== null) await this.#syncing;
      else if (this.#dirtySegments.length > 0 && !this.#isFailed) this.#startSync();
      else return;
    }
  }

  /** Waits for what is queued; nothing may be added any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#syncTimer?.cancel();
    await this.drain();
  }

  async #writeQueued(): Promise<void> {
    for (let group = this.#queued[0]; group !== undefined; group = this.#queued[0]) {
      if (this.#open === group) this.#open = null;
      const pieces = this.#memory.gather(group.batches);
      try {
        await group.segment.write(
          pieces.map(({ bytes }) => bytes),
          group.position,
        );
      } catch (error) {
        for (const piece of pieces) piece.release();
        await this.#failQueued(error);
        continue;
      }
      if (this.#isFailed) break;
      this.#queued.shift();
      this.#queuedBytes -= group.sizeBytes;
      this.#writtenOffset = group.endOffset;
      this.#listener.onWritten(group, pieces);
      group.settleWritten();
      this.#afterWrite(group);
    }
    this.#writing = null;
  }

  /**
   * The kernel tells of bytes that it could not bring to the disk once, to whichever sync comes first. That of the
   * rewinding would take the answer away from one that others wait for, so there is none beside it, and if it fails
   * they fail too.
   */
  async #failQueued(error: unknown): Promise<void> {
    this.#isRewinding = true;
    await this.#syncing;
    if (!this.#isFailed) {
      const groups = this.#takeQueued();
      await this.#listener.onWriteFailed(error, groups).catch((rewindError) => this.#giveUp(rewindError, groups));
    }
    this.#isRewinding = false;
    this.#startSync();
  }

  #takeQueued(): readonly FlushGroup[] {
    const groups = this.#queued;
    this.#queued = [];
    this.#queuedBytes = 0;
    this.#open = null;
    return groups;
  }

  #afterWrite(group: FlushGroup): void {
    if (this.#dirtySegments.at(-1) !== group.segment) this.#dirtySegments.push(group.segment);
    this.#unsyncedBytes += group.sizeBytes;
    if (this.#policy.flush === "always") {
      this.#unsynced.push(group);
      this.#startSync();
      return;
    }
    this.#makeReadable(group);
    group.settleFlushed();
    // A segment that is full goes to the disk in every mode: recovery looks at what is behind the last sync.
    const isRolled = this.#dirtySegments.length > 1;
    const isDue = this.#policy.flush === "interval" && this.#unsyncedBytes >= this.#policy.flushIntervalBytes;
    if (isRolled || isDue) this.#startSync();
    else if (this.#policy.flush === "interval") this.#syncLater();
  }

  #makeReadable(group: FlushGroup): void {
    // After a change of the mode it may be readable already when it is synced.
    if (group.endOffset <= this.#readableOffset) return;
    this.#readableOffset = group.endOffset;
    group.segment.makeReadable(group.position + group.sizeBytes);
    this.#listener.onReadable(group.endOffset);
  }

  #syncLater(): void {
    if (this.#isClosed) return;
    this.#syncTimer ??= this.#clock.schedule(this.#policy.flushIntervalMs, () => this.#startSync(), {
      background: true,
    });
  }

  #startSync(): void {
    this.#syncTimer?.cancel();
    this.#syncTimer = null;
    if (this.#isFailed || this.#isRewinding || this.#dirtySegments.length === 0) return;
    this.#syncing ??= this.#syncDirty();
  }

  async #syncDirty(): Promise<void> {
    do {
      const segments = this.#dirtySegments;
      const groupCount = this.#unsynced.length;
      const endOffset = this.#writtenOffset;
      this.#dirtySegments = [];
      this.#unsyncedBytes = 0;
      try {
        for (const segment of segments) await segment.sync();
      } catch (error) {
        this.#giveUp(error, []);
        break;
      }
      this.#syncedOffset = endOffset;
      this.#listener.onSynced();
      const groups = this.#unsynced.splice(0, groupCount);
      for (const group of groups) this.#makeReadable(group);
      for (const group of groups) group.settleFlushed();
    } while (this.#unsynced.length > 0 && !this.#isRewinding);
    this.#syncing = null;
    if (this.#policy.flush === "interval" && this.#dirtySegments.length > 0) this.#syncLater();
  }

  /** After a failed fdatasync the kernel may have dropped the bytes and forgotten that it had them: no second try. */
  #giveUp(error: unknown, unwritten: readonly FlushGroup[]): void {
    this.#isFailed = true;
    const groups = [...this.#unsynced, ...unwritten, ...this.#takeQueued()];
    this.#unsynced = [];
    this.#listener.onGivenUp(error, groups);
  }
}

/** A deferred whose rejection nobody has to look at: with acks=0 nobody does. */
function createSilentDeferred(): Deferred<void> {
  const deferred = createDeferred<void>();
  deferred.promise.catch(() => {});
  return deferred;
}
