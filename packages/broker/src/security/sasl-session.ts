/** Whether one connection has shown who is at its other end, and the exchange by which it does. */

import { type Clock, type Random, sleep } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import type { SaslUsers } from "./sasl-users.ts";
import { refused, ScramExchange, type ScramMechanism } from "./scram.ts";

export const saslMechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] as const;
export type SaslMechanism = (typeof saslMechanisms)[number];

/** What clients are that nobody asked who they are. */
export const ANONYMOUS = "User:ANONYMOUS";

export interface SaslParts {
  readonly users: SaslUsers;
  readonly mechanisms: readonly SaslMechanism[];
  readonly clock: Clock;
  readonly random: Random;
  /** How long a client that failed waits for its answer: slow enough to make guessing pointless. */
  readonly failureDelayMs: number;
  /** How long a login lasts; 0 for ever (KIP-368). */
  readonly sessionMs: number;
}

type Exchange = { readonly mechanism: "PLAIN" } | { readonly mechanism: ScramMechanism; readonly scram: ScramExchange };

/**
 *     handshake ──→ exchanging ──→ authenticated ──┐
 *                       │   ↑                      │ again, before the session ends (KIP-368)
 *                       ↓   └──────────────────────┘
 *                    failed: the connection is closed
 */
export class SaslSession {
  readonly #parts: SaslParts;
  #exchange: Exchange | null = null;
  #hasBareTokens = false;
  #mechanism: SaslMechanism | null = null;
  #username: string | null = null;
  #endsAtMs = Number.POSITIVE_INFINITY;

  constructor(parts: SaslParts) {
    this.#parts = parts;
  }

  get mechanisms(): readonly SaslMechanism[] {
    return this.#parts.mechanisms;
  }

  get principal(): string {
    return this.#username === null ? ANONYMOUS : `User:${this.#username}`;
  }

  /** Whether requests are taken: the client said who it is, and that is not too long ago. */
  get isAuthenticated(): boolean {
    return this.#username !== null && this.#exchange === null && this.#parts.clock.nowMs() < this.#endsAtMs;
  }

  /** Whether the next frames are tokens without a request around them, as after a handshake of version 0. */
  get expectsBareTokens(): boolean {
    return this.#hasBareTokens && this.#exchange !== null;
  }

  /** Throws KafkaError UNSUPPORTED_SASL_MECHANISM or ILLEGAL_SASL_STATE. */
  begin(name: string, hasBareTokens: boolean): void {
    const { clock, mechanisms, random, users, sessionMs } = this.#parts;
    const mechanism = mechanisms.find((candidate) => candidate === name);
    if (mechanism === undefined) {
      throw new KafkaError("UNSUPPORTED_SASL_MECHANISM", `${name} is not among ${mechanisms.join(", ")}`);
    }
    const isAgain = this.#username !== null;
    if (this.#exchange !== null || (isAgain && (sessionMs === 0 || clock.nowMs() >= this.#endsAtMs))) {
      throw new KafkaError("ILLEGAL_SASL_STATE", "a SASL handshake is not expected now");
    }
    if (isAgain && mechanism !== this.#mechanism) throw refused("another mechanism than the first time");
    this.#mechanism = mechanism;
    this.#hasBareTokens = hasBareTokens;
    this.#exchange =
      mechanism === "PLAIN"
        ? { mechanism }
        : {
            mechanism,
            scram: new ScramExchange(mechanism, random, (username) => users.credentialOf(username, mechanism)),
          };
  }

  /**
   * Takes one token, and gives the one to answer with and, once the client is known, how long that holds: 0 for ever.
   *
   * Rejects with SASL_AUTHENTICATION_FAILED, after a while, or ILLEGAL_SASL_STATE; the connection is to be closed then.
   */
  async authenticate(token: Buffer): Promise<{ readonly answer: Buffer; readonly sessionLifetimeMs: number }> {
    const exchange = this.#exchange;
    if (exchange === null) throw new KafkaError("ILLEGAL_SASL_STATE", "a SASL handshake must come first");
    try {
      const { answer, username } = await this.#step(exchange, token.toString("utf8"));
      if (username !== null) this.#admit(username);
      const sessionLifetimeMs = username === null ? 0 : this.#parts.sessionMs;
      return { answer: Buffer.from(answer), sessionLifetimeMs };
    } catch (error) {
      const { clock, failureDelayMs } = this.#parts;
      await sleep(clock, failureDelayMs);
      throw error;
    }
  }

  async #step(exchange: Exchange, token: string): Promise<{ answer: string; username: string | null }> {
    if (exchange.mechanism !== "PLAIN") return exchange.scram.step(token);
    const [authorizationName, username, password, ...rest] = token.split("\0");
    if (username === undefined || password === undefined || username === "" || rest.length > 0) {
      throw refused("PLAIN: the client's message is malformed");
    }
    if (authorizationName !== "" && authorizationName !== username) {
      throw refused("PLAIN: nobody may act for another user");
    }
    if (!(await this.#parts.users.isPasswordOf(username, password))) {
      throw refused("invalid credentials with SASL mechanism PLAIN");
    }
    return { answer: "", username };
  }

  #admit(username: string): void {
    if (this.#username !== null && this.#username !== username) throw refused("another user than the first time");
    const { clock, sessionMs } = this.#parts;
    this.#username = username;
    this.#exchange = null;
    if (sessionMs > 0) this.#endsAtMs = clock.nowMs() + sessionMs;
  }
}
