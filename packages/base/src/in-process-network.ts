/** A network inside one process: what is listened to here can be connected to here, with no socket between. */

import { assert } from "./assert.ts";
import {
  type Address,
  type ByteStream,
  formatAddress,
  type Listener,
  type Network,
  type StreamHandlers,
} from "./network.ts";

/** Bytes on their way to a paused receiver before `write` asks the sender to wait. */
const HIGH_WATER_BYTES = 1024 * 1024;

export class InProcessNetwork implements Network {
  readonly #listeners = new Map<number, (stream: ByteStream) => void>();
  #nextPort = 1;

  /** The host is not looked at: all that listens here is here. */
  connect(address: Address): ByteStream {
    const onStream = this.#listeners.get(address.port);
    const near = new InProcessStream(formatAddress(address));
    if (onStream === undefined) {
      near.destroy(
        Object.assign(new Error(`connect ECONNREFUSED ${formatAddress(address)}`), { code: "ECONNREFUSED" }),
      );
      return near;
    }
    const far = new InProcessStream("in-process");
    near.join(far);
    far.join(near);
    onStream(far);
    return near;
  }

  async listen(address: Address, onStream: (stream: ByteStream) => void): Promise<Listener> {
    const port = address.port === 0 ? this.#freePort() : address.port;
    if (this.#listeners.has(port)) {
      throw Object.assign(new Error(`listen EADDRINUSE ${formatAddress(address)}`), { code: "EADDRINUSE" });
    }
    this.#listeners.set(port, onStream);
    return {
      address: { host: address.host, port },
      close: async () => {
        this.#listeners.delete(port);
      },
    };
  }

  #freePort(): number {
    while (this.#listeners.has(this.#nextPort)) this.#nextPort += 1;
    return this.#nextPort;
  }
}

/**
 * One end of a pair. Bytes are copied on `write`, as a kernel would: the sender may reuse its buffers, and the receiver
 * may keep what it got.
 */
class InProcessStream implements ByteStream {
  readonly remote: string;
  #peer: InProcessStream | null = null;
  #handlers: StreamHandlers | null = null;
  #inbox: Buffer[] = [];
  #inboxBytes = 0;
  #isPaused = false;
  #isDeliveryQueued = false;
  #hasEnded = false;
  #isEndPending = false;
  #hasEndArrived = false;
  #isClosed = false;
  #error: Error | null = null;
  #wantsDrain = false;

  constructor(remote: string) {
    this.remote = remote;
  }

  join(peer: InProcessStream): void {
    this.#peer = peer;
  }

  get bufferedBytes(): number {
    return this.#peer === null ? 0 : this.#peer.#inboxBytes;
  }

  start(handlers: StreamHandlers): void {
    assert(this.#handlers === null, "stream was started before");
    this.#handlers = handlers;
    queueMicrotask(() => {
      if (this.#isClosed) handlers.onClose(this.#error);
      else handlers.onOpen?.();
    });
    this.#queueDelivery();
  }

  write(chunks: readonly Uint8Array[]): boolean {
    const peer = this.#peer;
    if (this.#isClosed || this.#hasEnded || peer === null || peer.#isClosed) return false;
    const bytes = Buffer.concat(chunks);
    peer.#inbox.push(bytes);
    peer.#inboxBytes += bytes.length;
    peer.#queueDelivery();
    this.#wantsDrain ||= peer.#inboxBytes > HIGH_WATER_BYTES;
    return !this.#wantsDrain;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#queueDelivery();
  }

  end(): void {
    if (this.#hasEnded || this.#isClosed) return;
    this.#hasEnded = true;
    if (this.#peer !== null) {
      this.#peer.#isEndPending = true;
      this.#peer.#queueDelivery();
    }
    this.#closeIfOver();
  }

  destroy(error?: Error): void {
    if (this.#isClosed) return;
    this.#close(error ?? null);
    if (this.#peer !== null) this.#peer.#queueClose();
  }

  #queueClose(): void {
    // A turn later, and after what was already on its way, as a kernel would tell it.
    queueMicrotask(() => {
      this.#deliver();
      this.#close(Object.assign(new Error("the other end closed the stream"), { code: "ECONNRESET" }));
    });
  }

  #close(error: Error | null): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#error = error;
    this.#inbox = [];
    this.#inboxBytes = 0;
    const handlers = this.#handlers;
    if (handlers !== null) queueMicrotask(() => handlers.onClose(error));
  }

  #queueDelivery(): void {
    if (this.#isDeliveryQueued || this.#handlers === null) return;
    this.#isDeliveryQueued = true;
    queueMicrotask(() => {
      this.#isDeliveryQueued = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    const handlers = this.#handlers;
    if (handlers === null) return;
    while (!this.#isPaused && !this.#isClosed) {
      const bytes = this.#inbox.shift();
      if (bytes === undefined) break;
      this.#inboxBytes -= bytes.length;
      handlers.onData(bytes);
    }
    if (this.#peer !== null) this.#peer.#drain(this.#inboxBytes);
    if (this.#isEndPending && this.#inbox.length === 0 && !this.#isPaused && !this.#isClosed) {
      this.#isEndPending = false;
      this.#hasEndArrived = true;
      if (handlers.onEnd === undefined) this.end();
      else handlers.onEnd();
      this.#closeIfOver();
    }
  }

  #closeIfOver(): void {
    if (this.#hasEnded && this.#hasEndArrived) this.#close(null);
  }

  #drain(inboxBytes: number): void {
    if (!this.#wantsDrain || inboxBytes > HIGH_WATER_BYTES) return;
    this.#wantsDrain = false;
    this.#handlers?.onDrain?.();
  }
}
