/** Follower: the records of a topic for one tail, read no further than its client takes them. */

import type { Clock } from "@millrace/base";
import type { ConsumedRecord, Reader } from "@millrace/client";
import { RequestError } from "./errors.ts";
import type { Intake, Share } from "./limits/intake.ts";
import type { Turns } from "./limits/turns.ts";

/** What a record that was read takes beside its bytes: its object, its views of the batch. */
const RECORD_OVERHEAD_BYTES = 400;
/** Until it is looked again whether others have left room. */
const ROOM_WAIT_MS = 250;

/** What a tail gives: records that came together, or null when there were none for a while. */
export type TailPiece = readonly ConsumedRecord[] | null;

/** A partition, and from where to where there is something to read already. */
export interface FollowedPartition {
  readonly reader: Pick<Reader, "read" | "seek" | "position" | "highWatermark" | "close">;
  readonly start: bigint;
  readonly end: bigint;
}

export interface FollowerParts {
  readonly clock: Clock;
  readonly partitions: readonly FollowedPartition[];
  readonly signal: AbortSignal;
  readonly quietMs: number;
  /** For reads of what is there already: many who are far behind must not keep the disk from those who write. */
  readonly catchUps: Turns;
  /** On which counts what is read and not taken. */
  readonly intake: Intake;
  /** Ends the tail, whose client has taken nothing for a while, as others need the room. */
  readonly evict: () => void;
}

/**
 * One piece is with the client and one waits to be taken. A partition that is read to its end has a fetch waiting at the
 * broker; one that is behind is read when its turn comes and the last piece was taken:
 *
 *     at its end ──► records came ──► the next piece
 *         ▲                 └────────► there is one already, or no room: left in the log, the partition is behind
 *         └── nothing more ◄── read in its turn ◄───────┘
 */
export class Follower {
  readonly #parts: FollowerParts;
  readonly #share: Share;
  /** Partitions in which there is more, in the order of their turns. */
  readonly #behind: FollowedPartition[] = [];
  #next: readonly ConsumedRecord[] | null = null;
  #isCatchingUp = false;
  #isOutOfRoom = false;
  #failure: unknown = null;
  #wake = () => {};

  constructor(parts: FollowerParts) {
    this.#parts = parts;
    this.#share = parts.intake.open();
  }

  /** The records of all partitions as they come, until the signal aborts. Throws what a read fails with. */
  async *pieces(): AsyncGenerator<TailPiece, void, undefined> {
    const { partitions, signal, intake } = this.#parts;
    for (const partition of partitions) this.#goOn(partition, partition.end);
    try {
      while (!signal.aborted) {
        if (this.#failure !== null) throw this.#failure;
        this.#catchUp();
        const records = this.#next;
        if (records === null) {
          if (!(await this.#woken())) yield null;
          continue;
        }
        this.#next = null;
        this.#catchUp();
        yield records;
        this.#release(this.#countedBytes(records));
      }
    } finally {
      intake.close(this.#share);
      await Promise.all(partitions.map(({ reader }) => reader.close()));
    }
  }

  /** end: what of the partition is known to be there. */
  #goOn(partition: FollowedPartition, end: bigint): void {
    if (positionOf(partition) < end) this.#behind.push(partition);
    else void this.#read(partition);
  }

  #catchUp(): void {
    if (this.#next !== null || this.#isCatchingUp || this.#isOutOfRoom) return;
    const partition = this.#behind.shift();
    if (partition === undefined) return;
    this.#isCatchingUp = true;
    void this.#parts.catchUps
      .take(() => this.#read(partition))
      .finally(() => {
        this.#isCatchingUp = false;
        this.#catchUp();
      });
  }

  /** Never rejects. */
  async #read(partition: FollowedPartition): Promise<void> {
    const { reader } = partition;
    const { signal } = this.#parts;
    const from = positionOf(partition);
    try {
      const records = await reader.read({ signal });
      const isKept = records.length === 0 || this.#keep(records);
      if (!isKept) reader.seek(from);
      // What was left in the log is there, whatever the broker says.
      this.#goOn(partition, isKept ? (reader.highWatermark ?? 0n) : from + 1n);
    } catch (error) {
      this.#failure ??= error;
    }
    this.#wake();
  }

  /** False if they are to be read another time. */
  #keep(records: readonly ConsumedRecord[]): boolean {
    if (this.#next !== null) return false;
    const { intake, evict, clock } = this.#parts;
    try {
      intake.receivePart(this.#share, this.#countedBytes(records), evict);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      this.#isOutOfRoom = true;
      clock.schedule(ROOM_WAIT_MS, () => {
        this.#isOutOfRoom = false;
        this.#catchUp();
      });
      return false;
    }
    this.#next = records;
    return true;
  }

  /** A batch that is more than there is room for comes once nothing else is held: nobody would ever get past it else. */
  #countedBytes(records: readonly ConsumedRecord[]): number {
    return Math.min(sizeOf(records), this.#parts.intake.partLimitBytes);
  }

  #release(sizeBytes: number): void {
    const { intake } = this.#parts;
    intake.resize(this.#share, this.#share.sizeBytes - sizeBytes);
    // A tail that has nothing to give is not stalled.
    if (this.#share.sizeBytes === 0) intake.complete(this.#share);
  }

  /** Resolves with true when there is something to look at, with false after quietMs. */
  #woken(): Promise<boolean> {
    const { clock, quietMs } = this.#parts;
    return new Promise((resolve) => {
      const timer = clock.schedule(quietMs, () => resolve(false));
      this.#wake = () => {
        timer.cancel();
        resolve(true);
      };
    });
  }
}

function positionOf({ reader, start }: FollowedPartition): bigint {
  return reader.position ?? start;
}

function sizeOf(records: readonly ConsumedRecord[]): number {
  let sizeBytes = 0;
  for (const { key, value, headers } of records) {
    sizeBytes += RECORD_OVERHEAD_BYTES + (key?.length ?? 0) + (value?.length ?? 0);
    for (const [name, header] of headers) sizeBytes += name.length + (header?.length ?? 0);
  }
  return sizeBytes;
}
