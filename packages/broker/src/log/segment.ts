/** One segment of a partition's log: a file of record batches, and its two sparse indexes. */

import { assert, type File, type FileSystem, type Logger, writeFully } from "@millrace/base";
import { BATCH_HEADER_BYTES, type BatchHeader, KafkaError } from "@millrace/protocol";
import type { BufferPool } from "../buffer-pool.ts";
import { batchSizeAt, lastOffsetAt, looksLikeBatch, scanBatches } from "./batch-scanner.ts";
import { larger } from "./bigints.ts";
import type { FileHandles, HandleOwner } from "./file-handles.ts";
import { INDEX_SUFFIX, LOG_SUFFIX, offsetFileName, TIME_INDEX_SUFFIX } from "./file-names.ts";
import { OFFSET_ENTRY_BYTES, OffsetIndex } from "./offset-index.ts";
import type { PartitionFolder } from "./partition-folder.ts";
import { TIME_ENTRY_BYTES, TimeIndex } from "./time-index.ts";

/** An index entry's offset is 32 bits and relative to the base; Kafka reads it as signed. */
export const RELATIVE_OFFSET_LIMIT = 2 ** 31 - 1;
/** Read beyond what was asked for, because the index leads to a place some batches before it. */
const LOOKUP_SLACK_BYTES = 16 * 1024;
/** Fewer new entries are not worth three calls: recovery walks so many more batches instead. */
const SAVED_ENTRIES_MIN = 32;
const NO_BYTES = Buffer.alloc(0);

/** What the segments of one log share. */
export interface SegmentContext {
  readonly directory: string;
  readonly folder: PartitionFolder;
  readonly fileSystem: FileSystem;
  readonly handles: FileHandles;
  readonly logger: Logger;
  /** Bytes of batches between two index entries. May change while the log is open. */
  indexIntervalBytes: number;
}

export interface SegmentReadOptions {
  readonly maxBytes: number;
  /** The first batch is returned even if it alone is larger than maxBytes (KIP-74). */
  readonly minOneBatch: boolean;
  /** Batches from here on are not read. */
  readonly limitPosition: number;
  /** What is returned lies in memory of this pool: whoever is done with it gives it back. Null or left out: it is the reader's. */
  readonly memory?: BufferPool | null;
}

export interface TimedOffset {
  readonly timestamp: bigint;
  /** Last offset of the batch that has the timestamp. */
  readonly offset: bigint;
}

type VisitBatch = (header: BatchHeader, position: number) => boolean | undefined;

interface Indexes {
  readonly offset: OffsetIndex;
  readonly time: TimeIndex;
}

/**
 * The active segment is appended to: `place` decides where a batch goes, at once; `write` and `sync` bring it there.
 * A sealed one is only read, and its indexes are loaded when they are first asked for.
 *
 * The index files are a help, never a truth: a place that one leads to is looked at before it is believed, and what
 * does not fit has the indexes made anew from the log.
 */
export class Segment implements HandleOwner {
  readonly baseOffset: bigint;
  readonly logPath: string;
  readonly #context: SegmentContext;
  /** Where the next batch goes. Bytes that wait to be written are counted. */
  #sizeBytes: number;
  /** Readers see what lies before it. */
  #readableBytes: number;
  /** Null: on the disk, or to be made from the log. Never null in an active segment. */
  #indexes: Indexes | null;
  #loading: Promise<Indexes> | null = null;
  #bytesSinceIndexEntry = 0;
  #savedOffsetEntries = 0;
  #savedTimeEntries = 0;
  #newest: TimedOffset = { timestamp: -1n, offset: -1n };
  /** Monotonic, by the broker's clock; null until the first append since the log was opened. */
  #firstAppendMs: number | null = null;
  #file: File | null = null;
  /** Whether there is one on the disk: the first write makes it. */
  #hasFile: boolean;
  #isDirectorySynced: boolean;
  #isSealed = false;

