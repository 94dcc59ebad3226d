/** The batches that were written last, kept in memory: a consumer at the end of the log costs no read. */

import { BoundedQueue, KIBIBYTE } from "@millrace/base";
import { MemoryPiece } from "./batch-memory.ts";
import { batchSizeAt, endOfBatches, endOffsetOf, positionOfOffset } from "./batch-scanner.ts";

/** One written piece of the log: whole batches, one after the other. */
interface CachedPiece {
  readonly owner: TailCache;
  /** Null once the piece was let go. */
  memory: MemoryPiece | null;
  /** Of the memory; more may be added where it has room. */
  filledBytes: number;
  readonly baseOffset: bigint;
  endOffset: bigint;
}

export interface TailReadOptions {
  /** The first batch is returned even if it alone is larger than maxBytes (KIP-74). */
  readonly minOneBatch: boolean;
  /** Gets what says that nobody looks at the batches any more; their memory is used again then. Without it, never. */
  readonly onRelease?: (release: () => void) => void;
}

/** What a piece costs beside its bytes: the objects around it. */
const PIECE_OVERHEAD_BYTES = 256;
const PIECE_LIMIT = 2 ** 20;
/** What is written in so small portions is copied together: objects that stay cost the garbage collector more. */
const SMALL_PORTION_BYTES = 2 * KIBIBYTE;
const COLLECTED_BYTES = 16 * KIBIBYTE;
/** Dropped pieces at the front of the list are cut off when there are so many. */
const DROPPED_LIMIT = 64;

/**
 * The memory that the tail caches of all partitions share. The oldest piece goes first, whosever it is, so that a busy
 * partition keeps more than a quiet one without either having a limit of its own.
 */
export class TailCacheBudget {
  readonly limitBytes: number;
  #usedBytes = 0;
  readonly #pieces = new BoundedQueue<CachedPiece>(PIECE_LIMIT);

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** False if the piece is too large to be kept. */
  add(piece: CachedPiece): boolean {
    const sizeBytes = costOf(piece);
    if (sizeBytes > this.limitBytes) return false;
    while (this.#usedBytes + sizeBytes > this.limitBytes || this.#pieces.isFull) this.#dropOldest();
    this.#pieces.push(piece);
    this.#usedBytes += sizeBytes;
    return true;
  }

  /** Pieces that their owner let go stay in the queue, without their place in the sum, until they are the oldest. */
  release(piece: CachedPiece): void {
    this.#usedBytes -= costOf(piece);
    piece.memory?.release();
    piece.memory = null;
  }

  #dropOldest(): void {
    const oldest = this.#pieces.shift();
    if (oldest !== undefined && oldest.memory !== null) oldest.owner.dropOldest();
  }
}

function costOf({ memory }: CachedPiece): number {
  return (memory?.bytes.length ?? 0) + PIECE_OVERHEAD_BYTES;
}

/** One partition's share. Its pieces follow each other without a gap, the last one ending where the log was written to. */
export class TailCache {
  readonly #budget: TailCacheBudget;
  #pieces: CachedPiece[] = [];
  #firstIndex = 0;

  constructor(budget: TailCacheBudget) {
    this.#budget = budget;
  }

  /** The first offset that is here; null if nothing is. */
  get startOffset(): bigint | null {
    return this.#pieces[this.#firstIndex]?.baseOffset ?? null;
  }

  /** Keeps pieces of whole batches, one behind the other, from baseOffset up to, not including, endOffset. */
  addAll(pieces: readonly MemoryPiece[], baseOffset: bigint, endOffset: bigint): void {
    let start = baseOffset;
    for (const [index, piece] of pieces.entries()) {
      const end = index === pieces.length - 1 ? endOffset : endOffsetOf(piece.bytes);
      this.add(piece, start, end);
      start = end;
    }
  }

