/** Memory for batches on their way to the disk and in the tail cache, used again and again. */

import { MEBIBYTE } from "@millrace/base";

const SLAB_BYTES = MEBIBYTE;
/** Slabs kept for the next batches; more than that go back to the system. */
const FREE_SLABS = 4;
/** A batch that is larger stays in the memory in which it came: that is never used again. */
export const COPIED_BATCH_BYTES = SLAB_BYTES / 2;

interface Slab {
  readonly owner: BatchMemory;
  readonly bytes: Buffer;
  usedBytes: number;
  /** How often its pieces are held. */
  heldCount: number;
}

/**
 * Whole batches, one behind the other. It is held once when it is made; memory of which a piece is never released is the
 * garbage collector's.
 */
export class MemoryPiece {
  readonly bytes: Buffer;
  readonly #slab: Slab | null;

  /** slab: null for bytes with memory of their own. */
  constructor(bytes: Buffer, slab: Slab | null) {
    this.bytes = bytes;
    this.#slab = slab;
  }

  /** For one more who looks at the bytes. */
  hold(): void {
    if (this.#slab !== null) this.#slab.heldCount += 1;
  }

  /** One who looked at the bytes does so no more. */
  release(): void {
    if (this.#slab !== null) this.#slab.owner.release(this.#slab);
  }
}

/**
 * Memory of its own for each write lies outside of V8's heap, and V8 answers its growth by marking the heap: every 8 MB
 * of what a busy broker received. So small batches are copied into slabs, in the order in which they are written and
 * later leave the tail cache, and a slab whose pieces were all released takes the next ones.
 */
export class BatchMemory {
  #current: Slab | null = null;
  #free: Slab[] = [];

  /** The batches in few pieces: one long write costs less than a gathered one of many. */
  gather(batches: readonly Buffer[]): MemoryPiece[] {
    const pieces: MemoryPiece[] = [];
    for (let from = 0; from < batches.length; ) {
      const first = batches[from];
      if (first === undefined) break;
      if (first.length > COPIED_BATCH_BYTES) {
        pieces.push(new MemoryPiece(first, null));
        from += 1;
        continue;
      }
      const slab = this.#slabWithRoomFor(first.length);
      const start = slab.usedBytes;
      for (let batch: Buffer | undefined = first; batch !== undefined; batch = batches[from]) {
        if (slab.usedBytes + batch.length > SLAB_BYTES) break;
        slab.usedBytes += batch.copy(slab.bytes, slab.usedBytes);
        from += 1;
      }
      slab.heldCount += 1;
      pieces.push(new MemoryPiece(slab.bytes.subarray(start, slab.usedBytes), slab));
    }
    return pieces;
  }

  #slabWithRoomFor(sizeBytes: number): Slab {
    const current = this.#current;
    if (current !== null && current.usedBytes + sizeBytes <= SLAB_BYTES) return current;
    this.#current = this.#free.pop() ?? {
      owner: this,
      bytes: Buffer.allocUnsafeSlow(SLAB_BYTES),
      usedBytes: 0,
      heldCount: 0,
    };
    if (current !== null) this.#reuse(current);
    return this.#current;
  }

  release(slab: Slab): void {
    slab.heldCount -= 1;
    this.#reuse(slab);
  }

  #reuse(slab: Slab): void {
    if (slab.heldCount > 0 || slab === this.#current || this.#free.length === FREE_SLABS) return;
    slab.usedBytes = 0;
    this.#free.push(slab);
  }
}
