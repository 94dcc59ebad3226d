/** RateLimiter: how many requests and bytes a second each key may send. */

import { type Clock, SECOND_MS } from "@millrace/base";
import type { FastifyReply } from "fastify";
import { RequestError } from "../errors.ts";

export interface RateLimiterParts {
  readonly clock: Clock;
  /** 0: as many as there are. */
  readonly requestsPerSecond: number;
  /** 0: as many as there are. */
  readonly bytesPerSecond: number;
}

/**
 * What may still be spent, filled evenly up to one second's worth (a token bucket). It may go below zero by one request,
 * whose size is known only when it is here; the next one then waits for that too.
 */
class Bucket {
  readonly perSecond: number;
  #left: number;
  #filledAtMs: number;

  constructor(perSecond: number, nowMs: number) {
    this.perSecond = perSecond;
    this.#left = perSecond;
    this.#filledAtMs = nowMs;
  }

  leftAt(nowMs: number): number {
    const gained = ((nowMs - this.#filledAtMs) / SECOND_MS) * this.perSecond;
    this.#left = Math.min(this.perSecond, this.#left + gained);
    this.#filledAtMs = nowMs;
    return this.#left;
  }

  spend(amount: number): void {
    this.#left -= amount;
  }
}

interface Buckets {
  readonly requests: Bucket | null;
  readonly bytes: Bucket | null;
}

/** Beyond it the sender that was first seen longest ago starts anew; keys are far fewer. */
const SENDERS_LIMIT = 10_000;

export class RateLimiter {
  readonly #parts: RateLimiterParts;
  /** By key or certificate; all who come without share one. */
  readonly #buckets = new Map<string, Buckets>();
  readonly #isOff: boolean;

  constructor(parts: RateLimiterParts) {
    this.#parts = parts;
    this.#isOff = parts.requestsPerSecond === 0 && parts.bytesPerSecond === 0;
  }

  /** Counts a request before its body comes, and tells in the answer's headers what is left. Throws RequestError RATE_LIMITED. */
  admit(keyId: string, reply: FastifyReply): void {
    if (this.#isOff) return;
    const { requests, bytes } = this.#bucketsOf(keyId);
    const nowMs = this.#parts.clock.nowMs();
    if (bytes !== null && bytes.leftAt(nowMs) <= 0) throw refused(reply, bytes, nowMs, "bytes");
    if (requests === null) {
      if (bytes !== null) tell(reply, bytes, nowMs);
      return;
    }
    if (requests.leftAt(nowMs) < 1) throw refused(reply, requests, nowMs, "requests");
    requests.spend(1);
    tell(reply, requests, nowMs);
  }

  /** Counts the bytes of a body that came. */
  spendBytes(keyId: string, sizeBytes: number): void {
    if (this.#parts.bytesPerSecond > 0) this.#bucketsOf(keyId).bytes?.spend(sizeBytes);
  }

  #bucketsOf(keyId: string): Buckets {
    const known = this.#buckets.get(keyId);
    if (known !== undefined) return known;
    const { clock, requestsPerSecond, bytesPerSecond } = this.#parts;
    const nowMs = clock.nowMs();
    const buckets = {
      requests: requestsPerSecond === 0 ? null : new Bucket(requestsPerSecond, nowMs),
      bytes: bytesPerSecond === 0 ? null : new Bucket(bytesPerSecond, nowMs),
    };
    if (this.#buckets.size >= SENDERS_LIMIT) this.#buckets.delete(this.#buckets.keys().next().value ?? keyId);
    this.#buckets.set(keyId, buckets);
    return buckets;
  }
}

function refused(reply: FastifyReply, bucket: Bucket, nowMs: number, what: "requests" | "bytes"): RequestError {
  tell(reply, bucket, nowMs);
  const enough = what === "requests" ? 1 : 0;
  const waitS = Math.max(1, Math.ceil((enough - bucket.leftAt(nowMs)) / bucket.perSecond));
  reply.header("retry-after", waitS);
  return new RequestError(
    "RATE_LIMITED",
    `this key may send ${bucket.perSecond} ${what} a second; try again in ${waitS} s`,
  );
}

/** The headers of draft-ietf-httpapi-ratelimit-headers, and the older ones that clients look for. */
function tell(reply: FastifyReply, bucket: Bucket, nowMs: number): void {
  const left = bucket.leftAt(nowMs);
  const limit = Math.floor(bucket.perSecond);
  const remaining = Math.max(0, Math.floor(left));
  const resetS = Math.ceil((bucket.perSecond - left) / bucket.perSecond);
  for (const prefix of ["ratelimit", "x-ratelimit"]) {
    reply.header(`${prefix}-limit`, limit);
    reply.header(`${prefix}-remaining`, remaining);
    reply.header(`${prefix}-reset`, resetS);
  }
}
