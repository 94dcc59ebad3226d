/** Opens what a partition's folder holds: finds the log's end, cuts what is no good, and brings the side files up to it. */

import type { Clock } from "@millrace/base";
import type { BatchHeader } from "@millrace/protocol";
import { ProducerState } from "../producer-state.ts";
import { larger, smaller } from "./bigints.ts";
import { finishSwap, parseSwapFileName } from "./compaction.ts";
import {
  CLEANED_SUFFIX,
  DELETED_SUFFIX,
  LEADER_EPOCH_FILE,
  LOG_SUFFIX,
  offsetFileName,
  parseOffsetFileName,
  SNAPSHOT_SUFFIX,
  TEMPORARY_SUFFIX,
} from "./file-names.ts";
import { LeaderEpochs } from "./leader-epochs.ts";
import { ProducerSnapshots } from "./producer-snapshots.ts";
import { Segment, type SegmentContext } from "./segment.ts";

export interface RecoveryOptions {
  readonly context: SegmentContext;
  readonly clock: Clock;
  /** Filled from the file and from the batches. */
  readonly epochs: LeaderEpochs;
  /** Where the log began when that was last written down. */
  readonly logStartOffset: bigint;
  /** All before it is known to be on the disk; null: nothing is. */
  readonly recoveryPoint: bigint | null;
  /** The broker closed in order: checksums need not be looked at. */
  readonly isCleanStart: boolean;
}

export interface RecoveredLog {
  /** Oldest first; the last one is active. Never empty. */
  readonly segments: Segment[];
  readonly logStartOffset: bigint;
  readonly logEndOffset: bigint;
  readonly producers: ProducerState;
  readonly snapshots: ProducerSnapshots;
  /** Of the batches that no snapshot speaks of. */
  readonly replayedBytes: number;
}

/**
 *     segments   ├─ before the recovery point: trusted ─┼─ behind it: batch by batch, CRC checked ─┤✗ cut, later segments deleted
 *     producers            snapshot ├─ headers replayed ───────────────────────────────────────────┤
 *
 * What was found behind the recovery point is synced before it is served: it may never have reached the disk, and a
 * reader must not see what a power cut can still take back.
 */
export async function recoverLog(options: RecoveryOptions): Promise<RecoveredLog> {
  const { context, epochs } = options;
  const names = context.folder.isThere
    ? await tidyFolder(context, await context.fileSystem.list(context.directory))
    : [];
  const segments = await findSegments(context, names, options.logStartOffset);
  const first = segments[0];
  const snapshots = new ProducerSnapshots(context, offsetsIn(names, SNAPSHOT_SUFFIX));
  if (first === undefined) return startEmpty(context, snapshots);

  const recoveryPoint = larger(options.recoveryPoint ?? 0n, first.baseOffset);
  epochs.clear();
  const hasEpochs =
    names.includes(LEADER_EPOCH_FILE) &&
    (await epochs.load(context.fileSystem, `${context.directory}/${LEADER_EPOCH_FILE}`));
  const replay = await Replay.start(snapshots, epochs, options.clock.timestampMs(), recoveryPoint, first.baseOffset);
  if (!hasEpochs) replay.restartAt(first.baseOffset);
  const tail = segments[firstToCheck(segments, recoveryPoint)]?.baseOffset ?? recoveryPoint;
  for (const segment of segments) await replay.readHeaders(segment, tail);

  const logEndOffset = await checkTail(options, segments, recoveryPoint, replay);
  if (logEndOffset < recoveryPoint && options.recoveryPoint !== null) {
    // The checkpoint speaks of another log, or bytes that were on the disk are gone: believe nothing.
    context.logger.warn(
      { directory: context.directory, logEndOffset, recoveryPoint },
      "the log ends before its checkpoint",
    );
    return recoverLog({ ...options, recoveryPoint: null, isCleanStart: false });
  }
  epochs.truncateFromEnd(logEndOffset);
  await snapshots.removeBehind(logEndOffset);
  return {
    segments,
    logStartOffset: larger(options.logStartOffset, first.baseOffset),
    logEndOffset,
    producers: replay.producers,
    snapshots,
    replayedBytes: replay.takenBytes,
  };
}

/** The producers of a log as they are at an offset: from the newest snapshot before it and the headers behind that. */
export async function replayProducers(
  segments: readonly Segment[],
  snapshots: ProducerSnapshots,
  endOffset: bigint,
  nowMs: number,
): Promise<ProducerState> {
  const firstOffset = segments[0]?.baseOffset ?? 0n;
  const replay = await Replay.start(snapshots, new LeaderEpochs(), nowMs, endOffset, firstOffset);
  for (const segment of segments) await replay.readHeaders(segment, endOffset);
  return replay.producers;
}

/** Removes files that were not finished, finishes swaps that were begun, and returns the names that are left. */
async function tidyFolder(context: SegmentContext, names: string[]): Promise<string[]> {
  const { fileSystem, directory } = context;
  const leftovers = names.filter((name) =>
    [DELETED_SUFFIX, CLEANED_SUFFIX, TEMPORARY_SUFFIX].some((suffix) => name.endsWith(suffix)),
  );
  const swaps = names.map(parseSwapFileName).filter((swap) => swap !== null);
  if (leftovers.length === 0 && swaps.length === 0) return names;
  for (const name of leftovers) await fileSystem.remove(`${directory}/${name}`);
  for (const swap of swaps) await finishSwap(context, swap, offsetsIn(names, LOG_SUFFIX));
  return fileSystem.list(directory);
}

