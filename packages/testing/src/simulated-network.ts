/** A network on virtual time that does what networks do: delays, cuts chunks and connections, loses hosts. All of it from a seed. */

import {
  type Address,
  assert,
  type ByteStream,
  type Clock,
  formatAddress,
  type Listener,
  type Network,
  never,
  type Random,
  type StreamHandlers,
} from "@millrace/base";

/** Bytes under way before `write` asks the sender to wait. */
const HIGH_WATER_BYTES = 256 * 1024;
const FIRST_PORT = 30_000;
/** Where connections come from that were not made through `from`. */
const NAMELESS_HOST = "somewhere";

export interface SimulatedNetworkOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** What each piece's way takes at least and at most. Within one direction none overtakes another. */
  readonly delayMs?: readonly [least: number, most: number];
  /** How likely what is written arrives in two pieces, cut anywhere; each may be cut again. */
  readonly splitProbability?: number;
  /** How likely each piece is to be the one that does not arrive: its connection is cut. */
  readonly cutProbability?: number;
  /** Told of all that the network does, in order: the same seed tells the same. */
  readonly trace?: (event: string) => void;
}

export class SimulatedNetwork implements Network {
  /** May be changed at any time: a run that ends in a calm phase sets it to 0. */
  cutProbability: number;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #leastDelayMs: number;
  readonly #mostDelayMs: number;
  readonly #splitProbability: number;
  readonly #trace: (event: string) => void;
  readonly #listeners = new Map<string, { readonly host: string; readonly onStream: (stream: ByteStream) => void }>();
  readonly #connections = new Set<Connection>();
  readonly #downHosts = new Set<string>();
  readonly #isolatedHosts = new Set<string>();
  #nextPort = FIRST_PORT;
  #connectionCount = 0;

