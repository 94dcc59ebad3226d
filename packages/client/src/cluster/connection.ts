/** One connection to one broker: requests go out, their answers come back in the same order. */

import {
  type Address,
  assert,
  type ByteStream,
  type Clock,
  formatAddress,
  type Logger,
  type Network,
  type Random,
  type Timer,
} from "@millrace/base";
import {
  type Api,
  apiVersionsApi,
  encodeRequest,
  FrameSplitter,
  KafkaError,
  saslHandshakeApi,
} from "@millrace/protocol";
import { ClosedError, NetworkError } from "../errors.ts";
import { BrokerVersions, type VersionedSend } from "./broker-versions.ts";
import {
  abandoned,
  connectionFailed,
  connectionLost,
  foreignProtocol,
  malformed,
  refusedSilently,
} from "./connection-errors.ts";
import { decodeAnswer, type OverdueRequests, PendingRequests } from "./pending-requests.ts";
import { authenticate, SASL_HANDSHAKE_VERSION, type SaslOptions, type SaslSession } from "./sasl.ts";
import { SessionRenewal } from "./session-renewal.ts";

export interface ConnectionOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly address: Address;
  readonly clientId: string | null;
  readonly requestTimeoutMs: number;
  /** For all of `open`. */
  readonly connectTimeoutMs: number;
  /** Closed after so long without a request; never, if it is not given. */
  readonly maxIdleMs?: number;
  readonly maxFrameBytes: number;
  /** Requests that wait for their answer; one more is refused with BUFFER_EXHAUSTED. */
  readonly maxPendingRequests?: number;
  /** Without it the broker is not told who we are. */
  readonly sasl?: SaslCredentials | null;
}

export interface SaslCredentials {
  readonly options: SaslOptions;
  readonly random: Random;
}

export interface RequestOptions {
  /** Instead of the connection's requestTimeoutMs. */
  readonly timeoutMs?: number;
  /** The highest version that this body can be written in. */
  readonly maxVersion?: number;
  readonly expectsResponse?: true;
}

/** For a request that a broker never answers: Produce with acks=0. */
export interface OneWayRequestOptions {
  readonly maxVersion?: number;
  readonly expectsResponse: false;
}

const DEFAULT_MAX_PENDING_REQUESTS = 1000;
const CORRELATION_ID_LIMIT = 2 ** 31;

/**
 * Answers are matched to requests by their order (`PendingRequests`). After a timeout both sides might not agree on it any
 * more, which is why the socket is closed then: an answer that comes late must never be taken for the answer to something
 * else.
 *
 *     new ── open() ──► opening ──► open ──► closed
 *                          └──────────────────►
 */
export class Connection {
  readonly address: Address;
  readonly #options: ConnectionOptions;
  readonly #remote: string;
  readonly #pending: PendingRequests;
  readonly #sasl: SaslCredentials | null;
  readonly #renewal: SessionRenewal | null;
  readonly #closeListeners = new Set<(error: KafkaError) => void>();
  #state: "new" | "opening" | "open" | "closed" = "new";
  #closeReason: KafkaError | null = null;
  #stream: ByteStream | null = null;
  #versions: BrokerVersions;
  #nextCorrelationId = 0;
  #lastUsedMs = 0;
  #idleTimer: Timer | null = null;
  /** One-way requests that were written while the stream asked to wait. */
  #drainWaiters: { resolve(): void; reject(error: KafkaError): void }[] = [];
  #isClosingWhenIdle = false;
  /** Since it was opened. */
  #hasAnswered = false;

