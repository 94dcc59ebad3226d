/** Compaction: of each key the last record stays (cleanup.policy=compact). Offsets do not move. */

import { type File, MEBIBYTE, writeFully } from "@millrace/base";
import { isBatchCrcValid, KafkaError, readBatchHeader, splitBatches } from "@millrace/protocol";
import type { ProducerState } from "../producer-state.ts";
import { endOffsetOf } from "./batch-scanner.ts";
import {
  CLEANED_SUFFIX,
  INDEX_SUFFIX,
  LOG_SUFFIX,
  offsetFileName,
  SWAP_SUFFIX,
  TIME_INDEX_SUFFIX,
} from "./file-names.ts";
import { deleteHorizonOf, type RawRecord, readRawRecords, withRecords } from "./record-filter.ts";
import { Segment, type SegmentContext } from "./segment.ts";

/** Of sealed segments, oldest first, those from the oldest on whose records have all reached min.compaction.lag.ms. */
export async function cleanableSegments(
  sealed: readonly Segment[],
  minCompactionLagMs: number,
  nowMs: number,
): Promise<readonly Segment[]> {
  if (minCompactionLagMs <= 0) return sealed;
  const cleanable: Segment[] = [];
  for (const segment of sealed) {
    if (Number((await segment.newest()).timestamp) > nowMs - minCompactionLagMs) break;
    cleanable.push(segment);
  }
  return cleanable;
}

/** Whether so much of the segments was written since the last compaction that another is worth it. */
export function isDirtyEnough(
  segments: readonly Segment[],
  cleanedOffset: bigint,
  minCleanableDirtyRatio: number,
): boolean {
  let dirtyBytes = 0;
  let totalBytes = 0;
  for (const segment of segments) {
    totalBytes += segment.sizeBytes;
    if (segment.baseOffset >= cleanedOffset) dirtyBytes += segment.sizeBytes;
  }
  return dirtyBytes > 0 && dirtyBytes >= totalBytes * minCleanableDirtyRatio;
}

export interface CompactionOptions {
  readonly context: SegmentContext;
  /** Sealed ones, oldest first, without a gap. At least one. */
  readonly segments: readonly Segment[];
  /** Where the segments end. */
  readonly endOffset: bigint;
  /** All before it was compacted before, and no key stands there twice. */
  readonly cleanedOffset: bigint;
  /** The last batch of each producer stays, if need be without records: its sequence must not be forgotten. */
  readonly producers: ProducerState;
  readonly segmentBytes: number;
  readonly deleteRetentionMs: number;
  readonly nowMs: number;
  /**
   * Runs the swap and takes its segment in place of the group, while nothing else changes the log's files.
   *
   * False, without a swap, if the group is no longer what the log consists of: retention was quicker.
   */
  replace(group: readonly Segment[], swap: () => Promise<Segment>): Promise<boolean>;
}

/** What the map of keys may take. Beyond it the rest of the log waits for the next time. */
const KEY_LIMIT = 2_000_000;
const KEY_BYTES_LIMIT = 128 * MEBIBYTE;
const READ_BYTES = MEBIBYTE;
const WRITE_BYTES = MEBIBYTE;
/** Offsets of a segment must fit 31 bits from its base on, with room for those of its last part. */
const OFFSET_SPAN_LIMIT = 2n ** 30n;

/**
 *     segments   ├─ cleaned before ─┼─ dirty: its keys and their last offsets go into a map ─┤ active …
 *     pass two   ├─ every record whose key is in the map with a later offset is left out ────┤
 *
 * Small segments are joined on the way. What replaces them is written beside them, synced, and then named
 * `BASE-END.swap`: from then on a crash ends with the swap done, before it with nothing changed.
 *
 * Returns the offset before which all is compacted now. Rejects with KAFKA_STORAGE_ERROR, nothing lost, if a batch is
 * damaged.
 */
export async function compactSegments(options: CompactionOptions): Promise<bigint> {
  const keys = await mapKeys(options);
  const cleanable = options.segments.filter((segment) => segment.baseOffset < keys.endOffset);
  for (const group of groupSegments(cleanable, options.segmentBytes)) await compactGroup(options, group, keys);
  return keys.endOffset;
}

