/** The memory that records take on their way from the disk to clients, over all connections. */

/** Records count from before they are read until they have left the process. What is asked for beyond the limit has to wait. */
export class FetchMemory {
  readonly #limitBytes: number;
  #usedBytes = 0;
  readonly #waiting = new Set<() => void>();

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Takes as much as there is, up to what is wanted. Returns how much that is: 0 if there is none. */
  take(wantedBytes: number): number {
    const takenBytes = Math.max(Math.min(wantedBytes, this.#limitBytes - this.#usedBytes), 0);
    this.#usedBytes += takenBytes;
    return takenBytes;
  }

  /** Negative for records that turned out to be more than was taken: the first batch is given whole, however large. */
  give(sizeBytes: number): void {
    this.#usedBytes -= sizeBytes;
    if (this.#usedBytes >= this.#limitBytes || this.#waiting.size === 0) return;
    const listeners = [...this.#waiting];
    this.#waiting.clear();
    for (const listener of listeners) listener();
  }

  /** Calls back once when there is room again. Returns the function that takes the listener back. */
  onRoom(listener: () => void): () => void {
    this.#waiting.add(listener);
    return () => this.#waiting.delete(listener);
  }
}
