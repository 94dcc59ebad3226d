/** Patience: lets synchronous work run, and breaks it off when it takes too long. */

import { createContext, Script } from "node:vm";

/** What everybody else waits at most, for one piece of work. */
const LIMIT_MS = 250;
/** Who took too long before gets less. */
const LEAST_MS = 1;

/** Node breaks off what a script runs; the script is a call of whatever lies here. */
const bench: { work: () => void } = { work: () => {} };
createContext(bench);
const script = new Script("work()");

export class Patience {
  #limitMs = LIMIT_MS;

  /** Null if it was broken off. Costs some tens of microseconds, as a thread watches. */
  run<T>(work: () => T): { readonly result: T } | null {
    let result: { readonly result: T } | null = null;
    bench.work = () => {
      result = { result: work() };
    };
    try {
      script.runInContext(bench, { timeout: this.#limitMs });
      this.#limitMs = Math.min(LIMIT_MS, 2 * this.#limitMs);
      return result;
    } catch (error) {
      if (!isTimeout(error)) throw error;
      this.#limitMs = Math.max(LEAST_MS, Math.floor(this.#limitMs / 2));
      return null;
    } finally {
      bench.work = () => {};
    }
  }
}

/** It is no Error of ours: the script has a world of its own. */
function isTimeout(error: unknown): boolean {
  return (
    typeof error === "object" && error !== null && "code" in error && error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT"
  );
}
