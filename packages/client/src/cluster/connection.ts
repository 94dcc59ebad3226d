/** One connection to one broker: requests go out, their answers come back in the same order. */

import {
  type Address,
  assert,
  BoundedQueue,
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
  BrokerError,
  decodeResponseBody,
  encodeRequest,
  errorByCode,
  FrameSplitter,
  KafkaError,
  Reader,
  saslHandshakeApi,
  type VersionRange,
} from "@millrace/protocol";
import { ClosedError, NetworkError } from "../errors.ts";
import { softwareName, softwareVersion } from "../software.ts";
import { authenticate, SASL_HANDSHAKE_VERSION, type SaslOptions } from "./sasl.ts";

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

/** A request on the wire whose answer has not come. Methods, not functions: each resolves with a type of its own. */
interface PendingRequest {
  readonly correlationId: number;
  readonly api: Api<unknown, unknown, unknown, unknown>;
  readonly version: number;
  readonly deadlineMs: number;
  resolve(response: unknown): void;
  reject(error: KafkaError): void;
}

/** A request that waits for the session to be renewed. */
interface HeldRequest {
  send(): void;
  reject(error: KafkaError): void;
}

const DEFAULT_MAX_PENDING_REQUESTS = 1000;
const CORRELATION_ID_LIMIT = 2 ** 31;
const CORRELATION_ID_BYTES = 4;
/** A session is renewed when a part of its lifetime has passed that lies between these; as in Kafka's own client. */
const RENEW_FROM = 0.85;
const RENEW_UNTIL = 0.95;

/**
 * A broker answers the requests of one connection in order, so a queue is all that is needed to match them; the
 * correlation id only proves that both sides still agree. After a timeout they might not, which is why the socket is
 * closed then: an answer that comes late must never be taken for the answer to something else.
 *
 *     new ── open() ──► opening ──► open ──► closed
 *                          └──────────────────►
 */
