/** One broker of the cluster: its address, and the connection to it, opened when it is needed. */

import { type Address, type Clock, formatAddress, sleep } from "@millrace/base";
import { ClosedError } from "../errors.ts";
import type { Connection } from "./connection.ts";

export interface NodeOptions {
  readonly clock: Clock;
  readonly address: Address;
  createConnection(address: Address): Connection;
  /** Wait before the connect after so many failures; attempt 0 is the first after a failure. */
  backoffMs(attempt: number): number;
}

export class Node {
  readonly address: Address;
  readonly #options: NodeOptions;
  readonly #closing = new AbortController();
  #connection: Connection | null = null;
  #opening: Promise<Connection> | null = null;
  #failureCount = 0;
  #retryAtMs = 0;

  constructor(options: NodeOptions) {
    this.#options = options;
    this.address = options.address;
  }

  /** Null unless it can be used now. */
  get openConnection(): Connection | null {
    return this.#connection?.isOpen === true ? this.#connection : null;
  }

  /** Failed lately: not to be preferred. */
  get isBackingOff(): boolean {
    return this.#failureCount > 0 && this.#options.clock.nowMs() < this.#retryAtMs;
  }

  /**
   * The open connection, or a new one. After a failure the next try waits for the backoff; callers that come meanwhile
   * share it. Rejects with the KafkaError of that one try.
   */
  connect(): Promise<Connection> {
    const open = this.openConnection;
    if (open !== null) return Promise.resolve(open);
    if (this.#closing.signal.aborted) return Promise.reject(this.#closing.signal.reason);
    this.#opening ??= this.#open().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  /** Lets what is in flight finish, then closes the connection; another is opened when it is needed. */
  disconnect(): void {
    const connection = this.#connection;
    this.#connection = null;
    // Not in this turn: who was given the connection a moment ago is about to send on it.
    if (connection !== null) this.#options.clock.defer(() => connection.closeWhenIdle());
  }

  /** Lets what is in flight finish, then closes for good. */
  retire(): void {
    this.#abort();
    this.disconnect();
  }

  close(): void {
    this.#abort();
    this.#connection?.close();
  }

  #abort(): void {
    this.#closing.abort(new ClosedError(`connect to ${formatAddress(this.address)}`));
  }

  async #open(): Promise<Connection> {
    const { clock } = this.#options;
    const waitMs = this.#retryAtMs - clock.nowMs();
    if (this.#failureCount > 0 && waitMs > 0) await sleep(clock, waitMs, this.#closing.signal);
    const connection = this.#options.createConnection(this.address);
    const onAbort = () => connection.close();
    this.#closing.signal.addEventListener("abort", onAbort, { once: true });
    this.#connection = connection;
    try {
      await connection.open();
    } catch (error) {
      this.#retryAtMs = clock.nowMs() + this.#options.backoffMs(this.#failureCount);
      this.#failureCount += 1;
      throw error;
    } finally {
      this.#closing.signal.removeEventListener("abort", onAbort);
    }
    this.#failureCount = 0;
    return connection;
  }
}