  private constructor(context: SegmentContext, baseOffset: bigint, sizeBytes: number, indexes: Indexes | null) {
    this.baseOffset = baseOffset;
    this.logPath = `${context.directory}/${offsetFileName(baseOffset, LOG_SUFFIX)}`;
    this.#context = context;
    this.#sizeBytes = sizeBytes;
    this.#readableBytes = sizeBytes;
    this.#indexes = indexes;
    this.#hasFile = indexes === null;
    this.#isDirectorySynced = indexes === null;
    this.#isSealed = indexes === null;
  }

  /** An active segment without a file: the first write makes it. */
  static create(context: SegmentContext, baseOffset: bigint): Segment {
    return new Segment(context, baseOffset, 0, noIndexes());
  }

  /** A sealed segment whose file is there. */
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

  /** False if a batch has to go into a new segment: this one would be too long, or its offsets too far apart. */
  hasRoomFor(batchBytes: number, lastOffset: bigint, segmentBytes: number): boolean {
    if (this.#sizeBytes === 0) return true;
    return this.#sizeBytes + batchBytes <= segmentBytes && lastOffset - this.baseOffset <= RELATIVE_OFFSET_LIMIT;
  }

  /** Counted from the first append that this process made: timestamps in records may say anything. */
  isOlderThan(ageMs: number, nowMs: number): boolean {
    return this.#firstAppendMs !== null && nowMs - this.#firstAppendMs > ageMs;
  }

  /** Gives the batch its place and enters it into the indexes. Returns its position; nothing is written yet. */
  place(header: BatchHeader, baseOffset: bigint, nowMs: number): number {
    const position = this.#sizeBytes;
    this.#firstAppendMs ??= nowMs;
    this.#sizeBytes = position + header.sizeBytes;
    assert(this.#indexes !== null, `the indexes of ${this.logPath} are not loaded`);
    this.#enter(this.#indexes, header, baseOffset, position);
    return position;
  }

  #enter(indexes: Indexes, header: BatchHeader, baseOffset: bigint, position: number): void {
    const lastOffset = baseOffset + BigInt(header.lastOffsetDelta);
    if (header.maxTimestamp > this.#newest.timestamp) {
      this.#newest = { timestamp: header.maxTimestamp, offset: lastOffset };
    }
    if (this.#bytesSinceIndexEntry > this.#context.indexIntervalBytes) {
      indexes.offset.append(Number(lastOffset - this.baseOffset), position);
      this.#enterNewest(indexes);
      this.#bytesSinceIndexEntry = 0;
    }
    this.#bytesSinceIndexEntry += header.sizeBytes;
  }

  #enterNewest(indexes: Indexes): void {
    const { timestamp, offset } = this.#newest;
    if (offset >= 0n) indexes.time.maybeAppend(timestamp, Number(offset - this.baseOffset));
  }