  /** Keeps a piece that holds the batches from baseOffset up to, not including, endOffset. */
  add(memory: MemoryPiece, baseOffset: bigint, endOffset: bigint): void {
    if (memory.bytes.length > SMALL_PORTION_BYTES) this.#push(memory, memory.bytes.length, baseOffset, endOffset);
    else this.#collect(memory, baseOffset, endOffset);
  }

  #push(memory: MemoryPiece, filledBytes: number, baseOffset: bigint, endOffset: bigint): void {
    const piece = { owner: this, memory, filledBytes, baseOffset, endOffset };
    this.#pieces.push(piece);
    if (!this.#budget.add(piece)) {
      memory.release();
      this.#pieces.pop();
      // A gap would follow: what came before can no longer be the tail.
      this.clear();
    }
  }

  /** A partition's first record stays where it is, its next ones get room for more of them: many partitions get few. */
  #collect(portion: MemoryPiece, baseOffset: bigint, endOffset: bigint): void {
    const { bytes } = portion;
    const last = this.#pieces.at(-1);
    const lastBytes = last?.memory?.bytes;
    if (last === undefined || lastBytes === undefined) {
      this.#push(portion, bytes.length, baseOffset, endOffset);
      return;
    }
    if (last.filledBytes + bytes.length <= lastBytes.length) {
      last.filledBytes += bytes.copy(lastBytes, last.filledBytes);
      last.endOffset = endOffset;
    } else {
      const roomBytes = Math.min(Math.max(lastBytes.length, bytes.length) * 2, COLLECTED_BYTES);
      const collected = new MemoryPiece(Buffer.allocUnsafeSlow(roomBytes), null);
      this.#push(collected, bytes.copy(collected.bytes), baseOffset, endOffset);
    }
    portion.release();
  }

  dropOldest(): void {
    const oldest = this.#pieces[this.#firstIndex];
    if (oldest === undefined) return;
    this.#budget.release(oldest);
    this.#firstIndex += 1;
    if (this.#firstIndex >= DROPPED_LIMIT && this.#firstIndex * 2 >= this.#pieces.length) {
      this.#pieces = this.#pieces.slice(this.#firstIndex);
      this.#firstIndex = 0;
    }
  }

  clear(): void {
    for (const piece of this.#pieces.slice(this.#firstIndex)) this.#budget.release(piece);
    this.#pieces = [];
    this.#firstIndex = 0;
  }

  /**
   * Whole batches from the one that holds the offset on, below limitOffset and within maxBytes.
   *
   * The offset must not be before startOffset.
   */
  read(
    fromOffset: bigint,
    limitOffset: bigint,
    maxBytes: number,
    { minOneBatch, onRelease }: TailReadOptions,
  ): Buffer[] {
    const found: Buffer[] = [];
    let roomBytes = maxBytes;
    for (let index = this.#indexOf(fromOffset); index < this.#pieces.length; index++) {
      const piece = this.#pieces[index];
      if (piece === undefined || piece.memory === null || piece.baseOffset >= limitOffset) break;
      const { memory } = piece;
      const bytes = memory.bytes.subarray(0, piece.filledBytes);
      // It may be on its way to a slow reader long after it has left the cache.
      memory.hold();
      onRelease?.(() => memory.release());
      const start = piece.baseOffset >= fromOffset ? 0 : positionOfOffset(bytes, fromOffset);
      const isWhole = piece.endOffset <= limitOffset && bytes.length - start <= roomBytes;
      const end = isWhole ? bytes.length : endOfBatches(bytes, start, roomBytes, limitOffset);
      if (end > start) found.push(bytes.subarray(start, end));
      else if (found.length === 0 && minOneBatch) found.push(bytes.subarray(start, start + batchSizeAt(bytes, start)));
      roomBytes -= end - start;
      if (!isWhole) break;
    }
    return found;
  }

  /** The piece that holds the offset, or the first one behind it. */
  #indexOf(offset: bigint): number {
    let low = this.#firstIndex;
    let high = this.#pieces.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      const piece = this.#pieces[middle];
      if (piece !== undefined && piece.endOffset <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
