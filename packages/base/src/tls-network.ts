/** TLS over TCP, for clients: the server's certificate is checked, and one of our own shown if there is one. */

import { isIP, Socket } from "node:net";
import { type ConnectionOptions, connect as tlsConnect } from "node:tls";
import { type Address, type ByteStream, formatAddress, type Listener, type Network } from "./network.ts";
import { SocketStream } from "./tcp-network.ts";

export interface TlsOptions {
  /** PEM. Certificates of the authorities to trust, instead of those that Node knows. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[];
  /** PEM. Our own certificate, with what leads up to the authority. */
  readonly cert?: string | Buffer;
  /** PEM. The private key that belongs to cert. */
  readonly key?: string | Buffer;
  /** Of an encrypted key. */
  readonly passphrase?: string;
  /** The name that the certificate must be for, instead of the host that is connected to. */
  readonly servername?: string;
  /** False takes any certificate: whoever sits between can read and change everything. */
  readonly rejectUnauthorized?: boolean;
}

export class TlsNetwork implements Network {
  readonly #options: () => TlsOptions;

  /** options: asked anew for each connection, so that certificates can be renewed while a program runs. */
  constructor(options: () => TlsOptions) {
    this.#options = options;
  }

  connect(address: Address): ByteStream {
    return new SocketStream(this.#open(address), formatAddress(address), { openEvent: "secureConnect" });
  }

  listen(): Promise<Listener> {
    return Promise.reject(new Error("TlsNetwork is for clients: it cannot listen"));
  }

  #open(address: Address): Socket {
    try {
      const { ca, servername, ...options } = this.#options();
      // Server name indication is for names only (RFC 6066).
      const name = servername ?? (isIP(address.host) === 0 ? address.host : undefined);
      const connectOptions: ConnectionOptions & { readonly allowHalfOpen: boolean } = {
        ...options,
        ...(ca === undefined ? {} : { ca: isList(ca) ? [...ca] : ca }),
        ...(name === undefined ? {} : { servername: name }),
        host: address.host,
        port: address.port,
        allowHalfOpen: true,
      };
      return tlsConnect(connectOptions).setNoDelay(true);
    } catch (error) {
      // A certificate or key that cannot be read. A network tells of that as of any other failed connect.
      return new Socket().destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

function isList(ca: NonNullable<TlsOptions["ca"]>): ca is readonly (string | Buffer)[] {
  return Array.isArray(ca);
}
