/** Checks one partition's folder: its segments, what lies beside them, and what the next start would make of it. */

import type { Clock, FileSystem } from "@millrace/base";
import { type BatchHeader, KafkaError, readRecords, WireError } from "@millrace/protocol";
import { larger } from "../log/bigints.ts";
import { readCheckpoint } from "../log/checkpoint-file.ts";
import { parseSwapFileName } from "../log/compaction.ts";
import {
  CLEANED_SUFFIX,
  DELETED_SUFFIX,
  INDEX_SUFFIX,
  LEADER_EPOCH_FILE,
  LOG_SUFFIX,
  offsetFileName,
  PARTITION_METADATA_FILE,
  parseOffsetFileName,
  partitionDirectoryName,
  SNAPSHOT_SUFFIX,
  TEMPORARY_SUFFIX,
  TIME_INDEX_SUFFIX,
} from "../log/file-names.ts";
import { decodeSnapshot } from "../log/producer-snapshots.ts";
import { forecastRecovery } from "./forecast-recovery.ts";
import { OffsetIndexCheck, TimeIndexCheck } from "./index-checks.ts";
import { type PartitionReport, Problems, type RecoveryForecast } from "./report.ts";
import { EpochCheck, SnapshotCheck } from "./side-file-checks.ts";
import { verifyBatches } from "./verify-segment.ts";

export interface PartitionParts {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly dataDir: string;
  readonly topic: string;
  readonly partition: number;
  /** Null: topics.json knows no such topic. */
  readonly topicId: string | null;
  /** cleanup.policy is compact: offsets may be missing. Where it was once, cleanedOffset tells. */
  readonly isCompacted: boolean;
  /** The last broker closed in order. */
  readonly isClean: boolean;
  /** What the checkpoint files say; null: nothing. */
  readonly recoveryPoint: bigint | null;
  readonly logStartOffset: bigint;
  /** All before it was compacted. */
  readonly cleanedOffset: bigint;
  /** Whether records are decoded too; the codecs are loaded then. */
  readonly checksRecords: boolean;
  /** Told of each producer id that is met. */
  onProducerId(producerId: bigint): void;
}

const MADE_ANEW = "it is made anew from the log when it is needed";
const GONE = "these records are gone, unless a backup has them";
const DOUBLE_RISK =
  "a retry of that producer may be taken for a new batch; without the file the batches are read instead";

const NOTHING_TO_RECOVER: RecoveryForecast = { startOffset: 0, endOffset: 0, lostBytes: 0, steps: [] };

/** One file of the log, a compaction that is about to replace others among them. */
interface SegmentFile {
  readonly baseOffset: bigint;
  readonly name: string;
  readonly sizeBytes: number;
}

/** A place without a good batch. Whether it costs records depends on what the next start does. */
interface BadPlace {
  readonly file: string;
  readonly position: number;
  readonly offset: bigint;
  readonly what: string;
  /** The file ends here, in the middle of what was being written. */
  readonly isTornTail: boolean;
}

/** Reads all that is in the folder and changes nothing. Rejects with what the disk says. */
export function verifyPartition(parts: PartitionParts): Promise<PartitionReport> {
  return new PartitionVerifier(parts).verify();
}

class PartitionVerifier {
  readonly #parts: PartitionParts;
  readonly #folder: string;
  readonly #problems = new Problems();
  readonly #badPlaces: BadPlace[] = [];
  readonly #epochs = new EpochCheck();
  readonly #snapshots = new SnapshotCheck((file, what) => this.#problems.add("damage", file, null, what, DOUBLE_RISK));
  #names: readonly string[] = [];
  #batchCount = 0;
  #recordCount = 0;

  constructor(parts: PartitionParts) {
    this.#parts = parts;
    this.#folder = partitionDirectoryName(parts.topic, parts.partition);
  }

