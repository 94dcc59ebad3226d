/** What all partition logs of a data directory share: handles, memory, checkpoints, and the number of this start. */

import {
  type Clock,
  type FileSystem,
  type Logger,
  MEBIBYTE,
  SECOND_MS,
  type Timer,
  writeFileAtomic,
} from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { BufferPool } from "../buffer-pool.ts";
import { BatchMemory } from "./batch-memory.ts";
import { encodeCheckpoint, parseOffset, readCheckpoint, readText } from "./checkpoint-file.ts";
import { CoalescedTask } from "./coalesced-task.ts";
import { FileHandles } from "./file-handles.ts";
import {
  BROKER_EPOCH_FILE,
  CLEANED_FILE,
  LOG_START_FILE,
  partitionDirectoryName,
  RECOVERY_POINT_FILE,
} from "./file-names.ts";
import { TailCacheBudget } from "./tail-cache.ts";

/** What the manager needs of a log to write it down. */
export interface ManagedLog {
  readonly topic: string;
  readonly partition: number;
  /** All before it is on the disk. */
  readonly recoveryPoint: bigint;
  readonly logStartOffset: bigint;
  /** All before it was compacted. */
  readonly cleanedOffset: bigint;
  readonly hasFailed: boolean;
  /** Whether a restart would have to read much that is on the disk already. */
  readonly isCheckpointDue: boolean;
  /** Brings the side files up to the log's end, if that is due. */
  checkpoint(): Promise<void>;
}

export interface LogManagerOptions {
  readonly dataDir: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The last broker here closed in order. */
  readonly isCleanStart: boolean;
  /** Segments that are open for reading at a time. */
  readonly readHandleLimit?: number;
  /** Memory for the batches written last, of all partitions together. */
  readonly tailCacheBytes?: number;
  /** How often the logs' progress is written down. A restart scans what came after the last time. */
  readonly checkpointIntervalMs?: number;
  /** A log writes its side files once so many bytes came since the last time: fewer are read sooner than the files. */
  readonly checkpointBytes?: number;
}

const READ_HANDLE_LIMIT = 256;
const TAIL_CACHE_BYTES = 16 * MEBIBYTE;
/** Kept for the next reads: what two consumers of six partitions each take at a time. */
const READ_MEMORY_BYTES = 16 * MEBIBYTE;
/** Reading so much takes less than the eight calls that two side files take. */
const CHECKPOINT_BYTES = 64 * 1024;
/** Logs that are brought up to date in one round; the others follow in the next ones. */
const CHECKPOINTS_PER_ROUND = 128;

interface SavedOffsets {
  readonly topic: string;
  readonly partition: number;
  readonly recoveryPoint: bigint | null;
  readonly logStartOffset: bigint;
  readonly cleanedOffset: bigint;
}

