/** The real network: TCP sockets of Node. */

import { type AddressInfo, createServer, connect as netConnect, type Socket } from "node:net";
import {
  type Address,
  type ByteStream,
  formatAddress,
  type Listener,
  type Network,
  type StreamHandlers,
} from "./network.ts";

/** Connections the kernel holds before we accept them. */
const LISTEN_BACKLOG = 1024;

export class TcpNetwork implements Network {
  connect(address: Address): ByteStream {
    // Nagle would hold back a small request until the answer to the one before it has come.
    return new SocketStream(
      netConnect({ host: address.host, port: address.port, noDelay: true, allowHalfOpen: true }),
      formatAddress(address),
    );
  }

  listen(address: Address, onStream: (stream: ByteStream) => void): Promise<Listener> {
    return new Promise((resolve, reject) => {
      const server = createServer({ noDelay: true, pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
        onStream(new SocketStream(socket, `${socket.remoteAddress}:${socket.remotePort}`));
      });
      server.once("error", reject);
      server.listen({ host: address.host, port: address.port, backlog: LISTEN_BACKLOG }, () => {
        server.removeListener("error", reject);
        // An accept that fails (EMFILE) must not end the process; the next one is tried.
        server.on("error", () => {});
        const bound = server.address() as AddressInfo;
        resolve({
          address: { host: address.host, port: bound.port },
          close: () =>
            new Promise((done) => {
              server.close(() => done());
            }),
        });
      });
    });
  }
}

export const tcpNetwork: Network = new TcpNetwork();

/** A ByteStream over any Node socket, TLS included. */
export class SocketStream implements ByteStream {
  readonly remote: string;
  readonly localHost: string | null;
  readonly peerSubject: string | null;
  readonly #socket: Socket;
  readonly #openEvent: "connect" | "secureConnect";
  #error: Error | null;

  /** openEvent: what tells that a connecting socket can carry bytes. */
  constructor(
    socket: Socket,
    remote: string,
    openEvent: "connect" | "secureConnect" = "connect",
    peerSubject: string | null = null,
  ) {
    this.#socket = socket;
    this.#openEvent = openEvent;
    this.#error = socket.errored;
    this.remote = remote;
    this.peerSubject = peerSubject;
    // A socket that listens on IPv6 shows IPv4 peers in mapped form; the plain form is what others can connect to.
    this.localHost = socket.localAddress?.replace(/^::ffff:/, "") ?? null;
    // Until `start` takes over: an error before it must not end the process.
    socket.on("error", (error) => {
      this.#error ??= error;
    });
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  start(handlers: StreamHandlers): void {
    const socket = this.#socket;
    if (socket.destroyed) {
      queueMicrotask(() => handlers.onClose(this.#error));
      return;
    }
    socket.on("data", (bytes: Buffer) => handlers.onData(bytes));
    socket.on("drain", () => handlers.onDrain?.());
    socket.on("end", () => {
      if (handlers.onEnd) handlers.onEnd();
      else socket.end();
    });
    socket.on("close", () => handlers.onClose(this.#error));
    if (socket.connecting) socket.once(this.#openEvent, () => handlers.onOpen?.());
    else queueMicrotask(() => handlers.onOpen?.());
    socket.resume();
  }

  write(chunks: readonly Uint8Array[]): boolean {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return false;
    if (chunks.length === 1 && chunks[0] !== undefined) return socket.write(chunks[0]);
    // Corked, the chunks leave in one writev.
    socket.cork();
    let isWritable = true;
    for (const chunk of chunks) isWritable = socket.write(chunk);
    socket.uncork();
    return isWritable;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    if (!this.#socket.destroyed) this.#socket.end();
  }

  destroy(error?: Error): void {
    this.#error ??= error ?? null;
    this.#socket.destroy();
  }
}