export class Connection {
  readonly address: Address;
  readonly #options: ConnectionOptions;
  readonly #remote: string;
  readonly #pending: BoundedQueue<PendingRequest>;
  readonly #closeListeners = new Set<(error: KafkaError) => void>();
  #state: "new" | "opening" | "open" | "closed" = "new";
  #closeReason: KafkaError | null = null;
  #stream: ByteStream | null = null;
  #versions: ReadonlyMap<number, VersionRange> = new Map();
  #nextCorrelationId = 0;
  #lastUsedMs = 0;
  #timer: Timer | null = null;
  #timerDueMs = Number.POSITIVE_INFINITY;
  /** One-way requests that were written while the stream asked to wait. */
  #drainWaiters: { resolve(): void; reject(error: KafkaError): void }[] = [];
  #isClosingWhenIdle = false;
  /** Since it was opened. */
  #hasAnswered = false;
  #renewTimer: Timer | null = null;
  /** Requests that came while the session is renewed; null while it is not. */
  #held: HeldRequest[] | null = null;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.address = options.address;
    this.#remote = formatAddress(options.address);
    this.#pending = new BoundedQueue(options.maxPendingRequests ?? DEFAULT_MAX_PENDING_REQUESTS);
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
      this.#armIdle();
      this.#renewBefore(sessionLifetimeMs);
    } catch (error) {
      const reason = this.#closeReason ?? connectionFailed(error, this.#remote);
      this.close(reason);
      throw reason;
    } finally {
      timer.cancel();
    }
  }

  /** True if broker and client have a version of this API in common. */
  supports(api: { readonly key: number; readonly versions: VersionRange }): boolean {
    const offered = this.#versions.get(api.key);
    return offered !== undefined && offered.max >= api.versions.min && offered.min <= api.versions.max;
  }

  /** The highest version in common, up to maxVersion. Throws KafkaError (UNSUPPORTED_VERSION) if there is none. */
  versionOf(
    api: { readonly key: number; readonly name: string; readonly versions: VersionRange },
    maxVersion = api.versions.max,
  ): number {
    const offered = this.#versions.get(api.key);
    const version = Math.min(api.versions.max, maxVersion, offered?.max ?? -1);
    if (offered !== undefined && version >= offered.min && version >= api.versions.min) return version;
    const theirs = offered === undefined ? "none" : `${offered.min} to ${offered.max}`;
    throw new KafkaError(
      "UNSUPPORTED_VERSION",
      `${this.#remote}: ${api.name}: broker speaks version ${theirs}, client ${api.versions.min} to ${Math.min(api.versions.max, maxVersion)}`,
    );
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
    if (this.#held !== null) return this.#hold(this.#held, api, body, options);
    return this.#dispatch(api, body, options);
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
    this.#timer?.cancel();
    this.#timer = null;
    this.#renewTimer?.cancel();
    for (const request of this.#held ?? []) request.reject(this.#notOpenError("request"));
    this.#held = null;
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

  /** The versions that the broker offers, by API key. */
  async #negotiate(): Promise<ReadonlyMap<number, VersionRange>> {
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

  async #askVersions(version: number): Promise<ReadonlyMap<number, VersionRange>> {
    const body = { clientSoftwareName: softwareName, clientSoftwareVersion: softwareVersion };
    const response = await this.#send(apiVersionsApi, version, body, this.#options.connectTimeoutMs);
    if (response.errorCode === UNSUPPORTED_VERSION && version > 0) {
      // KIP-511: the answer names what the broker can read. It must be lower, or we would ask for ever.
      const offered = response.apiKeys.find((entry) => entry.apiKey === apiVersionsApi.key)?.maxVersion ?? 0;
      return this.#askVersions(Math.max(0, Math.min(offered, version - 1)));
    }
    if (response.errorCode !== 0) throw BrokerError.fromNumber(response.errorCode, `ApiVersions of ${this.#remote}`);
    return new Map(response.apiKeys.map((entry) => [entry.apiKey, { min: entry.minVersion, max: entry.maxVersion }]));
  }

  /** Gives the lifetime of the session in milliseconds; 0: no end. */
  async #authenticate(): Promise<number> {
    const { sasl, connectTimeoutMs } = this.#options;
    if (sasl === undefined || sasl === null) return 0;
    return authenticate(
      {
        broker: this.#remote,
        random: sasl.random,
        request: (api, body) => {
          const isHandshake = api.key === saslHandshakeApi.key;
          const version = this.versionOf(api, isHandshake ? SASL_HANDSHAKE_VERSION : undefined);
          return this.#send(api, version, body, connectTimeoutMs);
        },
      },
      sasl.options,
    );
  }

  /** Authenticates again before the broker would cut us off (KIP-368). */
  #renewBefore(sessionLifetimeMs: number): void {
    const { sasl, clock } = this.#options;
    if (sessionLifetimeMs <= 0 || sasl === undefined || sasl === null) return;
    const part = RENEW_FROM + (RENEW_UNTIL - RENEW_FROM) * sasl.random.float();
    this.#renewTimer = clock.schedule(sessionLifetimeMs * part, () => void this.#renew(), { background: true });
  }

  /** A broker takes nothing but the exchange while it runs: other requests wait. What is in flight is answered first. */
  async #renew(): Promise<void> {
    if (this.#state !== "open") return;
    this.#held = [];
    try {
      this.#renewBefore(await this.#authenticate());
    } catch (error) {
      this.close(connectionFailed(error, this.#remote));
      return;
    }
    const held = this.#held ?? [];
    this.#held = null;
    for (const request of held) request.send();
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

  #hold<Request, RequestInput, Response, ResponseInput>(
    held: HeldRequest[],
    api: Api<Request, RequestInput, Response, ResponseInput>,
    body: RequestInput,
    options: RequestOptions | OneWayRequestOptions,
  ): Promise<Response | undefined> {
    if (held.length >= this.#pending.limit) return Promise.reject(this.#tooManyPending(api.name));
    return new Promise((resolve, reject) => {
      held.push({ send: () => this.#dispatch(api, body, options).then(resolve, reject), reject });
    });
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
      const deadlineMs = nowMs + timeoutMs;
      this.#lastUsedMs = nowMs;
      this.#pending.push({ correlationId, api, version, deadlineMs, resolve, reject });
      stream.write(frame);
      if (deadlineMs < this.#timerDueMs) this.#arm(deadlineMs, nowMs);
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
      const reader = new Reader(frame);
      const correlationId = reader.int32();
      if (correlationId !== request.correlationId) {
        throw new Error(`answer to request ${correlationId}; expected the one to ${request.correlationId}`);
      }
      response = decodeResponseBody(request.api, versionOfAnswer(request, frame), reader);
    } catch (error) {
      request.reject(malformed(error, this.#remote, request));
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
    const hint = this.#isSilentRefusal() ? "; perhaps it asks for SASL" : "";
    const detail = cause === null ? `the broker closed the connection${hint}` : `connection lost: ${detailOf(cause)}`;
    const error = new NetworkError("NETWORK_EXCEPTION", this.#remote, detail, {
      cause,
      retriable: !isTlsRefusal(cause),
    });
    // While opening, one lost stream is not the end: another version may do.
    if (this.#state === "opening") this.#dropStream(error);
    else this.close(error);
  }

  /** A broker that asks for SASL answers ApiVersions, and closes the connection at the first other request. */
  #isSilentRefusal(): boolean {
    const hasSasl = this.#options.sasl !== undefined && this.#options.sasl !== null;
    return this.#state === "open" && !this.#hasAnswered && this.#pending.length > 0 && !hasSasl;
  }

  #failMalformed(cause: unknown): void {
    const error = malformed(cause, this.#remote, null);
    this.#options.logger.warn({ broker: this.#remote, reason: error.message }, "closing connection: malformed answer");
    this.close(error);
  }

  /** Forgets the stream and rejects all that waits on it. */
  #dropStream(reason: KafkaError): void {
    const stream = this.#stream;
    this.#stream = null;
    stream?.destroy();
    for (let request = this.#pending.shift(); request !== undefined; request = this.#pending.shift()) {
      request.reject(this.#abandoned(`${request.api.name} v${request.version}`, reason));
    }
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const waiter of waiters) waiter.reject(this.#abandoned("one-way request", reason));
  }

  /** The error of one request that went down with the connection; it may have arrived. */
  #abandoned(what: string, reason: KafkaError): KafkaError {
    const options = { cause: reason, persisted: "maybe" } as const;
    if (reason instanceof ClosedError) return new ClosedError(`${what} to ${this.#remote}`, options);
    return new NetworkError("NETWORK_EXCEPTION", this.#remote, `${what} not answered: ${reason.message}`, {
      ...options,
      retriable: !(reason instanceof NetworkError) || reason.retriable,
    });
  }

  /** Arms the one timer for dueMs, if that is sooner than what it is armed for. */
  #arm(dueMs: number, nowMs: number): void {
    if (dueMs >= this.#timerDueMs) return;
    this.#timer?.cancel();
    this.#timerDueMs = dueMs;
    // The socket keeps the process alive while an answer is due; the timer need not.
    this.#timer = this.#options.clock.schedule(dueMs - nowMs, () => this.#onTimer(), { background: true });
  }

  #armIdle(): void {
    const { maxIdleMs, clock } = this.#options;
    if (maxIdleMs !== undefined) this.#arm(this.#lastUsedMs + maxIdleMs, clock.nowMs());
  }

  /** Most answers come long before: the timer is set once and finds out when it rings what it has to wait for next. */
  #onTimer(): void {
    this.#timerDueMs = Number.POSITIVE_INFINITY;
    this.#timer = null;
    const nowMs = this.#options.clock.nowMs();
    if (this.#pending.length === 0) {
      const { maxIdleMs } = this.#options;
      if (maxIdleMs === undefined) return;
      if (nowMs - this.#lastUsedMs >= maxIdleMs) this.close(new ClosedError(`connection to ${this.#remote}: idle`));
      else this.#armIdle();
      return;
    }
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const request of this.#pending) {
      if (request.deadlineMs <= nowMs) {
        this.#timeOut(request, nowMs);
        return;
      }
      earliestMs = Math.min(earliestMs, request.deadlineMs);
    }
    this.#arm(earliestMs, nowMs);
  }

  #timeOut(request: PendingRequest, nowMs: number): void {
    const error = new NetworkError(
      "REQUEST_TIMED_OUT",
      this.#remote,
      `${request.api.name} v${request.version} not answered in time; ${this.#pending.length} requests were pending`,
      { persisted: "maybe" },
    );
    this.#options.logger.warn({ broker: this.#remote, api: request.api.name }, "closing connection: request timed out");
    for (const other of this.#pending) if (other.deadlineMs <= nowMs) other.reject(error);
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

const UNSUPPORTED_VERSION = errorByCode("UNSUPPORTED_VERSION").number;

/** An ApiVersions answer that says "unsupported version" is in version 0, whatever was asked (KIP-511). */
function versionOfAnswer(request: PendingRequest, frame: Buffer): number {
  if (request.api.key !== apiVersionsApi.key || frame.length < CORRELATION_ID_BYTES + 2) return request.version;
  return frame.readInt16BE(CORRELATION_ID_BYTES) === UNSUPPORTED_VERSION ? 0 : request.version;
}

function malformed(error: unknown, remote: string, request: PendingRequest | null): KafkaError {
  const what = request === null ? "answer" : `${request.api.name} v${request.version} answer`;
  const detail = error instanceof Error ? error.message : String(error);
  return new KafkaError("MALFORMED_MESSAGE", `${remote}: ${what}: ${detail}`, { cause: error, persisted: "maybe" });
}

function connectionFailed(error: unknown, remote: string): KafkaError {
  if (error instanceof KafkaError) return error;
  const detail = error instanceof Error ? detailOf(error) : "closed by the other side";
  return new NetworkError("CONNECTION_FAILED", remote, detail, { cause: error, retriable: !isTlsRefusal(error) });
}

/** Certificates that one side does not accept, and a side that does not speak TLS: no retry mends that. */
function isTlsRefusal(error: unknown): boolean {
  if (!(error instanceof Error) || !("code" in error)) return false;
  return /^ERR_(SSL|TLS|OSSL)_|^EPROTO$|CERT|SIGNATURE|^UNABLE_TO_/.test(String(error.code));
}

/** OpenSSL's messages are a line of numbers and places in its source; its reason is what a person can read. */
function detailOf(error: Error): string {
  return "reason" in error && typeof error.reason === "string" ? `TLS: ${error.reason}` : error.message;
}

const TLS_ALERT = 0x15;
const TLS_MAJOR_VERSION = 0x03;

/** What answers here instead of a Kafka broker that speaks plain text; null: nobody that can be told. */
function foreignProtocol(bytes: Buffer): Error | null {
  if (bytes[0] === TLS_ALERT && bytes[1] === TLS_MAJOR_VERSION) return new Error("the broker speaks TLS here; set ssl");
  if (bytes.toString("latin1", 0, 5) === "HTTP/") {
    return new Error("an HTTP server answers here, not a Kafka broker; is the port right?");
  }
  return null;
}
