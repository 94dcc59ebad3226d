/** The broker's doors: accepts connections, as many as there may be, and closes those that say nothing. */

import { type Address, type ByteStream, createDeferred, type Listener, type Network, type Timer } from "@millrace/base";
import { Connection } from "./connection.ts";
import { Dispatcher } from "./dispatch.ts";
import type { BrokerServices, Handler } from "./handler.ts";
import { RequestBudget } from "./request-budget.ts";
import type { Access, Client } from "./security/access.ts";
import type { SaslSession } from "./security/sasl-session.ts";

/** How long closing waits for clients to take their last answers. */
const CLOSE_GRACE_MS = 1000;
/** Idle connections are looked for this many times per idle limit. */
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
  /** Whether quotas hold for who comes in here. */
  readonly hasQuotas: boolean;
}

export class Server {
  readonly #broker: BrokerServices;
  readonly #dispatcher: Dispatcher;
  readonly #budget: RequestBudget;
  readonly #connections = new Set<Connection>();
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
    const { options, logger } = this.#broker;
    if (this.#isClosing || this.#connections.size >= options.maxConnections) {
      if (!this.#isClosing) {
        logger.warn({ remote: stream.remote, maxConnections: options.maxConnections }, "refused a connection");
      }
      stream.destroy();
      return;
    }
    const connection = new Connection({
      stream,
      dispatcher: this.#dispatcher,
      broker: this.#broker,
      budget: this.#budget,
      advertised: admission.advertise(reached(stream, admission.reachedAt ?? bound)),
      sasl: admission.saslSession(),
      accessOf: admission.accessOf,
      hasQuotas: admission.hasQuotas,
      onClose: () => this.#forget(connection),
    });
    this.#connections.add(connection);
    connection.start();
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#onLastClosed?.();
  }

  #watchIdle(): void {
    const { clock, options } = this.#broker;
    this.#idleTimer = clock.schedule(
      options.idleConnectionMs / IDLE_CHECKS,
      () => {
        const nowMs = clock.nowMs();
        for (const connection of this.#connections) {
          if (connection.idleMs(nowMs) > options.idleConnectionMs) connection.destroy("idle");
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
