/** CircuitBreaker: after many failures in a row nothing is tried for a while, and callers are told so at once. */

import { type Clock, systemClock } from "@millrace/base";
import { CircuitOpenError } from "../errors.ts";

export interface CircuitBreakerConfig {
  /** Failures in a row that open the circuit. */
  readonly failureThreshold?: number;
  /** How long it stays open before one call is let through to see. */
  readonly recoveryTimeoutMs?: number;
  /** What it protects, for the error message. */
  readonly name?: string;
  readonly clock?: Clock;
}

export type CircuitState = "closed" | "open" | "half-open";

const DEFAULT_FAILURE_THRESHOLD = 5;
const DEFAULT_RECOVERY_TIMEOUT_MS = 60_000;

/**
 *     closed ── failureThreshold failures in a row ──► open
 *        ▲                                             │ recoveryTimeoutMs
 *        └── the one call that is let through ◄── half-open ──► open again, if it fails
 *                        succeeds
 */
export class CircuitBreaker {
  readonly #failureThreshold: number;
  readonly #recoveryTimeoutMs: number;
  readonly #name: string;
  readonly #clock: Clock;
  #failureCount = 0;
  #openedAtMs: number | null = null;
  #isProbing = false;

  constructor(config: CircuitBreakerConfig = {}) {
    this.#failureThreshold = config.failureThreshold ?? DEFAULT_FAILURE_THRESHOLD;
    this.#recoveryTimeoutMs = config.recoveryTimeoutMs ?? DEFAULT_RECOVERY_TIMEOUT_MS;
    this.#name = config.name ?? "circuit breaker";
    this.#clock = config.clock ?? systemClock;
  }

  get state(): CircuitState {
    if (this.#openedAtMs === null) return "closed";
    return this.#retryAfterMs(this.#openedAtMs) > 0 ? "open" : "half-open";
  }

  /** Calls the function and counts how it ends. Rejects with CircuitOpenError, without calling it, while the circuit is open. */
  async call<T>(operation: () => T | Promise<T>): Promise<T> {
    const { refusal } = this;
    if (refusal !== null) throw refusal;
    if (this.#isProbing) throw new CircuitOpenError(this.#name, 0);
    this.#isProbing = this.state === "half-open";
    try {
      const result = await operation();
      this.succeeded();
      return result;
    } catch (error) {
      this.failed();
      throw error;
    }
  }

  /** The error to fail with while the circuit is open; null when it is not. */
  get refusal(): CircuitOpenError | null {
    if (this.#openedAtMs === null) return null;
    const retryAfterMs = this.#retryAfterMs(this.#openedAtMs);
    return retryAfterMs > 0 ? new CircuitOpenError(this.#name, retryAfterMs) : null;
  }

  succeeded(): void {
    this.#failureCount = 0;
    this.#openedAtMs = null;
    this.#isProbing = false;
  }

  failed(): void {
    // Called before it opened: it says nothing new.
    if (this.state === "open") return;
    this.#failureCount += 1;
    this.#isProbing = false;
    if (this.#openedAtMs !== null || this.#failureCount >= this.#failureThreshold)
      this.#openedAtMs = this.#clock.nowMs();
  }

  #retryAfterMs(openedAtMs: number): number {
    return openedAtMs + this.#recoveryTimeoutMs - this.#clock.nowMs();
  }
}
