/** One client's connection: frames in, responses out in the same order, and no more of either than there is room for. */

import type { Address, ByteStream, Clock, Logger, Timer } from "@millrace/base";
import { FrameSplitter, KafkaError, WireError } from "@millrace/protocol";
import type { BufferPool } from "./buffer-pool.ts";
import type { Dispatcher, RequestFrame } from "./dispatch.ts";
import type { BrokerServices, QuotaMeter, RequestContext } from "./handler.ts";
import type { RequestBudget } from "./request-budget.ts";
import type { Access, Client } from "./security/access.ts";
import { ANONYMOUS, type SaslSession } from "./security/sasl-session.ts";

export interface ConnectionParts {
  readonly stream: ByteStream;
  readonly dispatcher: Dispatcher;
  readonly broker: BrokerServices;
  readonly budget: RequestBudget;
  readonly frameMemory: BufferPool;
  /** What this client is told to connect to. */
  readonly advertised: Address;
  /** Null: who is on the other side need not log in. */
  readonly sasl: SaslSession | null;
  /** What a client may do who came in here. */
  accessOf(client: Client): Access;
  /** Whether quotas hold for this client: not for one in the same process. */
  readonly isLimited: boolean;
  readonly onClose: () => void;
}

/** A request that was started and whose response has not been written. */
interface Exchange {
  readonly isPipelined: boolean;
  readonly frame: Buffer;
  /** Undefined while it is in progress; null when it has no response. */
  response: readonly Uint8Array[] | null | undefined;
  hurryListeners: (() => void)[];
  readonly sentListeners: ((hasLeft: boolean) => void)[];
}

/**
 *     bytes → splitter → inbox ──start──→ exchanges ──in order──→ stream
 *                          └ waits while the response before it has not drained, unless both are pipelined
 *
 * A request starts when all before it are answered, as with Kafka, except that several Produce requests may be in
 * progress together: each takes its offsets when it starts, and they share one sync of the disk.
 */
