/** Authenticates again on an open connection, before the broker would cut it off (KIP-368). */

import type { Clock, Random, Timer } from "@millrace/base";

/** A session is renewed when a part of its lifetime has passed that lies between these; as in Kafka's own client. */
const RENEW_FROM = 0.85;
const RENEW_UNTIL = 0.95;

export interface SessionRenewalParts {
  readonly clock: Clock;
  readonly random: Random;
  /** Resolves with the lifetime of the new session in milliseconds; 0: no end. */
  readonly authenticate: () => Promise<number>;
  readonly onFailed: (error: unknown) => void;
}

/** A request that waits for the session to be renewed. */
interface HeldRequest {
  send(): void;
  reject(error: Error): void;
}

/** A broker takes nothing but the exchange while it runs: other requests are held. What is in flight is answered first. */
export class SessionRenewal {
  readonly #parts: SessionRenewalParts;
  #timer: Timer | null = null;
  /** Null while no exchange runs. */
  #held: HeldRequest[] | null = null;

  constructor(parts: SessionRenewalParts) {
    this.#parts = parts;
  }

  get isRunning(): boolean {
    return this.#held !== null;
  }

  get heldCount(): number {
    return this.#held?.length ?? 0;
  }

  /** lifetimeMs: of the session that begins now; 0: no end. */
  scheduleWithin(lifetimeMs: number): void {
    if (lifetimeMs <= 0) return;
    const { clock, random } = this.#parts;
    const part = RENEW_FROM + (RENEW_UNTIL - RENEW_FROM) * random.float();
    this.#timer = clock.schedule(lifetimeMs * part, () => void this.#renew(), { background: true });
  }

  /** Sends once the exchange is over. Rejects as `send` does, or with what `close` is given. */
  hold<Response>(send: () => Promise<Response>): Promise<Response> {
    const held = this.#held;
    if (held === null) return send();
    return new Promise((resolve, reject) => held.push({ send: () => void send().then(resolve, reject), reject }));
  }

  /** Fails what is held. */
  close(error: Error): void {
    this.#timer?.cancel();
    for (const request of this.#held ?? []) request.reject(error);
    this.#held = null;
  }

  async #renew(): Promise<void> {
    this.#held = [];
    try {
      this.scheduleWithin(await this.#parts.authenticate());
    } catch (error) {
      this.#parts.onFailed(error);
      return;
    }
    const held = this.#held ?? [];
    this.#held = null;
    for (const request of held) request.send();
  }
}
