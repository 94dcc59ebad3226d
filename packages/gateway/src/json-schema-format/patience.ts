/** Patience: lets synchronous work run, and breaks it off when it takes too long. */

import { createContext, Script } from "node:vm";

/** Who took too long before gets less, though never less than honest work on a busy machine may take, */
const LEAST_MS = 25;
/** and who took too long again and again is let run only once in so many times. */
const RARELY = 1_000;

/** Node breaks off what a script runs; the script is a call of whatever lies here. */
const bench: { work: () => void } = { work: () => {} };
createContext(bench);
const script = new Script("work()");

export class Patience {
  readonly #mostMs: number;
  readonly #leastMs: number;
  #limitMs: number;
  /** Of the next ones, how many are not let run; and how many it is to be after the next one that takes too long. */
  #skipCount = 0;
  #nextSkipCount = 1;

  /** mostMs: what everybody else waits at most, for one piece of work. */
  constructor(mostMs: number) {
    this.#mostMs = mostMs;
    this.#leastMs = Math.min(mostMs, LEAST_MS);
    this.#limitMs = mostMs;
  }

  /** Null if it was broken off, or was not tried. Costs some tens of microseconds, as a thread watches. */
  run<T>(work: () => T): { readonly result: T } | null {
    if (this.#skipCount > 0) {
      this.#skipCount -= 1;
      return null;
    }
    let result: { readonly result: T } | null = null;
    bench.work = () => {
      result = { result: work() };
    };
    try {
      script.runInContext(bench, { timeout: this.#limitMs });
      this.#limitMs = Math.min(this.#mostMs, 2 * this.#limitMs);
      this.#nextSkipCount = 1;
      return result;
    } catch (error) {
      if (!isTimeout(error)) throw error;
      this.#tookTooLong();
      return null;
    } finally {
      bench.work = () => {};
    }
  }

  #tookTooLong(): void {
    if (this.#limitMs > this.#leastMs) {
      this.#limitMs = Math.max(this.#leastMs, Math.floor(this.#limitMs / 2));
      return;
    }
    this.#skipCount = this.#nextSkipCount;
    this.#nextSkipCount = Math.min(RARELY, 2 * this.#nextSkipCount);
  }
}

/** It is no Error of ours: the script has a world of its own. */
function isTimeout(error: unknown): boolean {
  return (
    typeof error === "object" && error !== null && "code" in error && error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT"
  );
}