/** The last offset of each key in the dirty part, as far as the map has room for whole segments. */
interface KeyMap {
  readonly lastOffsets: Map<string, bigint>;
  /** Records from here on are not in the map. */
  readonly endOffset: bigint;
}

async function mapKeys({ segments, cleanedOffset, endOffset }: CompactionOptions): Promise<KeyMap> {
  const lastOffsets = new Map<string, bigint>();
  let keyBytes = 0;
  for (const segment of segments) {
    if (segment.baseOffset < cleanedOffset) continue;
    if (lastOffsets.size >= KEY_LIMIT || keyBytes >= KEY_BYTES_LIMIT) {
      return { lastOffsets, endOffset: segment.baseOffset };
    }
    for await (const batch of batchesOf(segment)) {
      if (readBatchHeader(batch).isControl) continue;
      for (const { key, offset } of await readRawRecords(batch)) {
        if (key === null) continue;
        keyBytes += key.length;
        lastOffsets.set(key.toString("latin1"), offset);
      }
    }
  }
  return { lastOffsets, endOffset };
}

/** Neighbours that fit into one segment as they are. */
function groupSegments(segments: readonly Segment[], segmentBytes: number): Segment[][] {
  const groups: Segment[][] = [];
  let groupBytes = 0;
  for (const segment of segments) {
    const group = groups.at(-1);
    const first = group?.[0];
    const hasRoom =
      first !== undefined &&
      groupBytes + segment.sizeBytes <= segmentBytes &&
      segment.baseOffset - first.baseOffset < OFFSET_SPAN_LIMIT;
    if (group !== undefined && hasRoom) group.push(segment);
    else {
      groups.push([segment]);
      groupBytes = 0;
    }
    groupBytes += segment.sizeBytes;
  }
  return groups;
}

/** Writes what stays of the group beside it, and puts it in the group's place if that is less. */
async function compactGroup(options: CompactionOptions, group: readonly Segment[], keys: KeyMap): Promise<void> {
  const { context } = options;
  const baseOffset = group[0]?.baseOffset ?? 0n;
  const cleanedPath = `${context.directory}/${offsetFileName(baseOffset, LOG_SUFFIX)}${CLEANED_SUFFIX}`;
  await context.fileSystem.remove(cleanedPath);
  const output = new CleanedFile(await context.fileSystem.open(cleanedPath, "create"));
  let isChanged = group.length > 1;
  try {
    for (const segment of group) {
      for await (const batch of batchesOf(segment)) {
        const cleaned = await cleanBatch(options, batch, keys);
        isChanged ||= cleaned !== batch;
        if (cleaned !== null) await output.append(cleaned);
      }
    }
    await output.finish();
  } finally {
    await output.close();
  }

  const swap = { baseOffset, endOffset: nextBase(options, group) };
  const isReplaced =
    isChanged &&
    (await options.replace(group, async () => {
      await context.fileSystem.rename(cleanedPath, `${context.directory}/${swapFileName(swap)}`);
      await context.fileSystem.syncDirectory(context.directory);
      for (const segment of group) await segment.close();
      await finishSwap(
        context,
        swap,
        group.map((segment) => segment.baseOffset),
      );
      return Segment.existing(context, baseOffset, output.sizeBytes);
    }));
  if (!isReplaced) await context.fileSystem.remove(cleanedPath);
}

/** Where the group ends: where the segment behind it begins. */
function nextBase({ segments, endOffset }: CompactionOptions, group: readonly Segment[]): bigint {
  const lastBase = group.at(-1)?.baseOffset ?? endOffset;
  return segments.find((segment) => segment.baseOffset > lastBase)?.baseOffset ?? endOffset;
}

