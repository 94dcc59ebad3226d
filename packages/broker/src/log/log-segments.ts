/** LogSegments: the segments of a log, and all that changes their files beside the flusher, one change after the other. */

import { assert } from "@millrace/base";
import { CoalescedTask } from "./coalesced-task.ts";
import type { ProducerSnapshots } from "./producer-snapshots.ts";
import { Segment, type SegmentContext } from "./segment.ts";

export interface LogSegmentsParts {
  /** Of the log, for messages. */
  readonly name: string;
  readonly context: SegmentContext;
  /** Oldest first, at least one; the last one is active. */
  readonly segments: readonly Segment[];
  readonly snapshots: ProducerSnapshots;
  /** Whether all before the offset is on the disk, for sure. */
  readonly isSynced: (offset: bigint) => boolean;
}

/** A segment that gets no more batches and waits for its last sync. */
interface RolledSegment {
  readonly segment: Segment;
  readonly endOffset: bigint;
  /** The producers as they were at endOffset. */
  readonly snapshot: Buffer;
}

/**
 *     sealed: synced, indexes on the disk    rolled: wait for their last sync     active
 *     ├── 0 ──┼── 1000 ──┼── 2000 ───────────┼── 3000 ──┼── 4000 ────────────────┼── 5000 ─
 */
export class LogSegments {
  readonly #parts: LogSegmentsParts;
  /** Never changed, but replaced, so that readers can go through it. */
  #all: readonly Segment[];
  #active: Segment;
  #rolled: RolledSegment[] = [];
  readonly #sealing = new CoalescedTask(() => this.#sealRolled());
  /** The end of all changes that were asked for. */
  #changes: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(parts: LogSegmentsParts) {
    this.#parts = parts;
    this.#all = parts.segments;
    this.#active = lastOf(parts.segments);
  }

  /** Oldest first. */
  get all(): readonly Segment[] {
    return this.#all;
  }

  get active(): Segment {
    return this.#active;
  }

  get sealed(): readonly Segment[] {
    return this.#all.slice(0, this.#all.length - 1 - this.#rolled.length);
  }

  /** Where the first segment that is rolled and not sealed begins; null if there is none. */
  get rolledOffset(): bigint | null {
    return this.#rolled[0]?.segment.baseOffset ?? null;
  }

  /** Bytes that wait to be written included. */
  get sizeBytes(): number {
    return this.#all.reduce((sum, segment) => sum + segment.sizeBytes, 0);
  }

  /** From the segment that holds the offset, or would, to the active one. */
  from(offset: bigint): readonly Segment[] {
    return this.#all.slice(indexOfSegment(this.#all, offset));
  }

  /** Begins a new segment at the log's end. The old one is sealed once its last byte is synced. snapshot: of the producers. */
  roll(endOffset: bigint, snapshot: Buffer): Segment {
    const segment = Segment.create(this.#parts.context, endOffset);
    this.#rolled.push({ segment: this.#active, endOffset, snapshot });
    this.#setAll([...this.#all, segment]);
    return segment;
  }

  /** Resolves once all rolled segments that are synced are sealed. */
  seal(): Promise<void> {
    return this.#sealing.run();
  }

  sealSoon(): void {
    if (this.#rolled.length === 0) return;
    this.seal().catch((error) =>
      // It stays behind the recovery point and is tried again with the next sync.
      this.#parts.context.logger.warn({ log: this.#parts.name, error }, "could not seal a segment"),
    );
  }

  async #sealRolled(): Promise<void> {
    for (let rolled = this.#rolled[0]; rolled !== undefined; rolled = this.#rolled[0]) {
      const { segment, endOffset, snapshot } = rolled;
      if (!this.#parts.isSynced(endOffset)) return;
      await this.exclusively(async () => {
        await this.#parts.snapshots.write(endOffset, snapshot, true);
        // Deleted in the meantime: its indexes would be files of nothing.
        if (this.#all.includes(segment)) await segment.seal();
      });
      this.#rolled = this.#rolled.filter((other) => other.segment !== segment);
    }
  }

  /** Deletes the segments that lie before the offset as a whole. */
  removeBefore(startOffset: bigint): Promise<void> {
    return this.exclusively(async () => {
      const { name, context, snapshots } = this.#parts;
      const kept = this.from(startOffset);
      const gone = this.#all.slice(0, this.#all.length - kept.length);
      if (gone.length === 0) return;
      // Its name is all that tells where the log ends once the others are gone.
      if (kept.length === 1) await this.#active.ensureFile();
      this.#setAll(kept);
      for (const segment of gone) await segment.remove();
      await snapshots.removeBefore(kept[0]?.baseOffset ?? startOffset, this.#active.baseOffset);
      context.logger.info({ log: name, startOffset, segments: gone.length }, "deleted old segments");
    });
  }

  /**
   * Takes the segment that `swap` makes in place of a group, while nothing else changes the files.
   *
   * False, without a swap, if the group is no longer what the log consists of.
   */
  async replace(group: readonly Segment[], swap: () => Promise<Segment>): Promise<boolean> {
    let isReplaced = false;
    await this.exclusively(async () => {
      if (this.#isClosed || !group.every((segment) => this.#all.includes(segment))) return;
      const replacement = await swap();
      const all = this.#all.map((segment) => (segment === group[0] ? replacement : segment));
      this.#setAll(all.filter((segment) => !group.includes(segment)));
      isReplaced = true;
    });
    return isReplaced;
  }

  /** Cuts off what a segment holds from the position on, where endOffset would stand, and all segments behind it. */
  async truncate(segment: Segment, position: number, endOffset: bigint): Promise<void> {
    const end = this.#all.indexOf(segment) + 1;
    const gone = this.#all.slice(end);
    this.#setAll(this.#all.slice(0, end));
    this.#rolled = this.#rolled.filter((rolled) => rolled.segment !== segment && !gone.includes(rolled.segment));
    for (const later of gone) await later.remove();
    await segment.truncate(position);
    await segment.recover({ fromOffset: endOffset, checkCrcFrom: null }, () => true);
    // If nothing more is written to this segment nobody will sync it, and a power cut would give back what was cut off.
    await segment.sync();
    await this.exclusively(() => this.#parts.snapshots.removeBehind(endOffset));
  }

  /** Runs one change of files after the other. Rejects as it does. */
  exclusively(change: () => Promise<void>): Promise<void> {
    const done = this.#changes.then(change);
    this.#changes = done.catch(() => {});
    return done;
  }

  /** Resolves once all changes that were asked for are done. */
  settled(): Promise<void> {
    return this.#changes;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#changes;
    for (const segment of this.#all) await segment.close();
  }

  #setAll(all: readonly Segment[]): void {
    this.#all = all;
    this.#active = lastOf(all);
  }
}

function lastOf(segments: readonly Segment[]): Segment {
  const last = segments.at(-1);
  assert(last !== undefined, "a log has at least one segment");
  return last;
}

/** Index of the segment that holds the offset, or would. */
function indexOfSegment(segments: readonly Segment[], offset: bigint): number {
  let low = 0;
  let high = segments.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    const segment = segments[middle];
    if (segment !== undefined && segment.baseOffset <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}