  async verify(): Promise<PartitionReport> {
    const { fileSystem, topic, partition } = this.#parts;
    // A partition that nobody has written to has no folder.
    const isThere = await fileSystem.exists(this.#directory);
    this.#names = isThere ? (await fileSystem.list(this.#directory)).sort() : [];
    this.#noteLeftovers();
    await this.#checkMetadata();
    await this.#readEpochs();
    await this.#readSnapshots();
    const segments = await this.#segmentFiles();
    const endOffset = await this.#checkSegments(segments);
    this.#checkOffsets(segments, endOffset);
    const recovery = isThere ? await this.#forecast() : NOTHING_TO_RECOVER;
    this.#judgeBadPlaces(recovery);
    return {
      topic,
      partition,
      segments: segments.length,
      batches: this.#batchCount,
      records: this.#recordCount,
      sizeBytes: segments.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      startOffset: Number(larger(this.#parts.logStartOffset, segments[0]?.baseOffset ?? 0n)),
      endOffset: Number(endOffset),
      recovery,
      isSound: this.#problems.isSound,
      problems: this.#problems.list,
      problemsLeftOut: this.#problems.leftOut,
    };
  }

  get #directory(): string {
    return `${this.#parts.dataDir}/${this.#folder}`;
  }

  #fileOf(name: string): string {
    return `${this.#folder}/${name}`;
  }

  #noteLeftovers(): void {
    if (this.#parts.topicId === null) {
      this.#problems.add("note", this.#folder, null, "topics.json knows no such partition", "it is not served");
    }
    for (const name of this.#names) {
      const file = this.#fileOf(name);
      if ([DELETED_SUFFIX, CLEANED_SUFFIX, TEMPORARY_SUFFIX].some((suffix) => name.endsWith(suffix))) {
        this.#problems.add("note", file, null, "a file that was not finished", "the next start removes it");
      } else if (parseSwapFileName(name) !== null) {
        this.#problems.add("note", file, null, "a compaction that was not finished", "the next start finishes it");
      }
    }
  }

