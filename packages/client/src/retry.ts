/** How long to wait before the next attempt. Pure: time and chance are the caller's. */

import type { Random } from "@millrace/base";

export interface BackoffLimits {
  readonly baseMs: number;
  readonly maxMs: number;
}

/**
 * min(base · 2^attempt + jitter, max), where jitter is at most a fifth of the exponential part.
 *
 * attempt: 0 for the wait after the first failure. Without jitter, clients that lost the same broker would come back in
 * the same millisecond; it only ever adds, so that the waits are at least the documented ones.
 */
export function backoffMs(attempt: number, random: Random, limits: BackoffLimits): number {
  const exponentialMs = limits.baseMs * 2 ** Math.min(attempt, MAX_EXPONENT);
  const jitterMs = exponentialMs * JITTER * random.float();
  return Math.min(exponentialMs + jitterMs, limits.maxMs);
}

const JITTER = 0.2;
/** 2^30 times any base is beyond any limit; beyond 2^1023 it would be infinite. */
const MAX_EXPONENT = 30;