export class Connection {
  readonly remote: string;
  readonly #parts: ConnectionParts;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stream: ByteStream;
  readonly #splitter: FrameSplitter;
  #inbox: Buffer[] = [];
  #exchanges: Exchange[] = [];
  #lastActiveMs: number;
  #writtenMs = 0;
  #client = "";
  #access: { readonly principal: string; readonly access: Access } | null = null;
  #metered: { readonly principal: string; readonly clientId: string; readonly meter: QuotaMeter } | null = null;
  #isKnownClient = false;
  #isDrained = true;
  /** Of answers that were written and may not have left yet. */
  readonly #sentListeners: ((hasLeft: boolean) => void)[] = [];
  #isReading = true;
  #isFlushQueued = false;
  /** Set while the client has to pause: it has used more than its quota. */
  #muteTimer: Timer | null = null;
  #mutedUntilMs = 0;
  /** Nothing more is read: the client ended its side, or the broker closes. */
  #isEnding = false;
  #isClosed = false;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    this.#clock = parts.broker.clock;
    this.#logger = parts.broker.logger;
    this.#stream = parts.stream;
    this.remote = parts.stream.remote;
    this.#splitter = new FrameSplitter(parts.broker.options.maxFirstFrameBytes, parts.frameMemory);
    this.#lastActiveMs = this.#clock.nowMs();
  }

  start(): void {
    this.#stream.start({
      onData: (bytes) => this.#receive(bytes),
      onDrain: () => {
        this.#isDrained = true;
        this.#callSentListeners();
        this.#startRequests();
      },
      onEnd: () => this.end(),
      onClose: (error) => this.#release(error),
    });
  }

  /** How long nothing came and nothing left, with no request in progress. */
  idleMs(nowMs: number): number {
    const isAtWork = (this.#exchanges.length > 0 && this.#isDrained) || this.#isMuted;
    return isAtWork ? 0 : nowMs - this.#lastActiveMs;
  }

  /** For how long the client has not taken what was written to it. */
  stalledMs(nowMs: number): number {
    return this.#isDrained ? 0 : nowMs - this.#writtenMs;
  }

  /** Answers what was asked, then closes. Requests that wait for something are answered with what there is. */
  end(): void {
    this.#isEnding = true;
    this.#inbox = [];
    this.#hurry();
    this.#endIfAnswered();
  }

  destroy(reason: string): void {
    if (!this.#isClosed) this.#logger.debug({ remote: this.remote, reason }, "closing a connection");
    this.#stream.destroy();
  }

  #receive(bytes: Buffer): void {
    if (this.#isEnding) return;
    this.#lastActiveMs = this.#clock.nowMs();
    try {
      this.#splitter.push(bytes, (frame) => this.#admit(frame));
    } catch (error) {
      this.#refuse(error);
      return;
    }
    if (this.#inbox.length > 0) this.#hurry();
    this.#startRequests();
  }

  #admit(frame: Buffer): void {
    if (!this.#isKnownClient && this.#isLoggedIn && this.#parts.dispatcher.isRequest(frame)) {
      this.#isKnownClient = true;
      this.#splitter.limitBytes = this.#parts.broker.options.maxFrameBytes;
    }
    this.#parts.budget.take(frame.length);
    this.#inbox.push(frame);
  }

  get #isLoggedIn(): boolean {
    return this.#parts.sasl === null || this.#parts.sasl.isAuthenticated;
  }

  #startRequests(): void {
    while (!this.#isClosed && !this.#isEnding) {
      const frame = this.#inbox[0];
      if (frame === undefined || !this.#mayStart(frame)) break;
      this.#inbox.shift();
      this.#startRequest(frame);
    }
    this.#updateReading();
  }

  #mayStart(frame: Buffer): boolean {
    if (!this.#isDrained || this.#isMuted) return false;
    if (this.#exchanges.length === 0) return true;
    if (this.#exchanges.length >= this.#parts.broker.options.maxPendingResponses) return false;
    return (
      this.#parts.dispatcher.isPipelined(frame) && this.#exchanges[this.#exchanges.length - 1]?.isPipelined === true
    );
  }

  #startRequest(frame: Buffer): void {
    const { dispatcher, sasl } = this.#parts;
    const exchange: Exchange = {
      isPipelined: dispatcher.isPipelined(frame),
      frame,
      response: undefined,
      hurryListeners: [],
      sentListeners: [],
    };
    this.#exchanges.push(exchange);
    if (sasl?.expectsBareTokens === true) {
      this.#settle(exchange, answerBareToken(sasl, frame));
      return;
    }
    let request: RequestFrame;
    try {
      request = dispatcher.read(frame);
      this.#expectPermission(request);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.#settle(exchange, dispatcher.answer(request, this.#contextOf(request, exchange)), request);
  }

  #settle(exchange: Exchange, answered: Promise<readonly Uint8Array[] | null>, request?: RequestFrame): void {
    answered.then(
      (response) => {
        exchange.response = response;
        this.#queueFlush();
      },
      (error) => this.#refuse(error, request),
    );
  }

  /** Throws for a client that asks for more than it may before it has logged in; Kafka closes the connection then too. */
  #expectPermission(request: RequestFrame): void {
    if (this.#isLoggedIn || this.#parts.dispatcher.isOpenToAll(request)) return;
    throw new KafkaError("ILLEGAL_SASL_STATE", "the client has not logged in, or too long ago");
  }

  get #principal(): string {
    const { sasl, stream } = this.#parts;
    if (sasl !== null) return sasl.principal;
    return stream.peerSubject == null ? ANONYMOUS : `User:${stream.peerSubject}`;
  }

  /** Who a client is changes with its login. */
  #accessOf(principal: string): Access {
    if (this.#access?.principal !== principal) {
      this.#access = { principal, access: this.#parts.accessOf({ principal, host: hostOf(this.remote) }) };
    }
    return this.#access.access;
  }

  #contextOf({ header }: RequestFrame, exchange: Exchange): RequestContext {
    const { broker, dispatcher, advertised, sasl } = this.#parts;
    const principal = this.#principal;
    return {
      version: header.apiVersion,
      clientId: header.clientId,
      remote: this.remote,
      advertised,
      advertisedApis: dispatcher.advertisedApis,
      principal,
      access: this.#accessOf(principal),
      sasl,
      quota: this.#meterOf(principal, header.clientId ?? ""),
      broker,
      onHurry: (listener) => this.#onHurry(exchange, listener),
      onSent: (listener) => {
        if (this.#isClosed) listener(false);
        else exchange.sentListeners.push(listener);
      },
      closeConnection: (reason) => {
        this.#logger.warn({ remote: this.remote, client: this.#client, reason }, "closing a connection");
        this.#stream.destroy();
      },
      endAfterAnswer: () => this.end(),
      identifyClient: (name, version) => {
        this.#client = `${name} ${version}`;
        this.#logger.debug({ remote: this.remote, client: this.#client }, "client connected");
      },
    };
  }

  /** Which quota holds for a client changes with its login, and with what it calls itself. */
  #meterOf(principal: string, clientId: string): QuotaMeter {
    if (!this.#parts.isLimited) return UNLIMITED;
    if (this.#metered?.principal !== principal || this.#metered.clientId !== clientId) {
      this.#metered = { principal, clientId, meter: this.#newMeter(principal, clientId) };
    }
    return this.#metered.meter;
  }

  #newMeter(principal: string, clientId: string): QuotaMeter {
    const { quotas } = this.#parts.broker;
    const client = { user: principal.slice(PRINCIPAL_TYPE.length), clientId };
    return {
      charge: (name, sizeBytes) => {
        const throttleMs = quotas.charge(name, client, sizeBytes);
        if (throttleMs > 0) this.#mute(throttleMs);
        return throttleMs;
      },
      answerLimitBytes: (name) => quotas.answerLimitBytes(name, client),
    };
  }

  get #isMuted(): boolean {
    return this.#muteTimer !== null;
  }

  /** Reads and starts nothing for so long; what was started is answered. */
  #mute(throttleMs: number): void {
    const nowMs = this.#clock.nowMs();
    if (this.#isClosed || nowMs + throttleMs <= this.#mutedUntilMs) return;
    this.#mutedUntilMs = nowMs + throttleMs;
    this.#muteTimer?.cancel();
    const unmute = () => {
      this.#muteTimer = null;
      this.#startRequests();
    };
    this.#muteTimer = this.#clock.schedule(throttleMs, unmute, { background: true });
  }

  #onHurry(exchange: Exchange, listener: () => void): () => void {
    if (this.#isClosed || this.#isEnding || this.#inbox.length > 0) {
      queueMicrotask(listener);
      return () => {};
    }
    exchange.hurryListeners.push(listener);
    return () => {
      exchange.hurryListeners = exchange.hurryListeners.filter((candidate) => candidate !== listener);
    };
  }

  #hurry(): void {
    for (const exchange of this.#exchanges) {
      const listeners = exchange.hurryListeners;
      exchange.hurryListeners = [];
      for (const listener of listeners) listener();
    }
  }

  /** Waits for the end of this turn, so that all responses that one sync of the disk released leave in one write. */
  #queueFlush(): void {
    if (this.#isFlushQueued) return;
    this.#isFlushQueued = true;
    this.#clock.defer(() => {
      this.#isFlushQueued = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#isClosed) return;
    const chunks: Uint8Array[] = [];
    let answeredCount = 0;
    let answeredBytes = 0;
    for (const { response, frame, sentListeners } of this.#exchanges) {
      if (response === undefined) break;
      this.#sentListeners.push(...sentListeners);
      answeredCount += 1;
      answeredBytes += frame.length;
      if (response === null) continue;
      chunks.push(...response);
      if (this.#parts.dispatcher.isDoneWithBytes(frame)) this.#parts.frameMemory.give(frame);
    }
    this.#exchanges.splice(0, answeredCount);
    if (chunks.length > 0) {
      this.#isDrained = this.#stream.write(chunks);
      this.#lastActiveMs = this.#clock.nowMs();
      this.#writtenMs = this.#lastActiveMs;
    }
    if (this.#isDrained) this.#callSentListeners();
    this.#parts.budget.give(answeredBytes);
    this.#startRequests();
    this.#endIfAnswered();
  }

  #callSentListeners(): void {
    // A stream that takes more may still be reading the last bytes.
    const haveLeft = !this.#isClosed && this.#stream.bufferedBytes === 0;
    for (const listener of this.#sentListeners.splice(0)) listener(haveLeft);
  }

  #updateReading(): void {
    if (this.#isClosed) return;
    const { budget } = this.#parts;
    const shouldRead = this.#inbox.length === 0 && this.#isDrained && !this.#isMuted && !budget.isExceeded;
    if (budget.isExceeded) budget.onRoom(this, () => this.#updateReading());
    if (shouldRead === this.#isReading) return;
    this.#isReading = shouldRead;
    if (shouldRead) this.#stream.resume();
    else this.#stream.pause();
  }

  #endIfAnswered(): void {
    if (this.#isEnding && this.#exchanges.length === 0) this.#stream.end();
  }

  /** Bytes that are not the protocol's, or a bug while answering: this connection ends, nothing else does. */
  #refuse(error: unknown, request?: RequestFrame): void {
    if (this.#isClosed) return;
    const { apiKey, apiVersion } = request?.header ?? {};
    const fields = { remote: this.remote, client: this.#client, apiKey, apiVersion };
    if (error instanceof WireError) {
      this.#logger.warn({ ...fields, reason: error.message }, "closing a connection: malformed request");
    } else if (error instanceof KafkaError) {
      this.#logger.warn({ ...fields, reason: error.message }, "closing a connection");
    } else {
      this.#logger.error({ ...fields, error }, "closing a connection: its request could not be answered");
    }
    this.#stream.destroy();
    this.#release(null);
  }

  #release(error: Error | null): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#muteTimer?.cancel();
    if (error !== null) this.#logger.debug({ remote: this.remote, reason: error.message }, "connection lost");
    this.#hurry();
    const heldBytes = [...this.#exchanges.map(({ frame }) => frame.length), ...this.#inbox.map(({ length }) => length)];
    this.#parts.budget.give(heldBytes.reduce((sum, sizeBytes) => sum + sizeBytes, 0));
    for (const { sentListeners } of this.#exchanges) this.#sentListeners.push(...sentListeners);
    this.#callSentListeners();
    this.#exchanges = [];
    this.#inbox = [];
    this.#parts.budget.forget(this);
    this.#parts.onClose();
  }
}

const PRINCIPAL_TYPE = "User:";
const UNLIMITED: QuotaMeter = { charge: () => 0, answerLimitBytes: () => Number.POSITIVE_INFINITY };

/** The address in "address:port". One of IPv4 that came in by IPv6 is what it is. */
export function hostOf(remote: string): string {
  return remote.slice(0, remote.lastIndexOf(":")).replace(/^::ffff:(?=\d+\.)/, "");
}

const LENGTH_BYTES = 4;

/** One step of a login as clients took it before there were requests for it: a length and a token, to and fro. */
async function answerBareToken(sasl: SaslSession, token: Buffer): Promise<readonly Uint8Array[]> {
  const { answer } = await sasl.authenticate(token);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeInt32BE(answer.length);
  return [length, answer];
}