  /** Kafka's file for people and tools: topics.json is what the broker goes by. */
  async #checkMetadata(): Promise<void> {
    const { fileSystem, topicId } = this.#parts;
    if (topicId === null || !this.#names.includes(PARTITION_METADATA_FILE)) return;
    const text = (await fileSystem.readFile(`${this.#directory}/${PARTITION_METADATA_FILE}`)).toString("utf8");
    const found = /^topic_id: (\S+)$/m.exec(text)?.[1];
    if (found === topicId) return;
    this.#problems.add(
      "damage",
      this.#fileOf(PARTITION_METADATA_FILE),
      null,
      `expected topic_id ${topicId}, as topics.json has it, found ${found ?? "none"}`,
      "the folder may be another topic's of the same name; the broker serves it as this one's",
    );
  }

  async #readEpochs(): Promise<void> {
    if (!this.#names.includes(LEADER_EPOCH_FILE)) return;
    const lines = await readCheckpoint(this.#parts.fileSystem, `${this.#directory}/${LEADER_EPOCH_FILE}`);
    if (lines !== null && this.#epochs.read(lines)) return;
    this.#problems.add(
      "repairable",
      this.#fileOf(LEADER_EPOCH_FILE),
      null,
      "it is no list of epochs and offsets that both rise",
      "the next start reads the epochs from the batches",
    );
  }

  async #readSnapshots(): Promise<void> {
    const { fileSystem, clock } = this.#parts;
    for (const name of this.#names) {
      const offset = parseOffsetFileName(name, SNAPSHOT_SUFFIX);
      if (offset === null) continue;
      const file = this.#fileOf(name);
      const producers = decodeSnapshot(await fileSystem.readFile(`${this.#directory}/${name}`), clock.timestampMs());
      if (producers === null) {
        const consequence = "the next start takes an older one, or reads the producers from the batches";
        this.#problems.add("repairable", file, null, "its checksum does not fit its bytes", consequence);
        continue;
      }
      for (const { producerId } of producers.entries()) this.#parts.onProducerId(producerId);
      this.#snapshots.add(file, offset, producers);
    }
  }

  async #segmentFiles(): Promise<SegmentFile[]> {
    const swaps = this.#names.map(parseSwapFileName).filter((swap) => swap !== null);
    const files = new Map<bigint, string>();
    for (const name of this.#names) {
      const baseOffset = parseOffsetFileName(name, LOG_SUFFIX);
      if (baseOffset !== null) files.set(baseOffset, name);
    }
    for (const swap of swaps) {
      for (const base of files.keys()) if (base >= swap.baseOffset && base < swap.endOffset) files.delete(base);
    }
    for (const name of this.#names) {
      const swap = parseSwapFileName(name);
      if (swap !== null) files.set(swap.baseOffset, name);
    }
    const sorted = [...files].sort(([a], [b]) => (a < b ? -1 : 1));
    const sizes = sorted.map(([, name]) => this.#parts.fileSystem.sizeBytes(`${this.#directory}/${name}`));
    const segments: SegmentFile[] = [];
    for (const [index, [baseOffset, name]] of sorted.entries()) {
      segments.push({ baseOffset, name, sizeBytes: (await sizes[index]) ?? 0 });
    }
    return segments;
  }

  /** Returns where the log ends. */
  async #checkSegments(segments: readonly SegmentFile[]): Promise<bigint> {
    let expectedOffset: bigint | null = null;
    for (const [index, segment] of segments.entries()) {
      expectedOffset = await this.#checkSegment(segment, expectedOffset, index < segments.length - 1);
    }
    return expectedOffset ?? 0n;
  }

  async #checkSegment(segment: SegmentFile, expectedOffset: bigint | null, isSealed: boolean): Promise<bigint> {
    const { fileSystem } = this.#parts;
    const { baseOffset, sizeBytes, name } = segment;
    if (expectedOffset !== null && baseOffset > expectedOffset && !this.#mayLackOffsets(expectedOffset)) {
      this.#reportMissing(this.#fileOf(name), 0, expectedOffset, baseOffset);
    }
    const offsetIndex = await this.#openIndex(segment, INDEX_SUFFIX, isSealed, OffsetIndexCheck);
    const timeIndex = await this.#openIndex(segment, TIME_INDEX_SUFFIX, isSealed, TimeIndexCheck);
    let readUntil = sizeBytes;
    const file = await fileSystem.open(`${this.#directory}/${name}`, "read");
    try {
      return await verifyBatches({
        baseOffset,
        sizeBytes,
        readAt: (buffer, position) => file.read(buffer, position),
        expectedOffset: expectedOffset === null ? baseOffset : larger(expectedOffset, baseOffset),
        mayLackOffsets: (offset) => this.#mayLackOffsets(offset),
        visit: (header, position, batch) => {
          offsetIndex?.skipTo(readUntil === sizeBytes ? 0 : position);
          offsetIndex?.visit(header, position);
          timeIndex?.visit(header);
          this.#visit(header, position, name);
          if (this.#parts.checksRecords) this.#checkRecords(batch, position, name);
        },
        onBadBatch: (position, offset, what, isEnd) => {
          readUntil = Math.min(readUntil, position);
          timeIndex?.giveUp();
          this.#badPlaces.push({ file: this.#fileOf(name), position, offset, what, isTornTail: isEnd && !isSealed });
        },
        onMissingOffsets: (position, from, until) => this.#reportMissing(this.#fileOf(name), position, from, until),
      });
    } finally {
      await file.close();
      if (readUntil === sizeBytes) offsetIndex?.end(sizeBytes);
      timeIndex?.end(isSealed);
    }
  }

  async #openIndex<Check>(
    { baseOffset, name }: SegmentFile,
    suffix: string,
    isSealed: boolean,
    Check: new (bytes: Buffer, baseOffset: bigint, report: (position: number | null, what: string) => void) => Check,
  ): Promise<Check | null> {
    // The indexes beside a swap are those of the segments that it replaces.
    if (parseSwapFileName(name) !== null) return null;
    const indexName = offsetFileName(baseOffset, suffix);
    const report = (position: number | null, what: string) =>
      this.#problems.add("repairable", this.#fileOf(indexName), position, what, MADE_ANEW);
    if (this.#names.includes(indexName)) {
      return new Check(await this.#parts.fileSystem.readFile(`${this.#directory}/${indexName}`), baseOffset, report);
    }
    // Compaction leaves them out, and an active segment's are written when it is worth it, or behind the recovery point.
    const isExpected = isSealed && !this.#parts.isCompacted && baseOffset < (this.#parts.recoveryPoint ?? 0n);
    if (isExpected) report(null, "expected the index of a closed segment, found no file");
    return null;
  }

  #visit(header: BatchHeader, position: number, name: string): void {
    this.#batchCount += 1;
    this.#recordCount += header.recordCount;
    const file = this.#fileOf(name);
    const { baseOffset, lastOffsetDelta, recordCount, producerId } = header;
    if (recordCount !== lastOffsetDelta + 1 && !this.#mayLackOffsets(baseOffset)) {
      const what = `expected ${lastOffsetDelta + 1} records for as many offsets, found ${recordCount}`;
      this.#problems.add("damage", file, position, what, GONE);
    }
    if (producerId >= 0n) this.#parts.onProducerId(producerId);
    this.#snapshots.visit(header);
    const epochProblem = this.#epochs.visit(header);
    if (epochProblem === null) return;
    const consequence = "readers may not notice that the log was cut there; without the file the batches are read";
    this.#problems.add("repairable", this.#fileOf(LEADER_EPOCH_FILE), null, epochProblem, consequence);
  }

  /** The checksum says that the batch is as its producer sent it, and nothing about what it sent. */
  #checkRecords(batch: Buffer, position: number, name: string): void {
    try {
      readRecords(batch);
    } catch (error) {
      if (!(error instanceof WireError || error instanceof KafkaError)) throw error;
      const what = `its records cannot be decoded: ${error.message}`;
      const consequence =
        "its producer sent it like this; readers fail here until retention or delete-records has passed it";
      this.#problems.add("damage", this.#fileOf(name), position, what, consequence);
    }
  }

  #mayLackOffsets(offset: bigint): boolean {
    return this.#parts.isCompacted || offset < this.#parts.cleanedOffset;
  }

  #reportMissing(file: string, position: number, from: bigint, until: bigint): void {
    this.#problems.add("damage", file, position, `offsets ${from} to ${until - 1n} are missing`, GONE);
  }

  #checkOffsets(segments: readonly SegmentFile[], endOffset: bigint): void {
    const { logStartOffset, recoveryPoint } = this.#parts;
    const firstBase = segments[0]?.baseOffset ?? 0n;
    if (firstBase > logStartOffset && !this.#mayLackOffsets(logStartOffset)) {
      this.#problems.add(
        "damage",
        this.#folder,
        null,
        `expected a log from offset ${logStartOffset} on, as the log start checkpoint has it, found one from ${firstBase} on`,
        `the next start takes ${firstBase} for the log's start: the records before it are gone`,
      );
    }
    if (logStartOffset > endOffset) {
      const what = `the log start checkpoint says ${logStartOffset}; the log ends at ${endOffset}`;
      this.#problems.add("damage", this.#folder, null, what, GONE);
    }
    if (recoveryPoint !== null && recoveryPoint > endOffset) {
      this.#problems.add(
        "damage",
        this.#folder,
        null,
        `all before offset ${recoveryPoint} was on the disk, says the recovery point checkpoint; the log ends at ${endOffset}`,
        "the records between are gone; the next start checks the whole log",
      );
    }
  }

  async #forecast(): Promise<RecoveryForecast> {
    try {
      return await forecastRecovery({ ...this.#parts, directory: this.#directory });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#problems.add("damage", this.#folder, null, reason, "the next start fails with this error");
      return NOTHING_TO_RECOVER;
    }
  }

  /** What the next start cuts off is another thing than what nobody looks at before a reader does. */
  #judgeBadPlaces({ endOffset }: RecoveryForecast): void {
    for (const { file, position, offset, what, isTornTail } of this.#badPlaces) {
      const isCut = offset >= BigInt(endOffset);
      const isUnfinished = isTornTail && isCut && !this.#parts.isClean;
      const consequence = isCut
        ? `the next start cuts the log at offset ${endOffset}`
        : "the next start does not look there; readers of these offsets fail until retention or delete-records has passed them";
      this.#problems.add(isUnfinished ? "repairable" : "damage", file, position, what, consequence);
    }
  }
}
