/** Turns: work that takes much memory while it is done, a few at a time; the rest waits in line, for so long. */

import { BoundedQueue, type Clock, createDeferred, type Deferred } from "@millrace/base";
import { RequestError } from "../errors.ts";

/** Who waits costs a request in flight, which has a limit of its own. */
const WAITING_LIMIT = 100_000;

export interface TurnsParts {
  readonly clock: Clock;
  /** At once. */
  readonly concurrency: number;
  readonly maxWaitMs: number;
}

interface Waiting {
  readonly turn: Deferred<void>;
  isOver: boolean;
}

export class Turns {
  readonly #parts: TurnsParts;
  readonly #waiting = new BoundedQueue<Waiting>(WAITING_LIMIT);
  #count = 0;

  constructor(parts: TurnsParts) {
    this.#parts = parts;
  }

  /** Does the work when its turn has come. Rejects as the work does, or with RequestError OVERLOADED. */
  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#count < this.#parts.concurrency) this.#count += 1;
    else await this.#wait();
    try {
      return await work();
    } finally {
      this.#passOn();
    }
  }

  /** Resolves once somebody has passed his turn on. */
  async #wait(): Promise<void> {
    const { clock, maxWaitMs } = this.#parts;
    const waiting: Waiting = { turn: createDeferred(), isOver: false };
    if (!this.#waiting.push(waiting)) throw overloaded();
    const timer = clock.schedule(maxWaitMs, () => {
      waiting.isOver = true;
      waiting.turn.reject(overloaded());
    });
    await waiting.turn.promise.finally(() => timer.cancel());
  }

  #passOn(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (next.isOver) continue;
      next.turn.resolve();
      return;
    }
    this.#count -= 1;
  }
}

function overloaded(): RequestError {
  return new RequestError("OVERLOADED", "too much is being read at the same time");
}
