/** The memory that requests in progress may take, over all connections. */

/** Counts whole frames from their arrival to their answer. Above the limit connections stop reading until there is room. */
export class RequestBudget {
  readonly #limitBytes: number;
  readonly #waiting = new Map<object, () => void>();
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get isExceeded(): boolean {
    return this.#usedBytes > this.#limitBytes;
  }

  take(sizeBytes: number): void {
    this.#usedBytes += sizeBytes;
  }

  give(sizeBytes: number): void {
    this.#usedBytes -= sizeBytes;
    if (this.isExceeded || this.#waiting.size === 0) return;
    const listeners = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const listener of listeners) listener();
  }

  /** Calls back once when there is room again. One listener per owner. */
  onRoom(owner: object, listener: () => void): void {
    this.#waiting.set(owner, listener);
  }

  forget(owner: object): void {
    this.#waiting.delete(owner);
  }
}