  constructor(options: ConnectionOptions) {
    const { address, clock, maxPendingRequests = DEFAULT_MAX_PENDING_REQUESTS } = options;
    this.#options = options;
    this.address = address;
    this.#remote = formatAddress(address);
    this.#versions = new BrokerVersions(this.#remote);
    this.#pending = new PendingRequests(maxPendingRequests, clock, (overdue) => this.#timeOut(overdue));
    this.#sasl = options.sasl ?? null;
    this.#renewal = this.#sasl === null ? null : this.#renewalOf(this.#sasl);
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Requests that wait for their answer. */
  get inFlightCount(): number {
    return this.#pending.length;
  }

  /**
   * Connects and asks which versions the broker speaks. Once only.
   *
   * Rejects with a NetworkError if that fails or takes longer than connectTimeoutMs; the connection is closed then.
   */
  async open(): Promise<void> {
    assert(this.#state === "new", "connection was opened before");
    this.#state = "opening";
    const { clock, connectTimeoutMs } = this.#options;
    const timer = clock.schedule(connectTimeoutMs, () => {
      this.close(new NetworkError("CONNECTION_FAILED", this.#remote, `not connected within ${connectTimeoutMs} ms`));
    });
    try {
      await this.#connect();
      this.#versions = await this.#negotiate();
      const sessionLifetimeMs = await this.#authenticate();
      // The timer or a caller may have closed it while the last answer was on its way.
      if (this.#closeReason !== null) throw this.#closeReason;
      this.#state = "open";
      this.#lastUsedMs = clock.nowMs();
      this.#watchIdle();
      this.#renewal?.scheduleWithin(sessionLifetimeMs);
    } catch (error) {
      const reason = this.#closeReason ?? connectionFailed(error, this.#remote);
      this.close(reason);
      throw reason;
    } finally {
      timer.cancel();
    }
  }

  /** The highest version that both sides speak, up to maxVersion. Throws KafkaError (UNSUPPORTED_VERSION) if there is none. */
  versionOf(api: Pick<Api, "key" | "name" | "versions">, maxVersion?: number): number {
    return this.#versions.versionOf(api, maxVersion);
  }

  /**
   * Sends one request; resolves with its answer, whatever error codes that holds.
   *
   * Rejects with KafkaError: UNSUPPORTED_VERSION, NETWORK_EXCEPTION, REQUEST_TIMED_OUT, MALFORMED_MESSAGE,
   * BUFFER_EXHAUSTED (too many wait already) or CLOSED. `persisted` is "no" if the request was never handed to the
   * stream, "maybe" from then on.
   */
  request<Request, RequestInput, Response, ResponseInput>(
    api: Api<Request, RequestInput, Response, ResponseInput>,
    body: RequestInput,
    options?: RequestOptions,
  ): Promise<Response>;
  /** Resolves once the request was written, and the stream can take more. */
  request<Request, RequestInput, Response, ResponseInput>(
    api: Api<Request, RequestInput, Response, ResponseInput>,
    body: RequestInput,
    options: OneWayRequestOptions,
  ): Promise<undefined>;
  request<Request, RequestInput, Response, ResponseInput>(
    api: Api<Request, RequestInput, Response, ResponseInput>,
    body: RequestInput,
    options: RequestOptions | OneWayRequestOptions = {},
  ): Promise<Response | undefined> {
    if (this.#state !== "open") return Promise.reject(this.#notOpenError(api.name));
    const renewal = this.#renewal;
    if (renewal === null || !renewal.isRunning) return this.#dispatch(api, body, options);
    if (renewal.heldCount >= this.#pending.limit) return Promise.reject(this.#tooManyPending(api.name));
    return renewal.hold(() => this.#dispatch(api, body, options));
  }

  /** Calls back once when the connection closes, whoever closed it; at once if it has. Returns what ends that. */
  onClose(listener: (error: KafkaError) => void): () => void {
    if (this.#closeReason !== null) listener(this.#closeReason);
    else this.#closeListeners.add(listener);
    return () => this.#closeListeners.delete(listener);
  }

  /** Closes at once and rejects what is pending. May be called twice. */
  close(error: KafkaError = new ClosedError(`connection to ${this.#remote}`)): void {
    if (this.#closeReason !== null) return;
    this.#closeReason = error;
    this.#state = "closed";
    this.#idleTimer?.cancel();
    this.#pending.close();
    this.#renewal?.close(this.#notOpenError("request"));
    this.#dropStream(error);
    for (const listener of this.#closeListeners) listener(error);
    this.#closeListeners.clear();
  }

  /** Takes no more requests, and closes when those in flight are answered: for a broker that has moved. */
  closeWhenIdle(): void {
    this.#isClosingWhenIdle = true;
    if (this.#pending.length === 0) this.close();
  }

  /** Resolves when bytes can flow. */
  #connect(): Promise<void> {
    if (this.#closeReason !== null) return Promise.reject(this.#closeReason);
    return new Promise((resolve, reject) => {
      const stream = this.#options.network.connect(this.address);
      const splitter = new FrameSplitter(this.#options.maxFrameBytes);
      const onFrame = (frame: Buffer) => {
        // A frame before it may have closed the connection.
        if (this.#stream === stream) this.#onFrame(frame);
      };
      this.#stream = stream;
      stream.start({
        onOpen: () => resolve(),
        onData: (bytes) => {
          if (this.#stream !== stream) return;
          try {
            splitter.push(bytes, onFrame);
          } catch (error) {
            this.#failMalformed(foreignProtocol(bytes) ?? error);
          }
        },
        onDrain: () => {
          if (this.#stream === stream) this.#onDrain();
        },
        onClose: (error) => {
          reject(connectionFailed(error, this.#remote));
          if (this.#stream === stream) this.#onStreamClosed(error);
        },
      });
    });
  }

  async #negotiate(): Promise<BrokerVersions> {
    try {
      return await this.#askVersions(apiVersionsApi.versions.max);
    } catch (error) {
      // Some brokers and proxies close the connection on a version that they do not know, instead of answering.
      const isLost = error instanceof NetworkError && error.retriable && this.#closeReason === null;
      if (!isLost) throw error;
      this.#options.logger.debug({ broker: this.#remote, reason: error.message }, "retrying with ApiVersions v0");
      await this.#connect();
      return await this.#askVersions(0);
    }
  }

  #askVersions(version: number): Promise<BrokerVersions> {
    const { connectTimeoutMs } = this.#options;
    const send: VersionedSend = (api, inVersion, body) => this.#send(api, inVersion, body, connectTimeoutMs);
    return BrokerVersions.ask(this.#remote, send, version);
  }

  /** Gives the lifetime of the session in milliseconds; 0: no end. */
  async #authenticate(): Promise<number> {
    const sasl = this.#sasl;
    if (sasl === null) return 0;
    const session: SaslSession = {
      broker: this.#remote,
      random: sasl.random,
      request: (api, body) => {
        const isHandshake = api.key === saslHandshakeApi.key;
        const version = this.versionOf(api, isHandshake ? SASL_HANDSHAKE_VERSION : undefined);
        return this.#send(api, version, body, this.#options.connectTimeoutMs);
      },
    };
    return authenticate(session, sasl.options);
  }

  #renewalOf({ random }: SaslCredentials): SessionRenewal {
    return new SessionRenewal({
      clock: this.#options.clock,
      random,
      authenticate: () => this.#authenticate(),
      onFailed: (error) => this.close(connectionFailed(error, this.#remote)),
    });
  }

  #dispatch<Request, RequestInput, Response, ResponseInput>(
    api: Api<Request, RequestInput, Response, ResponseInput>,
    body: RequestInput,
    options: RequestOptions | OneWayRequestOptions,
  ): Promise<Response | undefined> {
    try {
      const version = this.versionOf(api, options.maxVersion);
      if (options.expectsResponse === false) return this.#sendOneWay(api, version, body);
      return this.#send(api, version, body, options.timeoutMs ?? this.#options.requestTimeoutMs);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #send<Request, RequestInput, Response, ResponseInput>(
    api: Api<Request, RequestInput, Response, ResponseInput>,
    version: number,
    body: RequestInput,
    timeoutMs: number,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const stream = this.#stream;
      if (stream === null) throw this.#notOpenError(api.name);
      if (this.#pending.isFull) throw this.#tooManyPending(api.name);
      const correlationId = this.#takeCorrelationId();
      const frame = encodeRequest(api, version, { correlationId, clientId: this.#options.clientId }, body);
      const nowMs = this.#options.clock.nowMs();
      this.#lastUsedMs = nowMs;
      this.#pending.push({ correlationId, api, version, deadlineMs: nowMs + timeoutMs, resolve, reject }, nowMs);
      stream.write(frame);
    });
  }

  #sendOneWay<Request, RequestInput, Response, ResponseInput>(
    api: Api<Request, RequestInput, Response, ResponseInput>,
    version: number,
    body: RequestInput,
  ): Promise<undefined> {
    return new Promise((resolve, reject) => {
      const stream = this.#stream;
      if (stream === null) throw this.#notOpenError(api.name);
      if (this.#drainWaiters.length >= this.#pending.limit) throw this.#tooManyPending(api.name);
      const header = { correlationId: this.#takeCorrelationId(), clientId: this.#options.clientId };
      this.#lastUsedMs = this.#options.clock.nowMs();
      if (stream.write(encodeRequest(api, version, header, body))) resolve(undefined);
      else this.#drainWaiters.push({ resolve: () => resolve(undefined), reject });
    });
  }

  #takeCorrelationId(): number {
    const correlationId = this.#nextCorrelationId;
    this.#nextCorrelationId = (correlationId + 1) % CORRELATION_ID_LIMIT;
    return correlationId;
  }

  #onFrame(frame: Buffer): void {
    const request = this.#pending.shift();
    if (request === undefined) {
      this.#failMalformed(new Error(`answer of ${frame.length} bytes to no request`));
      return;
    }
    let response: unknown;
    try {
      response = decodeAnswer(request, frame);
    } catch (error) {
      request.reject(malformed(error, this.#remote, `${request.api.name} v${request.version} answer`));
      this.#failMalformed(error);
      return;
    }
    this.#hasAnswered = this.#state === "open";
    request.resolve(response);
    if (this.#isClosingWhenIdle && this.#pending.length === 0) this.close();
  }

  #onDrain(): void {
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const waiter of waiters) waiter.resolve();
  }

  #onStreamClosed(cause: Error | null): void {
    const isRefusal = cause === null && this.#isSilentRefusal();
    const error = isRefusal ? refusedSilently(this.#remote) : connectionLost(cause, this.#remote);
    // While opening, one lost stream is not the end: another version may do.
    if (this.#state === "opening") this.#dropStream(error);
    else this.close(error);
  }

  /** A broker that asks for SASL answers ApiVersions, and closes the connection at the first other request. */
  #isSilentRefusal(): boolean {
    return this.#sasl === null && this.#state === "open" && !this.#hasAnswered && this.#pending.length > 0;
  }

  #failMalformed(cause: unknown): void {
    const error = malformed(cause, this.#remote, "answer");
    this.#options.logger.warn({ broker: this.#remote, reason: error.message }, "closing connection: malformed answer");
    this.close(error);
  }

  /** Forgets the stream and rejects all that waits on it. */
  #dropStream(reason: KafkaError): void {
    const stream = this.#stream;
    this.#stream = null;
    stream?.destroy();
    for (let request = this.#pending.shift(); request !== undefined; request = this.#pending.shift()) {
      request.reject(abandoned(`${request.api.name} v${request.version}`, this.#remote, reason));
    }
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const waiter of waiters) waiter.reject(abandoned("one-way request", this.#remote, reason));
  }

  /** Finds out when it rings for how long nothing was sent, so that requests need not touch it. */
  #watchIdle(delayMs = this.#options.maxIdleMs): void {
    const { maxIdleMs, clock } = this.#options;
    if (maxIdleMs === undefined || delayMs === undefined) return;
    const onTimer = () => {
      const idleMs = this.#pending.length > 0 ? 0 : clock.nowMs() - this.#lastUsedMs;
      if (idleMs >= maxIdleMs) this.close(new ClosedError(`connection to ${this.#remote}: idle`));
      else this.#watchIdle(maxIdleMs - idleMs);
    };
    this.#idleTimer = clock.schedule(delayMs, onTimer, { background: true });
  }

  #timeOut(overdue: OverdueRequests): void {
    const [{ api, version }] = overdue;
    const error = new NetworkError(
      "REQUEST_TIMED_OUT",
      this.#remote,
      `${api.name} v${version} not answered in time; ${this.#pending.length} requests were pending`,
      { persisted: "maybe" },
    );
    this.#options.logger.warn({ broker: this.#remote, api: api.name }, "closing connection: request timed out");
    for (const request of overdue) request.reject(error);
    this.close(error);
  }

  #notOpenError(what: string): KafkaError {
    const reason = this.#closeReason?.message ?? "the connection is not open";
    return new NetworkError("NETWORK_EXCEPTION", this.#remote, `${what} not sent: ${reason}`, {
      cause: this.#closeReason,
    });
  }

  #tooManyPending(what: string): KafkaError {
    const { limit } = this.#pending;
    return new KafkaError("BUFFER_EXHAUSTED", `${this.#remote}: ${what} refused: ${limit} requests wait for an answer`);
  }
}
