/** Time, passed in: the system's, or a virtual one that a test or simulation moves by hand. */

// Imported, because the global of that name is a getter that costs more than the reading.
import { performance } from "node:perf_hooks";

export interface Timer {
  /** Safe to call twice, and after the timer fired. */
  cancel(): void;
}

export interface TimerOptions {
  /** A background timer does not keep the process alive. */
  readonly background?: boolean;
}

export interface Clock {
  /** Monotonic milliseconds with a fraction: for durations and deadlines. Its zero means nothing. */
  nowMs(): number;
  /** Milliseconds since the epoch, whole: for timestamps in records and answers. It may jump. */
  timestampMs(): number;
  /** Calls back once, at least delayMs from now. */
  schedule(delayMs: number, callback: () => void, options?: TimerOptions): Timer;
  /** Calls back at the end of this turn of the event loop, after what is pending in it. */
  defer(callback: () => void): void;
}

/** setTimeout's own ceiling; a longer delay would fire at once. */
const TIMER_LIMIT_MS = 2 ** 31 - 1;

export class SystemClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  timestampMs(): number {
    return Date.now();
  }

  schedule(delayMs: number, callback: () => void, options?: TimerOptions): Timer {
    return new SystemTimer(delayMs, callback, options?.background === true);
  }

  defer(callback: () => void): void {
    setImmediate(callback);
  }
}

/**
 * setTimeout drops fractions of its delay and counts from the beginning of the event loop's turn, so it may come early by
 * as much as that turn has taken. Whoever then finds that its time has not come would wait for a timer that was there
 * already: the rest is waited for too.
 */
class SystemTimer implements Timer {
  readonly #dueMs: number;
  readonly #callback: () => void;
  readonly #isBackground: boolean;
  #timeout: NodeJS.Timeout;

  constructor(delayMs: number, callback: () => void, isBackground: boolean) {
    this.#dueMs = performance.now() + delayMs;
    this.#callback = callback;
    this.#isBackground = isBackground;
    this.#timeout = this.#wait(delayMs);
  }

  cancel(): void {
    clearTimeout(this.#timeout);
  }

  #wait(delayMs: number): NodeJS.Timeout {
    const timeout = setTimeout(() => this.#ring(), Math.min(Math.max(delayMs, 0), TIMER_LIMIT_MS));
    return this.#isBackground ? timeout.unref() : timeout;
  }

  #ring(): void {
    const restMs = this.#dueMs - performance.now();
    if (restMs > 0) this.#timeout = this.#wait(restMs);
    else this.#callback();
  }
}

export const systemClock: Clock = new SystemClock();

/** Resolves after delayMs; rejects with the signal's reason as soon as it aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.schedule(delayMs, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Virtual time goes on in steps of a power of two, so that sums and differences of times are exact. */
const TICKS_PER_MS = 1024;

interface VirtualEvent {
  readonly atMs: number;
  readonly sequence: number;
  readonly callback: () => void;
  isCancelled: boolean;
}

/**
 * A clock that stands still until it is told to go on. Events run in the order of (time, schedule order), so the same
 * program runs the same way every time.
 *
 * Between two events all microtasks are let run, which is what makes `await` work on virtual time.
 */
export class VirtualClock implements Clock {
  readonly #startTimestampMs: number;
  readonly #heap: VirtualEvent[] = [];
  #nowMs = 0;
  #sequence = 0;

  constructor(startTimestampMs = Date.UTC(2026, 0, 1)) {
    this.#startTimestampMs = startTimestampMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  timestampMs(): number {
    return Math.floor(this.#startTimestampMs + this.#nowMs);
  }

  schedule(delayMs: number, callback: () => void): Timer {
    const event: VirtualEvent = {
      atMs: nextTick(this.#nowMs + Math.max(delayMs, 0)),
      sequence: this.#sequence++,
      callback,
      isCancelled: false,
    };
    push(this.#heap, event);
    return {
      cancel: () => {
        event.isCancelled = true;
      },
    };
  }

  defer(callback: () => void): void {
    this.schedule(0, callback);
  }

  /** Events that are still to come, cancelled ones not counted. */
  get pendingCount(): number {
    return this.#heap.reduce((count, event) => count + (event.isCancelled ? 0 : 1), 0);
  }

  /** Runs all events up to and including untilMs from now, then stands there. */
  async advance(byMs: number): Promise<void> {
    const untilMs = nextTick(this.#nowMs + byMs);
    await flushMicrotasks();
    while (await this.#runNext(untilMs));
    this.#nowMs = untilMs;
  }

  /**
   * Runs events until the promise settles.
   *
   * Throws if there is nothing left to run or limitMs of virtual time went by first: the promise would never settle.
   */
  async runUntil<T>(promise: Promise<T>, limitMs: number): Promise<T> {
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    promise.then(settled, settled);
    const untilMs = this.#nowMs + limitMs;
    await flushMicrotasks();
    while (!isSettled) {
      const ran = await this.#runNext(untilMs);
      if (!ran && !isSettled) throw new Error(`nothing settled the promise within ${limitMs} ms of virtual time`);
    }
    return promise;
  }

  async #runNext(untilMs: number): Promise<boolean> {
    const next = this.#heap[0];
    if (next === undefined || next.atMs > untilMs) return false;
    pop(this.#heap);
    if (next.isCancelled) return true;
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    next.callback();
    await flushMicrotasks();
    return true;
  }
}

/** A turn of the real event loop: every microtask that is ready, and those they make ready, has run after it. */
function flushMicrotasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * The time, or the first tick after it: never sooner than asked for. A timer that fired a rounding error too soon would
 * be set again for what is left, which is too little to move the clock, for ever.
 */
function nextTick(timeMs: number): number {
  return Math.ceil(timeMs * TICKS_PER_MS) / TICKS_PER_MS;
}

function isBefore(a: VirtualEvent, b: VirtualEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);
}

function push(heap: VirtualEvent[], event: VirtualEvent): void {
  let index = heap.length;
  heap.push(event);
  while (index > 0) {
    const parentIndex = (index - 1) >> 1;
    const parent = heap[parentIndex];
    if (parent === undefined || !isBefore(event, parent)) break;
    heap[index] = parent;
    index = parentIndex;
  }
  heap[index] = event;
}

function pop(heap: VirtualEvent[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let index = 0;
  for (;;) {
    let childIndex = index * 2 + 1;
    let child = heap[childIndex];
    if (child === undefined) break;
    const right = heap[childIndex + 1];
    if (right !== undefined && isBefore(right, child)) {
      child = right;
      childIndex += 1;
    }
    if (!isBefore(child, last)) break;
    heap[index] = child;
    index = childIndex;
  }
  heap[index] = last;
}
