/** The producer's memory: slabs for open batches, counted against bufferMemory and used again. */

/** A slab is this size or the next power of two that is enough. */
const SMALLEST_SLAB_BYTES = 1024;
/** Free slabs kept of one size; beyond that the garbage collector has them. */
const FREE_SLABS_LIMIT = 256;

/**
 * Hands out slabs as long as they fit the limit. Kafka's term: BufferPool.
 *
 * A slab that may still be read by a socket must be forgotten with `release(slab, { isReusable: false })`: its bytes
 * count no more, but it is never used again (KAFKA-19012: a reused buffer sent records to the wrong topic).
 */
export class SlabPool {
  readonly limitBytes: number;
  readonly #freeBySize = new Map<number, Buffer[]>();
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /**
   * A slab of at least sizeBytes, or null if there is no room now.
   *
   * One that is larger than the whole limit is never given: the caller has refused such a record before.
   */
  acquire(sizeBytes: number): Buffer | null {
    const slabBytes = slabSizeBytes(sizeBytes);
    if (this.#usedBytes + slabBytes > this.limitBytes && this.#usedBytes > 0) return null;
    this.#usedBytes += slabBytes;
    return this.#freeBySize.get(slabBytes)?.pop() ?? Buffer.allocUnsafeSlow(slabBytes);
  }

  /** Counts bytes that are not in a slab; with a minus, no more. */
  hold(sizeBytes: number): void {
    this.#usedBytes += sizeBytes;
  }

  release(slab: Buffer, options: { readonly isReusable: boolean }): void {
    this.#usedBytes -= slab.length;
    if (!options.isReusable) return;
    const free = this.#freeBySize.get(slab.length);
    if (free === undefined) this.#freeBySize.set(slab.length, [slab]);
    else if (free.length < FREE_SLABS_LIMIT) free.push(slab);
  }
}

/** What one batch holds of the pool: its slab, until its bytes stand elsewhere, compressed; then as many as those are. */
export class BatchMemory {
  readonly #pool: SlabPool;
  #slab: Buffer | null;
  #heldBytes = 0;
  #isReleased = false;

  constructor(pool: SlabPool, slab: Buffer) {
    this.#pool = pool;
    this.#slab = slab;
  }

  /** The slab is free; the batch's bytes are others, sizeBytes of them. Nothing happens if it was released before. */
  moveOut(sizeBytes: number): void {
    if (this.#slab === null || this.#isReleased) return;
    this.#pool.release(this.#slab, { isReusable: true });
    this.#pool.hold(sizeBytes);
    this.#slab = null;
    this.#heldBytes = sizeBytes;
  }

  release(options: { readonly isReusable: boolean }): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (this.#slab === null) this.#pool.hold(-this.#heldBytes);
    else this.#pool.release(this.#slab, options);
  }
}

function slabSizeBytes(sizeBytes: number): number {
  let slabBytes = SMALLEST_SLAB_BYTES;
  while (slabBytes < sizeBytes) slabBytes *= 2;
  return slabBytes;
}
