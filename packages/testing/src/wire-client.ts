/** A client that does nothing by itself: sends the request that a test made, and gives the answer as it came. */

import { type Address, type ByteStream, createDeferred, type Deferred, type Network, tcpNetwork } from "@millrace/base";
import { type Api, decodeResponseBody, encodeRequest, FrameSplitter, Reader } from "@millrace/protocol";

const FRAME_LIMIT_BYTES = 128 * 1024 * 1024;
const CLIENT_ID = "wire-client";

interface PendingRequest {
  readonly correlationId: number;
  readonly answer: Deferred<Reader>;
}

export class WireClient {
  /** Resolves when the connection is closed, with the error if there was one. */
  readonly closed: Promise<Error | null>;
  readonly #stream: ByteStream;
  readonly #pending: PendingRequest[] = [];
  #nextCorrelationId = 1;
  #onBareFrame: ((frame: Buffer) => void) | null = null;
  #closedWith: Error | null = null;

  static async connect(address: Address, network: Network = tcpNetwork): Promise<WireClient> {
    const opened = createDeferred<void>();
    const client = new WireClient(network.connect(address), opened);
    await opened.promise;
    return client;
  }

  private constructor(stream: ByteStream, opened: Deferred<void>) {
    this.#stream = stream;
    const closed = createDeferred<Error | null>();
    this.closed = closed.promise;
    const splitter = new FrameSplitter(FRAME_LIMIT_BYTES);
    stream.start({
      onOpen: () => opened.resolve(),
      onData: (bytes) => splitter.push(bytes, (frame) => this.#settle(frame)),
      onClose: (error) => {
        const reason = error ?? new Error(`${stream.remote} closed the connection`);
        this.#closedWith = reason;
        opened.reject(reason);
        for (const { answer } of this.#pending.splice(0)) answer.reject(reason);
        closed.resolve(error);
      },
    });
  }

  /** Resolves to the response. Rejects if the connection closes first. */
  async request<Request, RequestInput, Response, ResponseInput>(
    api: Api<Request, RequestInput, Response, ResponseInput>,
    version: number,
    body: RequestInput,
  ): Promise<Response> {
    const reader = await this.#send(api, version, body);
    return decodeResponseBody(api, version, reader);
  }

  /** For requests that have no response. */
  send<Request, RequestInput, Response, ResponseInput>(
    api: Api<Request, RequestInput, Response, ResponseInput>,
    version: number,
    body: RequestInput,
  ): void {
    const header = { correlationId: this.#nextCorrelationId++, clientId: CLIENT_ID };
    this.#stream.write(encodeRequest(api, version, header, body));
  }

  /** A whole frame as it is; resolves to the frame that comes back, without its length. The correlation id must be 1. */
  exchange(frame: Uint8Array): Promise<Buffer> {
    const pending = { correlationId: 1, answer: createDeferred<Reader>() };
    this.#pending.push(pending);
    this.sendBytes(frame);
    return pending.answer.promise.then(({ bytes }) => bytes);
  }

  /** Bytes as they are, such as no client would send. */
  sendBytes(bytes: Uint8Array): void {
    this.#stream.write([bytes]);
  }

  /** The next frame that comes, which answers no request: as it is, without its length. */
  receiveFrame(): Promise<Buffer> {
    const bare = createDeferred<Buffer>();
    this.#onBareFrame = bare.resolve;
    return bare.promise;
  }

  close(): void {
    this.#stream.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #send<Request, RequestInput, Response, ResponseInput>(
    api: Api<Request, RequestInput, Response, ResponseInput>,
    version: number,
    body: RequestInput,
  ): Promise<Reader> {
    if (this.#closedWith !== null) return Promise.reject(this.#closedWith);
    const pending = { correlationId: this.#nextCorrelationId++, answer: createDeferred<Reader>() };
    this.#pending.push(pending);
    const header = { correlationId: pending.correlationId, clientId: CLIENT_ID };
    this.#stream.write(encodeRequest(api, version, header, body));
    return pending.answer.promise;
  }

  #settle(frame: Buffer): void {
    const onBareFrame = this.#onBareFrame;
    if (onBareFrame !== null) {
      this.#onBareFrame = null;
      onBareFrame(frame);
      return;
    }
    const reader = new Reader(frame);
    const correlationId = reader.int32();
    const pending = this.#pending.shift();
    if (pending?.correlationId === correlationId) pending.answer.resolve(reader);
    else this.#stream.destroy(new Error(`answer to ${correlationId} came; ${pending?.correlationId} was next`));
  }
}
