/** TLS over TCP, for servers: shows a certificate that may be renewed meanwhile, and may ask clients for theirs. */

import type { AddressInfo, Socket } from "node:net";
import { createServer } from "node:tls";
import { type Address, type ByteStream, formatAddress, type Listener, type Network } from "./network.ts";
import { SocketStream } from "./tcp-network.ts";
import { type ClientAuth, clientAuthOptions, showsUntrustedCertificate, trustedSubject } from "./tls-client-auth.ts";

export interface TlsServerOptions {
  /** PEM. The server's certificate, with what leads up to the authority. */
  readonly cert: string | Buffer;
  /** PEM. The private key that belongs to cert. */
  readonly key: string | Buffer;
  /** PEM. Authorities whose certificates clients may show; null where clientAuth is none. */
  readonly clientCa: string | Buffer | null;
  /** A client that is let in without a certificate has no name; one that shows a certificate of nobody we know is refused. */
  readonly clientAuth: ClientAuth;
}

const OLDEST_VERSION = "TLSv1.2";
/** Longest that a handshake may take. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Connections the kernel holds before we accept them. */
const LISTEN_BACKLOG = 1024;

export class TlsServerNetwork implements Network {
  readonly #options: () => TlsServerOptions;

  /**
   * options: asked anew for each connection; another object than the last time is a renewed certificate, which later
   * handshakes use. What clients are asked for stays as it was at the start.
   */
  constructor(options: () => TlsServerOptions) {
    this.#options = options;
  }

  connect(address: Address): ByteStream {
    throw new Error(`TlsServerNetwork is for servers: it cannot connect to ${formatAddress(address)}`);
  }

  /** Rejects as TCP's listen does, and for a certificate or key that cannot be read. */
  async listen(address: Address, onStream: (stream: ByteStream) => void): Promise<Listener> {
    let current = this.#options();
    const server = createServer({
      ...contextOf(current),
      ...clientAuthOptions(current.clientAuth),
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      noDelay: true,
      pauseOnConnect: true,
      allowHalfOpen: true,
    });
    const handshaking = new Map<string, Socket>();
    server.prependListener("connection", (socket) => {
      const remote = remoteOf(socket);
      handshaking.set(remote, socket);
      socket.once("close", () => handshaking.delete(remote));
      const latest = this.#options();
      if (latest === current) return;
      current = latest;
      server.setSecureContext(contextOf(latest));
    });
    server.on("secureConnection", (socket) => {
      const remote = remoteOf(socket);
      handshaking.delete(remote);
      if (showsUntrustedCertificate(socket)) {
        socket.destroy();
        return;
      }
      onStream(new SocketStream(socket, remote, { openEvent: "secureConnect", peerSubject: trustedSubject(socket) }));
    });
    // A client that breaks off the handshake is the client's business.
    server.on("tlsClientError", (_error, socket) => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: address.host, port: address.port, backlog: LISTEN_BACKLOG }, () => {
        server.removeListener("error", reject);
        server.on("error", () => {});
        resolve();
      });
    });
    const bound = server.address() as AddressInfo;
    return {
      address: { host: address.host, port: bound.port },
      async close() {
        // Node tells no end of a server whose client left in the middle of the handshake, so nobody waits for it.
        server.close();
        for (const socket of handshaking.values()) socket.destroy();
      },
    };
  }
}

function contextOf({ cert, key, clientCa }: TlsServerOptions) {
  return { cert, key, minVersion: OLDEST_VERSION, ...(clientCa === null ? {} : { ca: clientCa }) } as const;
}

function remoteOf(socket: Socket): string {
  return `${socket.remoteAddress}:${socket.remotePort}`;
}
