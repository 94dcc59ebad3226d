/** Tails: the event streams that are open, of which each holds readers for as long as its client likes. */

import type { Clock } from "@millrace/base";
import { RequestError } from "./errors.ts";
import { Turns } from "./limits/turns.ts";

/** Fetches at once of those that are behind. */
const CATCH_UPS_AT_ONCE = 8;

export class Tails {
  /** In which those that are behind their topic's end read on. */
  readonly catchUps: Turns;
  readonly #limit: number;
  readonly #open = new Set<AbortController>();

  constructor({ clock, limit }: { readonly clock: Clock; readonly limit: number }) {
    this.#limit = limit;
    this.catchUps = new Turns({ clock, concurrency: CATCH_UPS_AT_ONCE, maxWaitMs: Number.POSITIVE_INFINITY });
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
