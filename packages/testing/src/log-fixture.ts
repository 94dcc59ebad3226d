/** One partition's log on a disk of its own, to be written, crashed and opened again. */

import { type Clock, type FileSystem, MemoryFileSystem, silentLogger, systemClock } from "@millrace/base";
import {
  type AppendResult,
  defaultLogSettings,
  LogManager,
  type LogSettings,
  PartitionLog,
} from "@millrace/broker/internal";
import { loadCodec, type ProducerStamp, readBatchHeader, readRecords, splitBatches } from "@millrace/protocol";
import { recordBatch, type TestBatchOptions, type TestRecord } from "./record-batches.ts";

const DATA_DIR = "/data";
const TOPIC = "orders";
const TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAQ";
const PARTITION = 3;
/** Long enough that a checkpoint is written only when a test asks for it. */
const NEVER_MS = 2 ** 31 - 1;

export interface LogFixtureOptions {
  readonly fileSystem?: FileSystem;
  readonly dataDir?: string;
  readonly clock?: Clock;
  readonly settings?: Partial<LogSettings>;
  readonly tailCacheBytes?: number;
  readonly readHandleLimit?: number;
  readonly checkpointIntervalMs?: number;
  readonly checkpointBytes?: number;
}

export class LogFixture {
  readonly fileSystem: FileSystem;
  readonly dataDir: string;
  readonly directory: string;
  readonly #options: LogFixtureOptions;
  #manager: LogManager | null = null;
  #log: PartitionLog | null = null;

  static async open(options: LogFixtureOptions = {}): Promise<LogFixture> {
    const fixture = new LogFixture(options);
    await fixture.fileSystem.makeDirectory(fixture.dataDir);
    // Whoever opens a log manager has made the data dir, for good.
    await fixture.fileSystem.syncDirectory("/");
    await fixture.reopen();
    return fixture;
  }

  constructor(options: LogFixtureOptions) {
    this.#options = options;
    this.fileSystem = options.fileSystem ?? new MemoryFileSystem();
    this.dataDir = options.dataDir ?? DATA_DIR;
    this.directory = `${this.dataDir}/${TOPIC}-${PARTITION}`;
  }

  get log(): PartitionLog {
    if (this.#log === null) throw new Error("the log is not open");
    return this.#log;
  }

  get manager(): LogManager {
    if (this.#manager === null) throw new Error("the log is not open");
    return this.#manager;
  }

  /** Opens what is on the disk. What was open before is left as it is, as after a crash. */
  async reopen({ isCleanStart = false } = {}): Promise<PartitionLog> {
    const { clock = systemClock, settings, tailCacheBytes, readHandleLimit } = this.#options;
    this.#manager = await LogManager.open({
      dataDir: this.dataDir,
      fileSystem: this.fileSystem,
      clock,
      logger: silentLogger,
      isCleanStart,
      checkpointIntervalMs: this.#options.checkpointIntervalMs ?? NEVER_MS,
      checkpointBytes: this.#options.checkpointBytes ?? 0,
      ...(tailCacheBytes === undefined ? {} : { tailCacheBytes }),
      ...(readHandleLimit === undefined ? {} : { readHandleLimit }),
    });
    this.#log = await PartitionLog.open({
      manager: this.#manager,
      topic: TOPIC,
      topicId: TOPIC_ID,
      hasFolder: await this.fileSystem.exists(this.directory),
      partition: PARTITION,
      settings: { ...defaultLogSettings, messageTimestampAfterMaxMs: -1, ...settings },
    });
    return this.#log;
  }

  async close(): Promise<void> {
    await this.log.close();
    await this.manager.close();
  }

  /** Moves the recovery point up, as the manager does every second. */
  async checkpoint(): Promise<void> {
    await this.log.checkpoint();
    await this.manager.saveRecoveryPoints();
  }

  append(values: readonly (string | TestRecord)[], options: Partial<TestBatchOptions> = {}, acks = -1): AppendResult {
    const records = values.map((value) => (typeof value === "string" ? { value } : value));
    return this.log.append(recordBatch(records, { baseOffset: 0n, ...options }), { acks });
  }

  /** Appends one batch a value and waits until all are flushed. */
  async appendEach(values: readonly string[]): Promise<void> {
    await Promise.all(values.map((value) => this.append([value]).flushed));
  }

  /** The records from an offset on, read with so many bytes at a time, as "offset:value". */
  async readAll(fromOffset = this.log.logStartOffset, maxBytes = 1024 * 1024): Promise<string[]> {
    const found: string[] = [];
    for (let offset = fromOffset; offset < this.log.highWatermark; ) {
      const buffers = await this.log.read(offset, maxBytes, { minOneBatch: true });
      if (buffers.length === 0) break;
      for (const buffer of buffers) {
        for (const { header, bytes } of splitBatches(buffer)) {
          await loadCodec(header.compression);
          for (const record of readRecords(bytes)) {
            if (record.offset >= fromOffset) found.push(`${record.offset}:${record.value?.toString() ?? "null"}`);
          }
          offset = header.baseOffset + BigInt(header.lastOffsetDelta) + 1n;
        }
      }
    }
    return found;
  }

  logFile(baseOffset = 0n): string {
    return `${this.directory}/${baseOffset.toString().padStart(20, "0")}.log`;
  }
}

/** The stamp of a producer's batch. */
export function producerStamp(producerId: bigint, baseSequence: number, producerEpoch = 0): ProducerStamp {
  return { producerId, producerEpoch, baseSequence };
}

/** "0:a" … of so many records with the values given. */
export function numbered(values: readonly string[], fromOffset = 0): string[] {
  return values.map((value, index) => `${fromOffset + index}:${value}`);
}

/** The base offsets of whole batches. */
export function baseOffsets(buffers: readonly Buffer[]): bigint[] {
  const offsets: bigint[] = [];
  for (const buffer of buffers) {
    for (let at = 0; at < buffer.length; at += readBatchHeader(buffer, at).sizeBytes) {
      offsets.push(readBatchHeader(buffer, at).baseOffset);
    }
  }
  return offsets;
}
