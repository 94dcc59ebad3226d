/** The real network: TCP sockets of Node. */

import { type AddressInfo, createServer, connect as netConnect, type OnReadOpts, Socket } from "node:net";
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
/** Taken in by one read. Java's producer sends requests of 100 KB. */
const READ_BYTES = 256 * 1024;

export class TcpNetwork implements Network {
  connect(address: Address): ByteStream {
    const inlet = new Inlet();
    // Nagle would hold back a small request until the answer to the one before it has come.
    const socket = netConnect({
      host: address.host,
      port: address.port,
      noDelay: true,
      allowHalfOpen: true,
      onread: inlet.onread,
    });
    socket.pause();
    return new SocketStream(socket, formatAddress(address), { inlet });
  }

  listen(address: Address, onStream: (stream: ByteStream) => void): Promise<Listener> {
    return new Promise((resolve, reject) => {
      const server = createServer({ noDelay: true, pauseOnConnect: true, allowHalfOpen: true }, (accepted) => {
        const { socket, inlet } = withInlet(accepted);
        onStream(new SocketStream(socket, `${socket.remoteAddress}:${socket.remotePort}`, { inlet }));
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

/** One for all sockets: each receiver is done with the bytes when it returns, and the next read comes after that. */
let readBuffer: Buffer | null = null;

/**
 * Takes a socket's bytes out of the one buffer.
 *
 * A socket left to itself allocates 64 KiB for each read, outside V8's heap. V8 answers such growth by marking the heap,
 * every 7 MB of what a broker under load received.
 */
class Inlet {
  onBytes: ((bytes: Buffer) => void) | null = null;

  get onread(): OnReadOpts {
    readBuffer ??= Buffer.allocUnsafeSlow(READ_BYTES);
    const buffer = readBuffer;
    return {
      buffer,
      callback: (sizeBytes) => {
        this.onBytes?.(buffer.subarray(0, sizeBytes));
        return true;
      },
    };
  }
}

/**
 * The accepted connection as a socket that reads by an inlet. Node lets only a socket that is made say so, and a server
 * makes its own: the connection has to move to another one. Where Node has changed inside, it stays where it is.
 */
function withInlet(accepted: Socket): { readonly socket: Socket; readonly inlet: Inlet | null } {
  // Not in Node's types; tried with Node 20.20 and 24.21.
  const owner = accepted as { _handle?: { useUserBuffer?: unknown } | null };
  const handle = owner._handle;
  if (typeof handle?.useUserBuffer !== "function") return { socket: accepted, inlet: null };
  owner._handle = null;
  accepted.destroy();
  const inlet = new Inlet();
  const options = { handle, allowHalfOpen: true, onread: inlet.onread };
  const socket = new Socket(options);
  socket.pause();
  return { socket, inlet };
}

interface SocketStreamParts {
  /** What tells that a connecting socket can carry bytes; "connect" if left out. */
  readonly openEvent?: "connect" | "secureConnect";
  readonly peerSubject?: string | null;
  /** By what the socket reads; null or left out: by events. */
  readonly inlet?: Inlet | null;
}

/** A ByteStream over any Node socket, TLS included. */
export class SocketStream implements ByteStream {
  readonly remote: string;
  readonly localHost: string | null;
  readonly peerSubject: string | null;
  readonly #socket: Socket;
  readonly #openEvent: "connect" | "secureConnect";
  readonly #inlet: Inlet | null;
  #error: Error | null;

  constructor(socket: Socket, remote: string, parts: SocketStreamParts = {}) {
    this.#socket = socket;
    this.#openEvent = parts.openEvent ?? "connect";
    this.#inlet = parts.inlet ?? null;
    this.#error = socket.errored;
    this.remote = remote;
    this.peerSubject = parts.peerSubject ?? null;
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
    if (this.#inlet === null) socket.on("data", (bytes: Buffer) => handlers.onData(bytes));
    else this.#inlet.onBytes = (bytes) => handlers.onData(bytes);
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
