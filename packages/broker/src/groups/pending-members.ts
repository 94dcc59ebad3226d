/** Members on their way into a group: they were given an id and have not come back with it (KIP-394). */

import type { Clock, Timer } from "@millrace/base";

export class PendingMembers {
  readonly #clock: Clock;
  readonly #timers = new Map<string, Timer>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#timers.size;
  }

  /** Waits for the member as long as it could be silent; then forgets its id and tells. */
  expect(memberId: string, timeoutMs: number, onForgotten: () => void): void {
    const timer = this.#clock.schedule(
      timeoutMs,
      () => {
        this.#timers.delete(memberId);
        onForgotten();
      },
      { background: true },
    );
    this.#timers.set(memberId, timer);
  }

  /** It came, or leaves: nobody waits for it any more. False if nobody did. */
  take(memberId: string): boolean {
    this.#timers.get(memberId)?.cancel();
    return this.#timers.delete(memberId);
  }

  close(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }
}
