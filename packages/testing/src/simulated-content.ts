/** A file's bytes on a simulated disk: what a running machine reads, and what a crash leaves of it. */

import { MemoryBytes, never, type Random } from "@millrace/base";

/** What a disk writes whole or not at all. */
const SECTOR_BYTES = 512;

type Change =
  | { readonly kind: "write"; readonly position: number; readonly bytes: Buffer }
  | { readonly kind: "truncate"; readonly sizeBytes: number };

export class SimulatedContent {
  readonly seen: MemoryBytes;
  readonly #lasting: MemoryBytes;
  /** What is seen and not lasting, in order. */
  #unsynced: Change[] = [];
  /** How many changes have been synced or given up. */
  #settledCount = 0;

  constructor(bytes: Uint8Array = Buffer.alloc(0)) {
    this.seen = bytesOf(bytes);
    this.#lasting = bytesOf(bytes);
  }

  write(bytes: Buffer, position: number): void {
    this.#change({ kind: "write", position, bytes });
  }

  truncate(sizeBytes: number): void {
    this.#change({ kind: "truncate", sizeBytes });
  }

  /** How many changes there have ever been: a sync that begins now covers these. */
  get changeCount(): number {
    return this.#settledCount + this.#unsynced.length;
  }

  makeLasting(changeCount: number): void {
    for (const change of this.#settle(changeCount)) apply(change, this.#lasting);
  }

  /**
   * A sync failed: some of it has reached the disk, and some has not. All is seen as long as the machine runs, and no
   * later sync makes it lasting.
   */
  giveUp(changeCount: number, random: Random): void {
    for (const change of scatter(this.#settle(changeCount), random)) apply(change, this.#lasting);
  }

  /** What a crash leaves: all that is lasting, and of the changes since none, the first few, or here and there a sector. */
  survivor(random: Random): SimulatedContent {
    const survivor = bytesOf(this.#lasting.toBuffer());
    const isScattered = random.integer(2) === 0;
    const kept = isScattered ? scatter(this.#unsynced, random) : tear(this.#unsynced, random);
    for (const change of kept) apply(change, survivor);
    return new SimulatedContent(survivor.toBuffer());
  }

  #change(change: Change): void {
    apply(change, this.seen);
    this.#unsynced.push(change);
  }

  #settle(changeCount: number): Change[] {
    const settled = this.#unsynced.splice(0, Math.max(changeCount - this.#settledCount, 0));
    this.#settledCount += settled.length;
    return settled;
  }
}

/** The changes in the order in which they were made, up to anywhere inside one of them. */
function tear(changes: readonly Change[], random: Random): Change[] {
  const wholeCount = random.integer(changes.length + 1);
  const kept = changes.slice(0, wholeCount);
  const torn = changes[wholeCount];
  if (torn?.kind === "write") kept.push({ ...torn, bytes: torn.bytes.subarray(0, random.integer(torn.bytes.length)) });
  return kept;
}

/** Sectors, as a disk with a cache of its own writes them: in any order, until the power is gone or one of them fails. */
function scatter(changes: readonly Change[], random: Random): Change[] {
  return changes.flatMap((change) => sectorsOf(change)).filter(() => random.integer(2) === 0);
}

function sectorsOf(change: Change): Change[] {
  if (change.kind === "truncate") return [change];
  const sectors: Change[] = [];
  for (let start = 0; start < change.bytes.length; ) {
    const position = change.position + start;
    const end = start + SECTOR_BYTES - (position % SECTOR_BYTES);
    sectors.push({ kind: "write", position, bytes: change.bytes.subarray(start, end) });
    start = end;
  }
  return sectors;
}

function apply(change: Change, bytes: MemoryBytes): void {
  switch (change.kind) {
    case "write":
      bytes.write(change.bytes, change.position);
      break;
    case "truncate":
      bytes.truncate(change.sizeBytes);
      break;
    default:
      never(change);
  }
}

function bytesOf(bytes: Uint8Array): MemoryBytes {
  const result = new MemoryBytes();
  result.write(bytes, 0);
  return result;
}
