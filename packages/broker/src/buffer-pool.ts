/** Memory that is used again: for bytes that are many, come often and do not stay long. */

import { KIBIBYTE, MEBIBYTE } from "@millrace/base";

/** Less is left to the garbage collector, which finds it while it is young. */
const SMALLEST_BYTES = 16 * KIBIBYTE;
const LARGEST_BYTES = 4 * MEBIBYTE;

/**
 * Memory of its own for each read and each request lies outside of V8's heap, and V8 answers its growth by marking the
 * heap, every few megabytes. In a broker that did nothing but answer Fetch, that was half of its time.
 *
 * Pieces have sizes of a power of two. Those that nobody gives back are the garbage collector's.
 */
export class BufferPool {
  readonly #limitBytes: number;
  readonly #largestBytes: number;
  /** By size. */
  readonly #free = new Map<number, ArrayBufferLike[]>();
  #freeBytes = 0;
  /** Given away and not back yet. */
  readonly #lent = new WeakSet<ArrayBufferLike>();

  /**
   * limitBytes: of memory that nobody uses; what is given back beyond it goes to the system. largestBytes: what is
   * larger is not used again.
   */
  constructor(limitBytes: number, largestBytes = LARGEST_BYTES) {
    this.#limitBytes = limitBytes;
    this.#largestBytes = largestBytes;
  }

  /** So many bytes, with whatever was in them before. */
  take(sizeBytes: number): Buffer {
    if (sizeBytes < SMALLEST_BYTES || sizeBytes > this.#largestBytes) return Buffer.allocUnsafe(sizeBytes);
    const pieceBytes = 2 ** Math.ceil(Math.log2(sizeBytes));
    const free = this.#free.get(pieceBytes)?.pop();
    if (free !== undefined) this.#freeBytes -= pieceBytes;
    const memory = free ?? Buffer.allocUnsafeSlow(pieceBytes).buffer;
    this.#lent.add(memory);
    return Buffer.from(memory, 0, sizeBytes);
  }

  /** bytes: what `take` returned, or part of it. Nobody may look at any of that any more. Bytes from elsewhere are left alone. */
  give(bytes: Uint8Array): void {
    const memory = bytes.buffer;
    const pieceBytes = memory.byteLength;
    if (!this.#lent.delete(memory) || this.#freeBytes + pieceBytes > this.#limitBytes) return;
    const free = this.#free.get(pieceBytes);
    if (free === undefined) this.#free.set(pieceBytes, [memory]);
    else free.push(memory);
    this.#freeBytes += pieceBytes;
  }
}
