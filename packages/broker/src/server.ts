/** The broker's doors: accepts connections, as many as there may be, and closes those that say nothing. */

import {
  type Address,
  type ByteStream,
  createDeferred,
  type Listener,
  MEBIBYTE,
  type Network,
  type Timer,
} from "@millrace/base";
import { BufferPool } from "./buffer-pool.ts";
import { Connection, hostOf } from "./connection.ts";
import { Dispatcher } from "./dispatch.ts";
import type { BrokerServices, Handler } from "./handler.ts";
import { COPIED_BATCH_BYTES } from "./log/batch-memory.ts";
import { RequestBudget } from "./request-budget.ts";
import type { Access, Client } from "./security/access.ts";
import type { SaslSession } from "./security/sasl-session.ts";

/** Of memory for requests, kept for the next ones. */
const FREE_FRAME_BYTES = 8 * MEBIBYTE;
/** How long closing waits for clients to take their last answers. */
const CLOSE_GRACE_MS = 1000;
/** Idle connections, and those that read nothing, are looked for this many times per limit. */
const IDLE_CHECKS = 10;

/** Who comes in by a listener. */
export interface Admission {
  /** Where clients find the broker, if not at the address that is bound. */
  readonly reachedAt?: Address;
  /** Where clients are told to connect that reached the broker at this address. */
  advertise(reached: Address): Address;
  /** A session for a connection that has to log in; null for one that has not. */
  saslSession(): SaslSession | null;
  /** What a client may do who comes in here. */
  accessOf(client: Client): Access;
  /** Whether quotas, and limits of one address, hold for who comes in here. */
  readonly isLimited: boolean;
}

export class Server {
  readonly #broker: BrokerServices;
  readonly #dispatcher: Dispatcher;
  readonly #budget: RequestBudget;
  readonly #frameMemory = new BufferPool(FREE_FRAME_BYTES, COPIED_BATCH_BYTES);
  readonly #connections = new Set<Connection>();
  readonly #countByHost = new Map<string, number>();
  readonly #listeners: Listener[] = [];
  #idleTimer: Timer | null = null;
  #isClosing = false;
  #onLastClosed: (() => void) | null = null;

  constructor(broker: BrokerServices, handlers: readonly Handler[]) {
    this.#broker = broker;
    this.#dispatcher = new Dispatcher(handlers);
    this.#budget = new RequestBudget(broker.options.maxRequestBytes);
    this.#watchIdle();
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Returns the address really bound. Rejects as the network's listen does. */
  async listen(network: Network, address: Address, admission: Admission): Promise<Address> {
    let bound = address;
    const listener = await network.listen(address, (stream) => this.#accept(stream, bound, admission));
    bound = listener.address;
    this.#listeners.push(listener);
    return bound;
  }

  /** Closes all connections, answered or not; new ones are taken. */
  disconnectAll(reason: string): void {
    for (const connection of this.#connections) connection.destroy(reason);
  }

  /** Accepts no more, answers what was asked, and closes. May be called twice. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#idleTimer?.cancel();
    const listeners = this.#listeners.splice(0);
    const accepted = Promise.all(listeners.map((listener) => listener.close()));
    if (this.#connections.size > 0) {
      const lastClosed = createDeferred<void>();
      this.#onLastClosed = () => lastClosed.resolve();
      for (const connection of this.#connections) connection.end();
      const timer = this.#broker.clock.schedule(CLOSE_GRACE_MS, () => {
        this.disconnectAll("the broker closes");
      });
      await lastClosed.promise;
      timer.cancel();
    }
    await accepted;
  }

  #accept(stream: ByteStream, bound: Address, admission: Admission): void {
    const host = admission.isLimited ? hostOf(stream.remote) : null;
    const limit = this.#limitReached(host);
    if (this.#isClosing || limit !== null) {
      if (limit !== null) this.#broker.logger.warn({ remote: stream.remote, ...limit }, "refused a connection");
      stream.destroy();
      return;
    }
    const connection = new Connection({
      stream,
      dispatcher: this.#dispatcher,
      broker: this.#broker,
      budget: this.#budget,
      frameMemory: this.#frameMemory,
      advertised: admission.advertise(reached(stream, admission.reachedAt ?? bound)),
      sasl: admission.saslSession(),
      accessOf: admission.accessOf,
      isLimited: admission.isLimited,
      onClose: () => this.#forget(connection, host),
    });
    this.#connections.add(connection);
    if (host !== null) this.#countByHost.set(host, (this.#countByHost.get(host) ?? 0) + 1);
    connection.start();
  }

  /** The option that allows no further connection from this address, and its value; null if there may be one. */
  #limitReached(host: string | null): Readonly<Record<string, number>> | null {
    const { maxConnections, maxConnectionsPerIp } = this.#broker.options;
    if (this.#connections.size >= maxConnections) return { maxConnections };
    const ofHost = host === null ? 0 : (this.#countByHost.get(host) ?? 0);
    return ofHost >= maxConnectionsPerIp ? { maxConnectionsPerIp } : null;
  }

  #forget(connection: Connection, host: string | null): void {
    this.#connections.delete(connection);
    if (host !== null) {
      const count = (this.#countByHost.get(host) ?? 1) - 1;
      if (count === 0) this.#countByHost.delete(host);
      else this.#countByHost.set(host, count);
    }
    if (this.#connections.size === 0) this.#onLastClosed?.();
  }

  #watchIdle(): void {
    const { clock, options } = this.#broker;
    this.#idleTimer = clock.schedule(
      Math.min(options.idleConnectionMs, options.answerTimeoutMs) / IDLE_CHECKS,
      () => {
        const nowMs = clock.nowMs();
        for (const connection of this.#connections) {
          if (connection.idleMs(nowMs) > options.idleConnectionMs) connection.destroy("idle");
          if (connection.stalledMs(nowMs) > options.answerTimeoutMs) connection.destroy("its answers are not read");
        }
        this.#watchIdle();
      },
      { background: true },
    );
  }
}

/** Whoever reached us on an address can reach us there again; a name may mean another machine elsewhere. */
function reached(stream: ByteStream, { host, port }: Address): Address {
  return { host: stream.localHost ?? host, port };
}
