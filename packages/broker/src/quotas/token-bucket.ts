/** Bytes that may be used: they come at a steady rate, and as many as a pause brings together wait to be used at once. */

export interface BucketLimits {
  /** Bytes a second. */
  readonly rate: number;
  /** Most bytes that wait to be used. */
  readonly capacity: number;
}

export class TokenBucket {
  #limits: BucketLimits;
  /** Below 0: used before they came. */
  #tokens: number;
  /** By a clock that never goes back. */
  #updatedMs: number;

  constructor(limits: BucketLimits, nowMs: number) {
    this.#limits = limits;
    this.#tokens = limits.capacity;
    this.#updatedMs = nowMs;
  }

  /** Uses bytes that were sent already. Returns how long it takes until as many have come, in milliseconds. */
  take(sizeBytes: number, limits: BucketLimits, nowMs: number): number {
    this.#refill(nowMs);
    this.#limits = limits;
    this.#tokens = Math.min(this.#tokens, limits.capacity) - sizeBytes;
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens / limits.rate) * 1000);
  }

  /** Whether it is as a new one would be. */
  isFull(nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#tokens >= this.#limits.capacity;
  }

  #refill(nowMs: number): void {
    const { rate, capacity } = this.#limits;
    this.#tokens = Math.min(capacity, this.#tokens + ((nowMs - this.#updatedMs) / 1000) * rate);
    this.#updatedMs = nowMs;
  }
}