  constructor(options: SimulatedNetworkOptions) {
    this.#clock = options.clock;
    this.#random = options.random;
    [this.#leastDelayMs, this.#mostDelayMs] = options.delayMs ?? [0.05, 2];
    this.#splitProbability = options.splitProbability ?? 0.1;
    this.cutProbability = options.cutProbability ?? 0;
    this.#trace = options.trace ?? (() => {});
  }

  /** The same network as one host sees it: what it connects is lost with the host. */
  from(host: string): Network {
    return {
      connect: (address) => this.#connect(host, address),
      listen: (address, onStream) => this.listen(address, onStream),
    };
  }

  connect(address: Address): ByteStream {
    return this.#connect(NAMELESS_HOST, address);
  }

  async listen(address: Address, onStream: (stream: ByteStream) => void): Promise<Listener> {
    const bound = { host: address.host, port: address.port === 0 ? this.#nextPort++ : address.port };
    const key = formatAddress(bound);
    if (this.#downHosts.has(bound.host)) throw networkError("EADDRNOTAVAIL", `listen ${key}`);
    if (this.#listeners.has(key)) throw networkError("EADDRINUSE", `listen ${key}`);
    const listener = { host: bound.host, onStream };
    this.#listeners.set(key, listener);
    return {
      address: bound,
      close: async () => {
        // After the host was down, somebody else may listen there.
        if (this.#listeners.get(key) === listener) this.#listeners.delete(key);
      },
    };
  }

  /** Ends of connections that the host has not closed. */
  openStreamCount(host: string): number {
    let count = 0;
    for (const connection of this.#connections) count += connection.openStreamCount(host);
    return count;
  }

  /** Cuts the open connections of a host, or all. Both ends learn of it, each in its own time. */
  cut(host?: string): void {
    for (const connection of [...this.#connections]) {
      if (host === undefined || connection.touches(host)) connection.cut();
    }
  }

  /** The host is gone at once, with its listeners and its ends of connections; others learn of it, and cannot connect. */
  takeDown(host: string): void {
    this.#trace(`${host} is down`);
    this.#downHosts.add(host);
    for (const [key, listener] of this.#listeners) if (listener.host === host) this.#listeners.delete(key);
    for (const connection of [...this.#connections]) connection.lose(host);
  }

  bringUp(host: string): void {
    this.#trace(`${host} is up`);
    this.#downHosts.delete(host);
  }

  /** Nothing reaches the host or leaves it, and nobody is told; what is under way waits for `heal`. */
  isolate(host: string): void {
    this.#trace(`${host} is isolated`);
    this.#isolatedHosts.add(host);
  }

  heal(host: string): void {
    this.#trace(`${host} is back`);
    this.#isolatedHosts.delete(host);
    for (const connection of this.#connections) connection.release();
  }

  #connect(clientHost: string, address: Address): ByteStream {
    const connection = new Connection({
      name: `connection ${++this.#connectionCount}, ${clientHost} to ${formatAddress(address)}`,
      hosts: [clientHost, address.host],
      address,
      clock: this.#clock,
      trace: this.#trace,
      delayMs: () => this.#leastDelayMs + this.#random.float() * (this.#mostDelayMs - this.#leastDelayMs),
      isCutNow: () => this.#random.float() < this.cutProbability,
      isHeld: () => this.#isolatedHosts.has(clientHost) || this.#isolatedHosts.has(address.host),
      split: (bytes) => this.#split(bytes),
      listener: () =>
        this.#downHosts.has(address.host) ? undefined : this.#listeners.get(formatAddress(address))?.onStream,
      onOver: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
    if (this.#downHosts.has(clientHost)) connection.lose(clientHost);
    return connection.near;
  }

  #split(bytes: Buffer): Buffer[] {
    if (bytes.length < 2 || this.#random.float() >= this.#splitProbability) return [bytes];
    const at = 1 + this.#random.integer(bytes.length - 1);
    return [...this.#split(bytes.subarray(0, at)), ...this.#split(bytes.subarray(at))];
  }
}

/** What a connection needs of its network. */
interface ConnectionOptions {
  /** Its number, and who connects to whom. */
  readonly name: string;
  readonly hosts: readonly [client: string, server: string];
  readonly address: Address;
  readonly clock: Clock;
  readonly trace: (event: string) => void;
  delayMs(): number;
  isCutNow(): boolean;
  isHeld(): boolean;
  split(bytes: Buffer): Buffer[];
  listener(): ((stream: ByteStream) => void) | undefined;
  onOver(): void;
}

/** What travels in one direction, in order. */
type Parcel =
  | { readonly kind: "connect" }
  | { readonly kind: "accepted" }
  | { readonly kind: "data"; readonly bytes: Buffer }
  | { readonly kind: "end" }
  | { readonly kind: "reset"; readonly error: Error };

/** Two ends, and what happens to both of them at once. */
class Connection {
  readonly options: ConnectionOptions;
  readonly near: SimulatedStream;
  readonly #far: SimulatedStream;
  #isAccepted = false;
  #isOver = false;

  constructor(options: ConnectionOptions) {
    this.options = options;
    const [clientHost, serverHost] = options.hosts;
    this.near = new SimulatedStream(this, formatAddress(options.address), null);
    this.#far = new SimulatedStream(this, clientHost, serverHost);
    this.near.join(this.#far);
    this.#far.join(this.near);
    this.near.send({ kind: "connect" });
  }

  trace(event: string): void {
    this.options.trace(`${this.options.name}: ${event}`);
  }

  touches(host: string): boolean {
    return this.options.hosts.includes(host);
  }

  /** The listening host has no end before it has accepted. */
  openStreamCount(host: string): number {
    const [clientHost, serverHost] = this.options.hosts;
    const isNearOpen = clientHost === host && !this.near.isClosed;
    const isFarOpen = serverHost === host && this.#isAccepted && !this.#far.isClosed;
    return (isNearOpen ? 1 : 0) + (isFarOpen ? 1 : 0);
  }

  /** The connecting side's first parcel has come to the host: is somebody there? */
  accept(): void {
    const onStream = this.options.listener();
    if (onStream === undefined) {
      this.trace("refused");
      this.#far.close(null);
      this.#far.send({ kind: "reset", error: this.error("ECONNREFUSED") });
      return;
    }
    this.trace("accepted");
    this.#isAccepted = true;
    this.#far.send({ kind: "accepted" });
    this.#far.open();
    onStream(this.#far);
  }

  cut(): void {
    if (this.#isOver) return;
    this.trace("cut");
    this.#drop();
    const error = this.error("ECONNRESET");
    for (const end of [this.near, this.#far]) {
      this.options.clock.schedule(this.options.delayMs(), () => end.close(error));
    }
  }

  /** One of its hosts is gone: that end closes at once, the other hears of it. */
  lose(host: string): void {
    if (!this.touches(host)) return;
    const [clientHost, serverHost] = this.options.hosts;
    const error = this.error("EHOSTDOWN");
    if (host === clientHost) this.near.close(error);
    if (host === serverHost) this.#far.close(error);
    this.cut();
  }

  release(): void {
    this.near.release();
    this.#far.release();
  }

  /** Nothing that is under way will matter. */
  endIfClosed(): void {
    if (this.near.isClosed && this.#far.isClosed) this.#drop();
  }

  error(code: string): Error {
    return networkError(code, this.options.name);
  }

  #drop(): void {
    this.#isOver = true;
    this.near.drop();
    this.#far.drop();
    this.options.onOver();
  }
}

/**
 * One end.
 *
 *     write → split → underWay ┄┄ delay ┄┄▶ the other end's inbox → onData, unless it is paused
 */
class SimulatedStream implements ByteStream {
  readonly remote: string;
  readonly localHost: string | null;
  readonly #connection: Connection;
  #peer: SimulatedStream | null = null;
  #underWay: Parcel[] = [];
  #underWayBytes = 0;
  #arrivalMs = 0;
  #heldCount = 0;
  #isDropped = false;
  #handlers: StreamHandlers | null = null;
  #inbox: Parcel[] = [];
  #inboxBytes = 0;
  #isStarted = false;
  #isOpen = false;
  #isPaused = false;
  #hasEnded = false;
  #hasEndArrived = false;
  #error: Error | null = null;
  #wantsDrain = false;
  isClosed = false;

  constructor(connection: Connection, remote: string, localHost: string | null) {
    this.#connection = connection;
    this.remote = remote;
    this.localHost = localHost;
  }

  join(peer: SimulatedStream): void {
    this.#peer = peer;
  }

  get bufferedBytes(): number {
    return this.isClosed || this.#peer === null ? 0 : this.#underWayBytes + this.#peer.#inboxBytes;
  }

  start(handlers: StreamHandlers): void {
    assert(this.#handlers === null, "stream was started before");
    this.#handlers = handlers;
    this.#connection.options.clock.defer(() => {
      this.#isStarted = true;
      if (this.#isOpen && !this.isClosed) handlers.onOpen?.();
      this.#deliver();
      if (this.isClosed) handlers.onClose(this.#error);
    });
  }

  write(chunks: readonly Uint8Array[]): boolean {
    if (this.isClosed || this.#hasEnded) return false;
    const bytes = Buffer.concat(chunks);
    if (bytes.length > 0) {
      for (const piece of this.#connection.options.split(bytes)) this.send({ kind: "data", bytes: piece });
    }
    this.#wantsDrain ||= this.bufferedBytes > HIGH_WATER_BYTES;
    return !this.#wantsDrain;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#connection.options.clock.defer(() => this.#deliver());
  }

  end(): void {
    if (this.#hasEnded || this.isClosed) return;
    this.#hasEnded = true;
    this.send({ kind: "end" });
    this.#closeIfOver();
  }

  destroy(error?: Error): void {
    if (this.isClosed) return;
    this.send({ kind: "reset", error: this.#connection.error("ECONNRESET") });
    this.close(error ?? null);
  }

  send(parcel: Parcel): void {
    if (this.#isDropped) return;
    const { clock, delayMs } = this.#connection.options;
    this.#underWay.push(parcel);
    this.#underWayBytes += parcelBytes(parcel);
    const nowMs = clock.nowMs();
    this.#arrivalMs = Math.max(this.#arrivalMs, nowMs + delayMs());
    // Whichever timer fires takes what is first: rounding in the times cannot change the order.
    clock.schedule(this.#arrivalMs - nowMs, () => this.#arrive());
  }

  /** What waited while a host was isolated goes on. */
  release(): void {
    const count = this.#heldCount;
    this.#heldCount = 0;
    for (let index = 0; index < count; index++) this.#connection.options.clock.defer(() => this.#arrive());
  }

  drop(): void {
    this.#isDropped = true;
    this.#underWay = [];
    this.#underWayBytes = 0;
  }

  open(): void {
    this.#isOpen = true;
    if (this.#isStarted) this.#handlers?.onOpen?.();
  }

  close(error: Error | null): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#error = error;
    this.#inbox = [];
    this.#inboxBytes = 0;
    if (this.#isStarted) this.#connection.options.clock.defer(() => this.#handlers?.onClose(error));
    this.#connection.endIfClosed();
  }

  #arrive(): void {
    if (this.#isDropped) return;
    if (this.#connection.options.isHeld()) {
      this.#heldCount += 1;
      return;
    }
    const parcel = this.#underWay.shift();
    if (parcel === undefined) return;
    this.#underWayBytes -= parcelBytes(parcel);
    if (this.#peer !== null) this.#peer.#receive(parcel);
  }

  #receive(parcel: Parcel): void {
    if (this.isClosed) return;
    switch (parcel.kind) {
      case "connect":
        this.#connection.accept();
        break;
      case "accepted":
        this.open();
        break;
      case "reset":
        this.#connection.trace(`reset to ${this.#side}`);
        this.close(parcel.error);
        break;
      case "end":
        this.#inbox.push(parcel);
        this.#deliver();
        break;
      case "data":
        if (this.#connection.options.isCutNow()) {
          this.#connection.cut();
          return;
        }
        this.#connection.trace(`${parcel.bytes.length} bytes to ${this.#side}`);
        this.#inbox.push(parcel);
        this.#inboxBytes += parcel.bytes.length;
        this.#deliver();
        break;
      default:
        never(parcel);
    }
  }

  #deliver(): void {
    if (!this.#isStarted) return;
    while (!this.#isPaused && !this.isClosed) {
      const parcel = this.#inbox.shift();
      if (parcel === undefined) break;
      this.#inboxBytes -= parcelBytes(parcel);
      if (parcel.kind === "data") this.#handlers?.onData(parcel.bytes);
      else this.#onEnd();
    }
    if (this.#peer !== null) this.#peer.#drain();
  }

  #onEnd(): void {
    this.#connection.trace(`end to ${this.#side}`);
    this.#hasEndArrived = true;
    if (this.#handlers?.onEnd === undefined) this.end();
    else this.#handlers.onEnd();
    this.#closeIfOver();
  }

  #closeIfOver(): void {
    if (this.#hasEnded && this.#hasEndArrived) this.close(null);
  }

  #drain(): void {
    if (!this.#wantsDrain || this.isClosed || this.bufferedBytes > HIGH_WATER_BYTES) return;
    this.#wantsDrain = false;
    this.#handlers?.onDrain?.();
  }

  get #side(): string {
    return this.localHost === null ? "client" : "server";
  }
}

function parcelBytes(parcel: Parcel): number {
  return parcel.kind === "data" ? parcel.bytes.length : 0;
}

function networkError(code: string, what: string): Error {
  return Object.assign(new Error(`${code} ${what}`), { code });
}