/** All segments but those wholly before the log's start: their deletion was decided already. */
async function findSegments(
  context: SegmentContext,
  names: readonly string[],
  logStartOffset: bigint,
): Promise<Segment[]> {
  const bases = offsetsIn(names, LOG_SUFFIX);
  const sizes = await Promise.all(
    bases.map((base) => context.fileSystem.sizeBytes(`${context.directory}/${offsetFileName(base, LOG_SUFFIX)}`)),
  );
  const segments: Segment[] = [];
  for (const [index, base] of bases.entries()) {
    const segment = Segment.existing(context, base, sizes[index] ?? 0);
    const nextBase = bases[index + 1];
    if (nextBase !== undefined && nextBase <= logStartOffset) await segment.remove();
    else segments.push(segment);
  }
  return segments;
}

async function startEmpty(context: SegmentContext, snapshots: ProducerSnapshots): Promise<RecoveredLog> {
  await snapshots.removeBehind(-1n);
  return {
    segments: [Segment.create(context, 0n)],
    logStartOffset: 0n,
    logEndOffset: 0n,
    producers: new ProducerState(),
    snapshots,
    replayedBytes: 0,
  };
}

/** Producer state and epochs, brought up to the log's end batch by batch. */
class Replay {
  readonly #epochs: LeaderEpochs;
  readonly #nowMs: number;
  producers: ProducerState;
  takenBytes = 0;
  #nextOffset: bigint;

  /** Starts from the newest snapshot of what is surely in the log. */
  static async start(
    snapshots: ProducerSnapshots,
    epochs: LeaderEpochs,
    nowMs: number,
    recoveryPoint: bigint,
    firstOffset: bigint,
  ): Promise<Replay> {
    const newest = await snapshots.newestUpTo(recoveryPoint, nowMs);
    if (newest === null || newest.offset < firstOffset)
      return new Replay(epochs, nowMs, new ProducerState(), firstOffset);
    return new Replay(epochs, nowMs, newest.producers, newest.offset);
  }

  private constructor(epochs: LeaderEpochs, nowMs: number, producers: ProducerState, nextOffset: bigint) {
    this.#epochs = epochs;
    this.#nowMs = nowMs;
    this.producers = producers;
    this.#nextOffset = nextOffset;
  }

  /** All before it is known. */
  get nextOffset(): bigint {
    return this.#nextOffset;
  }

  restartAt(offset: bigint): void {
    this.producers = new ProducerState();
    this.#nextOffset = offset;
  }

  /** Takes a batch unless it was taken already. */
  take(header: BatchHeader): void {
    if (header.baseOffset < this.#nextOffset) return;
    this.#nextOffset = header.baseOffset + BigInt(header.lastOffsetDelta) + 1n;
    this.takenBytes += header.sizeBytes;
    this.#epochs.assign(header.partitionLeaderEpoch, header.baseOffset);
    this.producers.replay(header, this.#nowMs);
  }

  /** Takes what the segment holds before the offset. */
  async readHeaders(segment: Segment, untilOffset: bigint): Promise<void> {
    if (this.#nextOffset >= untilOffset || segment.baseOffset >= untilOffset) return;
    await segment.scanFrom(this.#nextOffset, (header) => {
      if (header.baseOffset >= untilOffset) return false;
      this.take(header);
      return true;
    });
  }
}

/**
 * Walks what is behind the recovery point, and what before it no snapshot speaks of; cuts the log behind its last good
 * batch, and returns its end.
 */
async function checkTail(
  { context, isCleanStart }: RecoveryOptions,
  segments: Segment[],
  recoveryPoint: bigint,
  replay: Replay,
): Promise<bigint> {
  let logEndOffset = recoveryPoint;
  for (let index = firstToCheck(segments, recoveryPoint); index < segments.length; index++) {
    const segment = segments[index];
    if (segment === undefined) break;
    logEndOffset = segment.baseOffset;
    const fromOffset = larger(smaller(recoveryPoint, replay.nextOffset), segment.baseOffset);
    const checkCrcFrom = isCleanStart ? null : recoveryPoint;
    const endPosition = await segment.recover({ fromOffset, checkCrcFrom }, (header) => {
      logEndOffset = header.baseOffset + BigInt(header.lastOffsetDelta) + 1n;
      replay.take(header);
      return true;
    });
    const isCut = endPosition < segment.sizeBytes;
    if (isCut) await cutLog(context, segments, index, endPosition);
    if (isCut || logEndOffset > recoveryPoint) await segment.ensureFile();
    if (index < segments.length - 1) await segment.seal();
  }
  return logEndOffset;
}

/** Index of the segment that holds the recovery point. */
function firstToCheck(segments: readonly Segment[], recoveryPoint: bigint): number {
  const index = segments.findLastIndex((segment) => segment.baseOffset <= recoveryPoint);
  return Math.max(index, 0);
}

/** Ends the log in this segment, behind its last good batch. */
async function cutLog(context: SegmentContext, segments: Segment[], index: number, endPosition: number): Promise<void> {
  const segment = segments[index];
  const later = segments.splice(index + 1);
  const lostBytes = later.reduce((sum, { sizeBytes }) => sum + sizeBytes, (segment?.sizeBytes ?? 0) - endPosition);
  context.logger.warn(
    { path: segment?.logPath, endPosition, lostBytes, segmentsDeleted: later.length },
    "cut the log behind its last good batch",
  );
  await segment?.truncate(endPosition);
  for (const gone of later) await gone.remove();
}

/** The offsets of the names with this suffix, rising. */
function offsetsIn(names: readonly string[], suffix: string): bigint[] {
  const offsets: bigint[] = [];
  for (const name of names) {
    const offset = parseOffsetFileName(name, suffix);
    if (offset !== null) offsets.push(offset);
  }
  return offsets.sort((a, b) => (a < b ? -1 : 1));
}