export class LogManager {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly handles: FileHandles;
  readonly tailCacheBudget: TailCacheBudget;
  readonly batchMemory = new BatchMemory();
  readonly readMemory = new BufferPool(READ_MEMORY_BYTES);
  readonly isCleanStart: boolean;
  /** Higher at every start: a reader learns from it that the log's end may have been cut in between. */
  readonly leaderEpoch: number;
  readonly dataDir: string;
  readonly checkpointBytes: number;
  readonly #checkpointIntervalMs: number;
  /** By folder name; what the files say of logs that are not open. */
  readonly #saved = new Map<string, SavedOffsets>();
  readonly #logs = new Map<string, ManagedLog>();
  /** Logs that moved on since their last checkpoint, in the order in which they did. */
  readonly #advanced = new Set<ManagedLog>();
  readonly #savingRecoveryPoints = new CoalescedTask(() =>
    this.#writeOffsets(RECOVERY_POINT_FILE, ({ recoveryPoint }) => recoveryPoint),
  );
  readonly #savingLogStarts = new CoalescedTask(() =>
    this.#writeOffsets(LOG_START_FILE, ({ logStartOffset }) => (logStartOffset > 0n ? logStartOffset : null)),
  );
  readonly #savingCleaned = new CoalescedTask(() =>
    this.#writeOffsets(CLEANED_FILE, ({ cleanedOffset }) => (cleanedOffset > 0n ? cleanedOffset : null)),
  );
  readonly #syncingDataDir = new CoalescedTask(() => this.fileSystem.syncDirectory(this.dataDir));
  #timer: Timer | null = null;
  #round: Promise<void> | null = null;
  #hasFailed = false;
  #isClosed = false;

  /** Rejects with KAFKA_STORAGE_ERROR if what it needs to know of the logs is there and cannot be read. */
  static async open(options: LogManagerOptions): Promise<LogManager> {
    const { fileSystem, dataDir } = options;
    const [recoveryPoints, logStarts, cleaned] = await Promise.all([
      readOffsets(fileSystem, `${dataDir}/${RECOVERY_POINT_FILE}`),
      readOffsets(fileSystem, `${dataDir}/${LOG_START_FILE}`),
      readOffsets(fileSystem, `${dataDir}/${CLEANED_FILE}`),
    ]);
    const manager = new LogManager(options, await nextEpoch(fileSystem, `${dataDir}/${BROKER_EPOCH_FILE}`));
    for (const line of recoveryPoints) manager.#remember(line, { recoveryPoint: line.offset });
    for (const line of logStarts) manager.#remember(line, { logStartOffset: line.offset });
    for (const line of cleaned) manager.#remember(line, { cleanedOffset: line.offset });
    return manager;
  }

  private constructor(options: LogManagerOptions, leaderEpoch: number) {
    this.fileSystem = options.fileSystem;
    this.clock = options.clock;
    this.logger = options.logger;
    this.handles = new FileHandles(options.fileSystem, options.readHandleLimit ?? READ_HANDLE_LIMIT);
    this.tailCacheBudget = new TailCacheBudget(options.tailCacheBytes ?? TAIL_CACHE_BYTES);
    this.isCleanStart = options.isCleanStart;
    this.leaderEpoch = leaderEpoch;
    this.dataDir = options.dataDir;
    this.checkpointBytes = options.checkpointBytes ?? CHECKPOINT_BYTES;
    this.#checkpointIntervalMs = options.checkpointIntervalMs ?? SECOND_MS;
  }

  #remember({ topic, partition }: PartitionOffset, offsets: Partial<SavedOffsets>): void {
    const name = partitionDirectoryName(topic, partition);
    const known = this.#saved.get(name) ?? {
      topic,
      partition,
      recoveryPoint: null,
      logStartOffset: 0n,
      cleanedOffset: 0n,
    };
    this.#saved.set(name, { ...known, ...offsets });
  }

  /** Null if nothing is known about the log. */
  recoveryPointOf(topic: string, partition: number): bigint | null {
    return this.#saved.get(partitionDirectoryName(topic, partition))?.recoveryPoint ?? null;
  }

  logStartOffsetOf(topic: string, partition: number): bigint {
    return this.#saved.get(partitionDirectoryName(topic, partition))?.logStartOffset ?? 0n;
  }

  cleanedOffsetOf(topic: string, partition: number): bigint {
    return this.#saved.get(partitionDirectoryName(topic, partition))?.cleanedOffset ?? 0n;
  }

  /** From now on the log itself is asked. */
  add(log: ManagedLog): void {
    this.#logs.set(partitionDirectoryName(log.topic, log.partition), log);
  }

  /** A log that was closed: what it says now is remembered. */
  remove(log: ManagedLog): void {
    const { topic, partition, recoveryPoint, logStartOffset, cleanedOffset } = log;
    this.forget(log);
    const saved = { topic, partition, recoveryPoint, logStartOffset, cleanedOffset };
    this.#saved.set(partitionDirectoryName(topic, partition), saved);
    if (log.hasFailed) this.#hasFailed = true;
  }

  /** A log that is deleted: one of the same name that comes later has nothing to do with it. */
  forget(log: ManagedLog): void {
    const name = partitionDirectoryName(log.topic, log.partition);
    this.#advanced.delete(log);
    this.#logs.delete(name);
    this.#saved.delete(name);
  }

  /** More of the log is on the disk: it is written down within the interval. */
  noteAdvance(log: ManagedLog): void {
    this.#advanced.add(log);
    if (this.#timer === null && this.#round === null) this.#scheduleRound();
  }

  saveRecoveryPoints(): Promise<void> {
    return this.#savingRecoveryPoints.run();
  }

  /** Resolves once a restart would know where the logs start now. */
  saveLogStartOffsets(): Promise<void> {
    return this.#savingLogStarts.run();
  }

  saveCleanedOffsets(): Promise<void> {
    return this.#savingCleaned.run();
  }

  /** Makes the folders last that were made in the data dir: one sync for all that were made at the same time. */
  syncDataDir(): Promise<void> {
    return this.#syncingDataDir.run();
  }

  /** Writes all down; the logs must be closed before. Rejects with KAFKA_STORAGE_ERROR if the next start has to check them. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#round;
    this.handles.close();
    await this.saveRecoveryPoints();
    if (this.#hasFailed) throw new KafkaError("KAFKA_STORAGE_ERROR", "a log failed; the next start checks all of them");
  }

  #scheduleRound(): void {
    if (this.#isClosed) return;
    this.#timer = this.clock.schedule(
      this.#checkpointIntervalMs,
      () => {
        this.#timer = null;
        this.#round = this.#checkpointAdvanced().finally(() => {
          this.#round = null;
          if (this.#advanced.size > 0) this.#scheduleRound();
        });
      },
      { background: true },
    );
  }

  async #checkpointAdvanced(): Promise<void> {
    let count = 0;
    for (const log of this.#advanced) {
      if (count === CHECKPOINTS_PER_ROUND || this.#isClosed) break;
      this.#advanced.delete(log);
      if (!log.isCheckpointDue) continue;
      count += 1;
      try {
        await log.checkpoint();
      } catch (error) {
        // Nothing is lost but time at the next start.
        this.logger.warn({ topic: log.topic, partition: log.partition, error }, "could not write a checkpoint");
      }
    }
    try {
      await this.saveRecoveryPoints();
    } catch (error) {
      this.logger.warn({ error }, "could not write the recovery points");
    }
  }

  /** Writes one offset of every log that has one. */
  #writeOffsets(fileName: string, offsetOf: (saved: SavedOffsets) => bigint | null): Promise<void> {
    const lines: string[] = [];
    for (const saved of this.#all()) {
      const offset = offsetOf(saved);
      if (offset !== null) lines.push(`${saved.topic} ${saved.partition} ${offset}`);
    }
    return writeFileAtomic(this.fileSystem, `${this.dataDir}/${fileName}`, encodeCheckpoint(lines));
  }

  *#all(): Iterable<SavedOffsets> {
    for (const [name, saved] of this.#saved) {
      if (!this.#logs.has(name)) yield saved;
    }
    yield* this.#logs.values();
  }
}

/** Counts this start, for good, before anything is served. */
async function nextEpoch(fileSystem: FileSystem, path: string): Promise<number> {
  const last = Number.parseInt((await readText(fileSystem, path)) ?? "-1", 10);
  const epoch = Number.isInteger(last) && last >= -1 ? last + 1 : 0;
  await writeFileAtomic(fileSystem, path, Buffer.from(`${epoch}\n`));
  return epoch;
}

export interface PartitionOffset {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
}

/** The lines of a checkpoint that make sense; none if the file is not there or is damaged. */
async function readOffsets(fileSystem: FileSystem, path: string): Promise<PartitionOffset[]> {
  const offsets: PartitionOffset[] = [];
  for (const [topic, partitionWord, offsetWord] of (await readCheckpoint(fileSystem, path)) ?? []) {
    const partition = Number(partitionWord);
    const offset = parseOffset(offsetWord);
    if (topic !== undefined && Number.isInteger(partition) && offset !== null)
      offsets.push({ topic, partition, offset });
  }
  return offsets;
}