/** What stays of a batch: all of it, part of it, an empty one that keeps its producer's sequence, or null. */
async function cleanBatch(options: CompactionOptions, batch: Buffer, keys: KeyMap): Promise<Buffer | null> {
  const header = readBatchHeader(batch);
  if (header.isControl) return batch;
  const horizonMs = deleteHorizonOf(header);
  const areTombstonesOver = horizonMs !== null && horizonMs <= BigInt(options.nowMs);
  const records = await readRawRecords(batch);
  const kept = records.filter((record) => isLast(record, keys) && !(record.isTombstone && areTombstonesOver));

  const lastOffset = header.baseOffset + BigInt(header.lastOffsetDelta);
  if (kept.length === 0) {
    if (!options.producers.isLastBatch(header.producerId, lastOffset)) return null;
    return records.length === 0 ? batch : withRecords(batch, [], null);
  }
  const isNewHorizon = horizonMs === null && kept.some((record) => record.isTombstone);
  if (kept.length === records.length && !isNewHorizon) return batch;
  return withRecords(batch, kept, isNewHorizon ? BigInt(options.nowMs + options.deleteRetentionMs) : null);
}

function isLast({ key, offset }: RawRecord, { lastOffsets }: KeyMap): boolean {
  if (key === null) return true;
  const lastOffset = lastOffsets.get(key.toString("latin1"));
  return lastOffset === undefined || lastOffset <= offset;
}

/** Throws KAFKA_STORAGE_ERROR for a batch that is damaged: compaction would make it look sound. */
async function* batchesOf(segment: Segment): AsyncGenerator<Buffer> {
  for (let offset = segment.baseOffset; ; ) {
    const found = await segment.read(offset, {
      maxBytes: READ_BYTES,
      minOneBatch: true,
      limitPosition: segment.sizeBytes,
    });
    if (found === null) return;
    for (const { bytes } of splitBatches(found)) {
      if (!isBatchCrcValid(bytes)) {
        throw new KafkaError("KAFKA_STORAGE_ERROR", `a batch behind offset ${offset} of ${segment.logPath} is damaged`);
      }
      yield bytes;
    }
    offset = endOffsetOf(found);
  }
}

/** The new file, written in large pieces. */
class CleanedFile {
  readonly #file: File;
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #writtenBytes = 0;

  constructor(file: File) {
    this.#file = file;
  }

  get sizeBytes(): number {
    return this.#writtenBytes + this.#pieceBytes;
  }

  async append(batch: Buffer): Promise<void> {
    this.#pieces.push(batch);
    this.#pieceBytes += batch.length;
    if (this.#pieceBytes >= WRITE_BYTES) await this.#write();
  }

  async finish(): Promise<void> {
    await this.#write();
    await this.#file.sync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #write(): Promise<void> {
    await writeFully(this.#file, this.#pieces, this.#writtenBytes);
    this.#writtenBytes += this.#pieceBytes;
    this.#pieces = [];
    this.#pieceBytes = 0;
  }
}

/** A compacted segment that is whole, and the range of those that it replaces. */
export interface Swap {
  readonly baseOffset: bigint;
  readonly endOffset: bigint;
}

function swapFileName({ baseOffset, endOffset }: Swap): string {
  return offsetFileName(baseOffset, `-${offsetFileName(endOffset, SWAP_SUFFIX)}`);
}

/** Null for a name that is no swap's. */
export function parseSwapFileName(name: string): Swap | null {
  const match = /^(\d{20})-(\d{20})\.swap$/.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) return null;
  return { baseOffset: BigInt(match[1]), endOffset: BigInt(match[2]) };
}

/**
 * Removes the segments that a swap replaces and puts it in their place. May be done again after a crash in between.
 *
 * The old log at the swap's own base goes last, by the rename: as long as the swap's name is there, it is the truth.
 */
export async function finishSwap(context: SegmentContext, swap: Swap, bases: readonly bigint[]): Promise<void> {
  const { fileSystem, directory } = context;
  const pathOf = (base: bigint, suffix: string) => `${directory}/${offsetFileName(base, suffix)}`;
  for (const base of bases) {
    if (base < swap.baseOffset || base >= swap.endOffset) continue;
    await fileSystem.remove(pathOf(base, INDEX_SUFFIX));
    await fileSystem.remove(pathOf(base, TIME_INDEX_SUFFIX));
    if (base !== swap.baseOffset) await fileSystem.remove(pathOf(base, LOG_SUFFIX));
  }
  await fileSystem.rename(`${directory}/${swapFileName(swap)}`, pathOf(swap.baseOffset, LOG_SUFFIX));
  await fileSystem.syncDirectory(directory);
}
