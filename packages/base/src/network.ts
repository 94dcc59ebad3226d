/** The network, passed in: byte streams over TCP, in-process, or simulated. One interface above all of them. */

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a stream tells its one owner. After onClose nothing more is told. */
export interface StreamHandlers {
  /** A connecting stream is ready to carry bytes; told at once for an accepted one. */
  onOpen?(): void;
  /** The bytes are the receiver's until it returns: then they may be written over. */
  onData(bytes: Buffer): void;
  /** After a write that returned false: what was written has left, write on. */
  onDrain?(): void;
  /** The other side will send no more; ours may still be written. */
  onEnd?(): void;
  /** Told once, whoever closed. error: why, or null for an orderly end. */
  onClose(error: Error | null): void;
}

/** One direction-neutral connection. Nothing is delivered before `start`. */
export interface ByteStream {
  /** "host:port" of the other side, for messages. */
  readonly remote: string;
  /** The address of this machine on which an accepted stream came in; not there where streams have none. */
  readonly localHost?: string | null;
  /** The name in the certificate that the other side of an accepted stream showed, as RFC 2253 writes it; null or not there without one. */
  readonly peerSubject?: string | null;
  /** Bytes written that have not left this process. */
  readonly bufferedBytes: number;
  start(handlers: StreamHandlers): void;
  /**
   * Writes the chunks in order, as one gathered write where the platform can.
   *
   * The stream may read the chunks until they have left: the caller must not change them before an answer shows that
   * they arrived, or the stream is closed. Returns false when the caller should wait for onDrain. After close: no effect.
   */
  write(chunks: readonly Uint8Array[]): boolean;
  /** Stops onData until `resume`; the other side feels it as back-pressure. */
  pause(): void;
  resume(): void;
  /** Sends what is written, then closes this direction. */
  end(): void;
  /** Closes at once; what has not left is dropped. May be called twice. */
  destroy(error?: Error): void;
}

export interface Listener {
  /** The address really bound: port 0 has become a number. */
  readonly address: Address;
  /** Accepts no more. Streams already accepted live on. */
  close(): Promise<void>;
}

export interface Network {
  /** Never throws: a failed connect is told by onClose with an error. */
  connect(address: Address): ByteStream;
  /** Rejects if the address cannot be bound (EADDRINUSE and the like, as Node names them). */
  listen(address: Address, onStream: (stream: ByteStream) => void): Promise<Listener>;
}

/** "host:port", with brackets round an IPv6 host. */
export function formatAddress(address: Address): string {
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** Reads "host:port", "[::1]:port" or, with a default port, "host". Null if the text is none of these. */
export function parseAddress(text: string, defaultPort?: number): Address | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+))(?::(\d{1,5}))?$/.exec(text.trim());
  if (match === null) return null;
  const host = match[1] ?? match[2];
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  if (host === undefined || port === undefined || port > 65535) return null;
  return { host, port };
}
