/** Tails: the event streams that are open, of which each holds readers for as long as its client likes. */

import { RequestError } from "./errors.ts";

export class Tails {
  readonly #limit: number;
  readonly #open = new Set<AbortController>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** A signal that aborts when the gateway closes; to be given back with `end`. Throws RequestError OVERLOADED. */
  begin(): AbortController {
    if (this.#open.size >= this.#limit)
      throw new RequestError("OVERLOADED", `there are already ${this.#limit} tails open`);
    const controller = new AbortController();
    this.#open.add(controller);
    return controller;
  }

  end(controller: AbortController): void {
    this.#open.delete(controller);
    controller.abort();
  }

  /** Ends all of them: their clients come back to another server, with the position they have. */
  close(): void {
    for (const controller of this.#open) this.end(controller);
  }
}