  /** Throws what the disk says; then nothing is known about the bytes from the position on. */
  async write(chunks: readonly Uint8Array[], position: number): Promise<void> {
    await writeFully(await this.#openFile(), chunks, position);
  }

  /** Makes what was written last, and the file's name with it. */
  async sync(): Promise<void> {
    const file = this.#file;
    if (file === null) return;
    if (this.#isDirectorySynced) return file.sync();
    await Promise.all([file.sync(), this.#context.folder.sync()]);
    this.#isDirectorySynced = true;
  }

  /** Makes the file, for good, if nothing was written to it yet: it tells the log's end when all before it is deleted. */
  async ensureFile(): Promise<void> {
    await this.#openFile();
    await this.sync();
  }

  async #openFile(): Promise<File> {
    if (this.#file !== null) return this.#file;
    await this.#context.folder.make();
    this.#file = await this.#context.fileSystem.open(this.logPath, "readWrite");
    this.#hasFile = true;
    return this.#file;
  }

  /** Cuts the file; recover has to follow. */
  async truncate(sizeBytes: number): Promise<void> {
    this.#sizeBytes = sizeBytes;
    this.#readableBytes = Math.min(this.#readableBytes, sizeBytes);
    // A full disk has no room for a new file either: there is nothing to cut off then.
    if (this.#hasFile) await (await this.#openFile()).truncate(sizeBytes);
  }

  /** Writes the index entries that are new since the last time, if there are enough of them. */
  async saveIndexes(): Promise<void> {
    const indexes = this.#indexes;
    if (indexes === null || indexes.offset.count - this.#savedOffsetEntries < SAVED_ENTRIES_MIN) return;
    await this.#saveEntries(indexes, false);
  }

  /**
   * Makes a segment that gets no more batches a sealed one: its indexes are written whole and synced, its handle closed.
   *
   * Call it when all its bytes are synced.
   */
  async seal(): Promise<void> {
    const indexes = this.#indexes;
    if (this.#isSealed || indexes === null) return;
    this.#enterNewest(indexes);
    await this.#saveEntries(indexes, true);
    this.#isSealed = true;
    this.#indexes = null;
    await this.#closeFile();
  }

  async #saveEntries(indexes: Indexes, isLast: boolean): Promise<void> {
    const savedOffsets = this.#savedOffsetEntries * OFFSET_ENTRY_BYTES;
    const savedTimes = this.#savedTimeEntries * TIME_ENTRY_BYTES;
    const offsets = indexes.offset.encode(this.#savedOffsetEntries);
    const times = indexes.time.encode(this.#savedTimeEntries);
    this.#savedOffsetEntries = indexes.offset.count;
    this.#savedTimeEntries = indexes.time.count;
    try {
      await this.#appendToFile(INDEX_SUFFIX, offsets, savedOffsets, isLast);
      await this.#appendToFile(TIME_INDEX_SUFFIX, times, savedTimes, isLast);
    } catch (error) {
      this.#savedOffsetEntries = 0;
      this.#savedTimeEntries = 0;
      throw error;
    }
  }

  /** Writes entries at the position and cuts off whatever else the file may hold. */
  async #appendToFile(suffix: string, entries: Buffer, position: number, isLast: boolean): Promise<void> {
    const file = await this.#context.fileSystem.open(this.#pathOf(suffix), "readWrite");
    try {
      await writeFully(file, [entries], position);
      await file.truncate(position + entries.length);
      if (isLast) await file.sync();
    } finally {
      await file.close();
    }
  }

  /**
   * The whole batches from the one that holds the offset, or the first one behind it, on. One piece of memory.
   *
   * Empty if the first batch is larger than maxBytes and minOneBatch is not set; null if the segment has nothing there.
   * Throws KAFKA_STORAGE_ERROR if what lies there is no batch.
   */
  async read(fromOffset: bigint, options: SegmentReadOptions): Promise<Buffer | null> {
    const { maxBytes, minOneBatch, limitPosition, memory = null } = options;
    let position = await this.#positionBefore(fromOffset);
    let window: Buffer = NO_BYTES;
    let at = 0;
    for (;;) {
      if (position >= limitPosition) return null;
      if (at + BATCH_HEADER_BYTES > window.length) {
        memory?.give(window);
        window = await this.#readAt(
          position,
          Math.min(maxBytes + LOOKUP_SLACK_BYTES, limitPosition - position),
          memory,
        );
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
      memory?.give(window);
      window = await this.#readAt(position, wantedBytes, memory);
      at = 0;
    }
    return wholeBatches(window, at, Math.min(window.length, at + wantedBytes));
  }

  /** Timestamp and place of the newest record, as far as batch headers tell; offset -1 if no record has a timestamp. */
  async newest(): Promise<TimedOffset> {
    if (this.#isSealed) await this.#loadIndexes();
    return this.#newest;
  }

  /** As newest, of the batches before an offset: those behind it may be on their way to the disk. */
  async newestBefore(endOffset: bigint): Promise<TimedOffset> {
    const newest = await this.newest();
    if (newest.offset < endOffset) return newest;
    const { time } = await this.#loadIndexes();
    let found = timedOffsetAt(time, time.lastAtOrBefore(Number(endOffset - this.baseOffset) - 1), this.baseOffset);
    await this.scanFrom(larger(found.offset, this.baseOffset), (header) => {
      if (header.baseOffset >= endOffset) return false;
      if (header.maxTimestamp > found.timestamp) {
        found = { timestamp: header.maxTimestamp, offset: header.baseOffset + BigInt(header.lastOffsetDelta) };
      }
      return true;
    });
    return found;
  }

  /** An offset before which, in this segment, all records are older than the timestamp. */
  async offsetBefore(timestamp: bigint): Promise<bigint> {
    let indexes = await this.#loadIndexes();
    if (!(await this.#isTimeTrue(indexes, indexes.time.lastBefore(timestamp)))) indexes = await this.#rebuildIndexes();
    const entry = indexes.time.lastBefore(timestamp);
    return entry < 0 ? this.baseOffset : this.baseOffset + BigInt(indexes.time.offsetAt(entry)) + 1n;
  }

  /** A place at or before the batch that holds the offset; a batch starts there. */
  async #positionBefore(offset: bigint): Promise<number> {
    if (offset <= this.baseOffset) return 0;
    const relativeOffset = Number(offset - this.baseOffset);
    const indexes = await this.#loadIndexes();
    const entry = indexes.offset.lastAtOrBefore(relativeOffset);
    if (entry < 0) return 0;
    if (await this.#isTrue(indexes.offset, entry)) return indexes.offset.positionAt(entry);
    this.#context.logger.warn({ path: this.#pathOf(INDEX_SUFFIX) }, "the index does not fit its log: making it anew");
    const rebuilt = await this.#rebuildIndexes();
    return rebuilt.offset.positionAt(rebuilt.offset.lastAtOrBefore(relativeOffset));
  }

  /** Whether the batch that an entry speaks of is where it says. Entries of batches that wait to be written are ours. */
  async #isTrue(index: OffsetIndex, entry: number): Promise<boolean> {
    if (!this.#isSealed) return true;
    const header = await this.#readAt(index.positionAt(entry), BATCH_HEADER_BYTES);
    if (header.length < BATCH_HEADER_BYTES || !looksLikeBatch(header, 0)) return false;
    return lastOffsetAt(header, 0) === this.baseOffset + BigInt(index.offsetAt(entry));
  }

  /** Whether the batch that a time entry speaks of has that timestamp. */
  async #isTimeTrue({ offset, time }: Indexes, entry: number): Promise<boolean> {
    if (!this.#isSealed || entry < 0) return true;
    const lastOffset = this.baseOffset + BigInt(time.offsetAt(entry));
    const before = offset.lastAtOrBefore(time.offsetAt(entry));
    let isTrue = false;
    await this.scan({ fromPosition: before < 0 ? 0 : offset.positionAt(before), checkCrcFrom: null }, (header) => {
      const offsetOfBatch = header.baseOffset + BigInt(header.lastOffsetDelta);
      isTrue = offsetOfBatch === lastOffset && header.maxTimestamp === time.timestampAt(entry);
      return offsetOfBatch < lastOffset;
    });
    return isTrue;
  }

  /** Whether nothing behind the last time entry is newer. Where timestamps rise, that entry is near the end. */
  async #isNewestTrue({ offset, time }: Indexes): Promise<boolean> {
    const entry = time.count - 1;
    const before = offset.lastAtOrBefore(time.offsetAt(entry));
    let isNewest = true;
    await this.scan({ fromPosition: before < 0 ? 0 : offset.positionAt(before), checkCrcFrom: null }, (header) => {
      isNewest = header.maxTimestamp <= time.lastTimestamp;
      return isNewest;
    });
    return isNewest;
  }

  #loadIndexes(): Promise<Indexes> {
    if (this.#indexes !== null) return Promise.resolve(this.#indexes);
    this.#loading ??= this.#readIndexes().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async #readIndexes(): Promise<Indexes> {
    const saved = await this.#readSavedIndexes();
    if (saved === null || !(await this.#isNewestTrue(saved))) return this.#rebuildIndexes();
    this.#indexes = saved;
    this.#newest = timedOffsetAt(saved.time, saved.time.count - 1, this.baseOffset);
    return saved;
  }

  /** The index files, if both are there, sound in themselves, and their last entry is true. */
  async #readSavedIndexes(): Promise<Indexes | null> {
    const { fileSystem } = this.#context;
    try {
      const offset = OffsetIndex.decode(await fileSystem.readFile(this.#pathOf(INDEX_SUFFIX)), this.#sizeBytes);
      const time = TimeIndex.decode(await fileSystem.readFile(this.#pathOf(TIME_INDEX_SUFFIX)), RELATIVE_OFFSET_LIMIT);
      // A segment without one entry is small enough to be read whole.
      if (offset === null || time === null || offset.count === 0 || time.count === 0) return null;
      const indexes = { offset, time };
      const isSound =
        (await this.#isTrue(offset, offset.count - 1)) && (await this.#isTimeTrue(indexes, time.count - 1));
      return isSound ? indexes : null;
    } catch {
      return null;
    }
  }

  async #rebuildIndexes(): Promise<Indexes> {
    const indexes = noIndexes();
    this.#newest = { timestamp: -1n, offset: -1n };
    this.#bytesSinceIndexEntry = 0;
    this.#savedOffsetEntries = 0;
    this.#savedTimeEntries = 0;
    await this.scan({ fromPosition: 0, checkCrcFrom: null }, (header, position) => {
      this.#enter(indexes, header, header.baseOffset, position);
      return true;
    });
    this.#indexes = indexes;
    if (this.#isSealed) {
      this.#enterNewest(indexes);
      await this.#saveEntries(indexes, true).catch((error) =>
        this.#context.logger.warn({ path: this.logPath, error }, "could not write the indexes of a segment"),
      );
    }
    return indexes;
  }

  /**
   * Makes this the active segment: walks its batches from the last index entry before the offset on and enters them into
   * the indexes.
   *
   * checkCrcFrom: as of scanBatches; null after a broker that closed in order. visit is called for each batch. Returns the
   * position behind the last good one; what is behind it has to be cut.
   */
  async recover(options: { fromOffset: bigint; checkCrcFrom: bigint | null }, visit: VisitBatch): Promise<number> {
    const { fromOffset, checkCrcFrom } = options;
    const indexes = (await this.#soundIndexes(fromOffset)) ?? noIndexes();
    const fromPosition = this.#cutIndexes(indexes, fromOffset);
    this.#indexes = indexes;
    this.#isSealed = false;
    // Whether a crash came before the first sync of the folder, nobody can tell.
    this.#isDirectorySynced &&= checkCrcFrom === null;
    this.#newest = timedOffsetAt(indexes.time, indexes.time.count - 1, this.baseOffset);
    this.#savedOffsetEntries = Math.min(this.#savedOffsetEntries, indexes.offset.count);
    this.#savedTimeEntries = Math.min(this.#savedTimeEntries, indexes.time.count);
    this.#bytesSinceIndexEntry = 0;
    return this.scan({ fromPosition, checkCrcFrom }, (header, position) => {
      this.#enter(indexes, header, header.baseOffset, position);
      return visit(header, position);
    });
  }

  /** Those in memory, if this is the active segment; else what the files say of the batches before the offset. */
  async #soundIndexes(fromOffset: bigint): Promise<Indexes | null> {
    if (!this.#isSealed) return this.#indexes;
    // The index files of a short segment are not there, or take longer to read than it does.
    const isShort = this.#sizeBytes <= SAVED_ENTRIES_MIN * this.#context.indexIntervalBytes;
    const saved = fromOffset > this.baseOffset && !isShort ? await this.#readSavedIndexes() : null;
    this.#savedOffsetEntries = saved?.offset.count ?? 0;
    this.#savedTimeEntries = saved?.time.count ?? 0;
    return saved;
  }

  /**
   * Leaves the entries before the offset. Returns where the walk has to start: at the batch of the last one left.
   *
   * That is no further than the last time entry: a newer timestamp may stand behind it.
   */
  #cutIndexes({ offset, time }: Indexes, fromOffset: bigint): number {
    const relativeOffset = Number(fromOffset - this.baseOffset);
    time.truncateToOffset(relativeOffset);
    const timed = time.count === 0 ? -1 : offset.lastAtOrBefore(time.offsetAt(time.count - 1));
    const entry = Math.min(offset.lastAtOrBefore(relativeOffset - 1), timed);
    offset.truncate(entry + 1);
    time.truncateToOffset(entry < 0 ? 0 : offset.offsetAt(entry) + 1);
    return entry < 0 ? 0 : offset.positionAt(entry);
  }

  /** Walks the batches from a position on. Returns the position behind the last good one. */
  async scan(options: { fromPosition: number; checkCrcFrom: bigint | null }, visit: VisitBatch): Promise<number> {
    return scanBatches((buffer, position) => this.#context.handles.read(this, buffer, position), {
      ...options,
      endPosition: this.#sizeBytes,
      minimumOffset: this.baseOffset,
      maximumOffset: this.baseOffset + BigInt(RELATIVE_OFFSET_LIMIT),
      visit,
    });
  }

  /** Walks the headers of the batches from the one that holds the offset on. */
  async scanFrom(offset: bigint, visit: VisitBatch): Promise<void> {
    await this.scan({ fromPosition: await this.#positionBefore(offset), checkCrcFrom: null }, (header, position) =>
      header.baseOffset + BigInt(header.lastOffsetDelta) < offset ? true : visit(header, position),
    );
  }

  /** One batch, of which the header is known. */
  readBatch(position: number, sizeBytes: number): Promise<Buffer> {
    return this.#readAt(position, sizeBytes);
  }

  onHandleEvicted(): void {
    if (this.#isSealed) this.#indexes = null;
  }

  /** Closes it and removes its files. Reads in progress end as they began. */
  async remove(): Promise<void> {
    await this.close();
    const { fileSystem } = this.#context;
    await fileSystem.remove(this.logPath);
    await fileSystem.remove(this.#pathOf(INDEX_SUFFIX));
    await fileSystem.remove(this.#pathOf(TIME_INDEX_SUFFIX));
  }

  async close(): Promise<void> {
    this.#context.handles.retire(this);
    await this.#closeFile();
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close();
  }

  #expectBatch(window: Buffer, at: number, position: number): void {
    if (at + BATCH_HEADER_BYTES <= window.length && looksLikeBatch(window, at)) return;
    throw new KafkaError(
      "KAFKA_STORAGE_ERROR",
      `expected a record batch at position ${position} of ${this.logPath}, found ${window.length - at} bytes that are none`,
    );
  }

  async #readAt(position: number, sizeBytes: number, memory: BufferPool | null = null): Promise<Buffer> {
    const buffer = memory === null ? Buffer.allocUnsafeSlow(sizeBytes) : memory.take(sizeBytes);
    const filledBytes = await this.#context.handles.read(this, buffer, position);
    return filledBytes === sizeBytes ? buffer : buffer.subarray(0, filledBytes);
  }

  #pathOf(suffix: string): string {
    return `${this.#context.directory}/${offsetFileName(this.baseOffset, suffix)}`;
  }
}

function noIndexes(): Indexes {
  return { offset: new OffsetIndex(), time: new TimeIndex() };
}

/** What an entry says; nothing for entry -1. */
function timedOffsetAt(time: TimeIndex, entry: number, baseOffset: bigint): TimedOffset {
  if (entry < 0) return { timestamp: -1n, offset: -1n };
  return { timestamp: time.timestampAt(entry), offset: baseOffset + BigInt(time.offsetAt(entry)) };
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
