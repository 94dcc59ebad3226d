/** Tries again what may work later, until a deadline. */

import { type Clock, type Random, sleep } from "@millrace/base";
import { isRetriable } from "@millrace/protocol";
import { backoffMs } from "../retry.ts";

export interface RetryingOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly retryBackoffMs: number;
  readonly retryBackoffMaxMs: number;
}

export interface RetryLimits {
  /** As clock.nowMs() gives it. No attempt begins after it. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

/** Rejects with what the last attempt rejected with: one that is not retriable, or the one before the deadline. */
export async function retrying<T>(
  options: RetryingOptions,
  limits: RetryLimits,
  attempt: () => Promise<T>,
): Promise<T> {
  const backoff = { baseMs: options.retryBackoffMs, maxMs: options.retryBackoffMaxMs };
  for (let count = 0; ; count++) {
    try {
      return await attempt();
    } catch (error) {
      if (!isRetriable(error)) throw error;
      const waitMs = backoffMs(count, options.random, backoff);
      if (options.clock.nowMs() + waitMs >= limits.deadlineMs) throw error;
      await sleep(options.clock, waitMs, limits.signal);
    }
  }
}
