/** A first-in first-out queue with a limit: append, take and look at the front cost the same at any length. */

import { assert } from "./assert.ts";

const INITIAL_CAPACITY = 16;

/**
 * A ring that doubles until its limit.
 *
 *     slots   · · d e f · · ·      head → d, length 3; tail wraps round
 */
export class BoundedQueue<T> {
  readonly limit: number;
  #slots: (T | undefined)[];
  #head = 0;
  #length = 0;

  constructor(limit: number) {
    assert(limit > 0, `queue limit is ${limit}; it must be positive`);
    this.limit = limit;
    this.#slots = new Array(INITIAL_CAPACITY);
  }

  get length(): number {
    return this.#length;
  }

  get isFull(): boolean {
    return this.#length >= this.limit;
  }

  /** False if the queue is full: nothing was added. */
  push(item: T): boolean {
    if (this.isFull) return false;
    if (this.#length === this.#slots.length) this.#grow();
    this.#slots[(this.#head + this.#length) & (this.#slots.length - 1)] = item;
    this.#length += 1;
    return true;
  }

  /** Puts an item before all others. False if the queue is full: nothing was added. */
  unshift(item: T): boolean {
    if (this.isFull) return false;
    if (this.#length === this.#slots.length) this.#grow();
    this.#head = (this.#head - 1) & (this.#slots.length - 1);
    this.#slots[this.#head] = item;
    this.#length += 1;
    return true;
  }

  peek(): T | undefined {
    return this.#slots[this.#head];
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.#length -= 1;
    return item;
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (let index = 0; index < this.#length; index++) {
      const item = this.#slots[(this.#head + index) & (this.#slots.length - 1)];
      if (item !== undefined) yield item;
    }
  }

  #grow(): void {
    const items = [...this];
    this.#slots = [...items, ...new Array<undefined>(this.#slots.length * 2 - items.length)];
    this.#head = 0;
  }
}
