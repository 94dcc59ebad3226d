/** The clock of one simulated process: its timers end with it, and what it leaves behind when it closes can be seen. */

import { type Clock, sleep, type Timer, type TimerOptions } from "@millrace/base";

/** What is deferred to the end of a turn is none of what a process leaves behind. */
const TURN_MS = 1;

export class ProcessClock implements Clock {
  readonly #clock: Clock;
  readonly #timers = new Map<object, { readonly timer: Timer; readonly isBackground: boolean }>();
  #isDead = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Timers that would keep the process alive. */
  get pendingCount(): number {
    let count = 0;
    for (const { isBackground } of this.#timers.values()) if (!isBackground) count += 1;
    return count;
  }

  get backgroundCount(): number {
    return this.#timers.size - this.pendingCount;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  timestampMs(): number {
    return this.#clock.timestampMs();
  }

  schedule(delayMs: number, callback: () => void, options?: TimerOptions): Timer {
    if (this.#isDead) return { cancel() {} };
    const key = {};
    const timer = this.#clock.schedule(delayMs, () => {
      this.#timers.delete(key);
      callback();
    });
    this.#timers.set(key, { timer, isBackground: options?.background === true });
    return {
      cancel: () => {
        this.#timers.delete(key);
        timer.cancel();
      },
    };
  }

  defer(callback: () => void): void {
    this.schedule(0, callback);
  }

  /** The process is gone at once: nothing that it waited for happens any more. */
  kill(): void {
    this.#isDead = true;
    for (const { timer } of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }
}

/** What a part of the system that was closed leaves behind, a line each: nothing, if all is well. */
export async function leftovers(process: ProcessClock, clock: Clock, openStreamCount: () => number): Promise<string[]> {
  await sleep(clock, TURN_MS);
  const left = [
    { count: process.pendingCount, what: "timers" },
    { count: process.backgroundCount, what: "background timers" },
    { count: openStreamCount(), what: "open streams" },
  ];
  return left.filter(({ count }) => count > 0).map(({ count, what }) => `${count} ${what}`);
}
