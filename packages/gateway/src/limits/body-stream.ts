/** BodyStream: a request's body in pieces as they come, for bodies that are never held whole. */

import { pipeline, type Readable, type Transform } from "node:stream";
import zlib from "node:zlib";
import { type Clock, createDeferred } from "@millrace/base";
import { RequestError } from "../errors.ts";
import { inflateBody, unsupportedEncoding } from "../inflate.ts";
import { abandon } from "./abandon.ts";
import type { Intake, Share } from "./intake.ts";

/**
 * A body may grow to this many times its size when it is inflated, once that is more than a whole body may have. Logs
 * shrink to a tenth or a fiftieth; a body that was made to keep us busy, to a thousandth.
 */
const INFLATE_RATIO_LIMIT = 200;

const EMPTY = Buffer.alloc(0);

export interface BodyStreamParts {
  readonly payload: Readable;
  readonly clock: Clock;
  readonly intake: Intake;
  /** The request's, on which counts what is kept of the body. */
  readonly share: Share;
  /** Longest silence. */
  readonly timeoutMs: number;
  /** Largest body that is taken whole. */
  readonly limitBytes: number;
  /** Told of what came, before it is inflated. */
  readonly onBytes: (sizeBytes: number) => void;
}

export class BodyStream {
  readonly #parts: BodyStreamParts;
  #receivedBytes = 0;
  /** Ends the wait for more, while there is one. */
  #giveUp: ((error: RequestError) => void) | null = null;
  /** Others needed the room of what is kept, which is counted no more: so nothing else may be kept. */
  #eviction: RequestError | null = null;
  #iterator: AsyncIterator<Buffer> | null = null;

  constructor(parts: BodyStreamParts) {
    this.#parts = parts;
  }

  /**
   * The body's pieces, inflated. What nobody asks for stays in the sender's socket.
   *
   * Throws RequestError UNSUPPORTED_ENCODING, INVALID_BODY, BODY_TOO_LARGE or REQUEST_INCOMPLETE.
   */
  async *chunks(encoding: string | undefined): AsyncGenerator<Buffer> {
    const inflater = createInflater(encoding);
    if (inflater === "none") {
      yield* this.#received();
      return;
    }
    if (inflater === "whole") {
      yield await inflateBody(await this.#whole(), encoding, this.#parts.limitBytes);
      return;
    }
    yield* this.#inflated(inflater, encoding ?? "");
  }

  /** All of it, inflated. Throws as `chunks` does. */
  async readWhole(encoding: string | undefined): Promise<Buffer> {
    return inflateBody(await this.#whole(), encoding, this.#parts.limitBytes);
  }

  /**
   * Some of a piece is kept until more has come: of all bodies together there is room for so much only.
   *
   * Throws RequestError OVERLOADED. Where others need the room and no more comes, `chunks` ends with UPLOAD_STALLED; so
   * does this, if nobody waited for more just then.
   */
  keep(sizeBytes: number): void {
    if (this.#eviction !== null) throw this.#eviction;
    this.#parts.intake.receivePart(this.#parts.share, sizeBytes, (error) => {
      this.#eviction = error;
      this.#giveUp?.(error);
    });
  }

  /** So much less is kept. */
  release(sizeBytes: number): void {
    const { intake, share } = this.#parts;
    intake.resize(share, Math.max(0, share.sizeBytes - sizeBytes));
  }

  /** For now it is not the sender who is waited for. */
  pause(): void {
    this.#parts.intake.complete(this.#parts.share);
  }

  /** Throws the rest away. */
  abandon(): void {
    const { payload, clock } = this.#parts;
    // As long as the iterator listens, nothing flows.
    void Promise.resolve(this.#iterator?.return?.()).finally(() => abandon(payload, clock));
  }

  async #whole(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of this.#received()) {
      this.keep(chunk.length);
      chunks.push(chunk);
      if (this.#receivedBytes > this.#parts.limitBytes) {
        throw new RequestError("BODY_TOO_LARGE", `the body is larger than ${this.#parts.limitBytes} bytes`);
      }
    }
    this.pause();
    return chunks.length === 1 ? (chunks[0] ?? EMPTY) : Buffer.concat(chunks);
  }

  async *#received(): AsyncGenerator<Buffer> {
    const { payload, onBytes } = this.#parts;
    // Left open when we stop early: the answer still has to go out through its socket.
    const iterator: AsyncIterator<Buffer> = payload.iterator({ destroyOnReturn: false });
    this.#iterator = iterator;
    for (;;) {
      if (this.#eviction !== null) throw this.#eviction;
      const next = await this.#within(iterator.next());
      if (next.done === true) return;
      const chunk = next.value;
      this.#receivedBytes += chunk.length;
      onBytes(chunk.length);
      yield chunk;
    }
  }

  async *#inflated(inflater: Inflater, encoding: string): AsyncGenerator<Buffer> {
    let inflatedBytes = 0;
    pipeline(this.#received(), inflater, () => {});
    try {
      for await (const chunk of inflater) {
        inflatedBytes += chunk.length;
        if (inflatedBytes > this.#parts.limitBytes && inflatedBytes > INFLATE_RATIO_LIMIT * this.#receivedBytes) {
          const message = `the body inflates to more than ${INFLATE_RATIO_LIMIT} times its size`;
          throw new RequestError("BODY_TOO_LARGE", message);
        }
        yield chunk;
      }
      // Of deflate and brotli Node leaves out what follows their end, without a word.
      const leftBytes = this.#receivedBytes - inflater.bytesWritten;
      if (leftBytes > 0) throw new Error(`it ends ${leftBytes} bytes too soon`);
    } catch (error) {
      if (error instanceof RequestError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new RequestError("INVALID_BODY", `invalid request body: it is not ${encoding}: ${reason}`, {
        cause: error,
      });
    }
  }

  /** What comes of the promise; a sender that has been silent for too long is given up, and so is one that went away. */
  #within<T>(promise: Promise<T>): Promise<T> {
    const { clock, timeoutMs } = this.#parts;
    const { promise: outcome, resolve, reject } = createDeferred<T>();
    this.#giveUp = reject;
    const timer = clock.schedule(timeoutMs, () =>
      reject(new RequestError("REQUEST_INCOMPLETE", `no more of the body came for ${timeoutMs} ms`)),
    );
    promise.then(
      (value) => {
        timer.cancel();
        resolve(value);
      },
      () => {
        timer.cancel();
        reject(new RequestError("REQUEST_INCOMPLETE", "the connection closed before the whole request had come"));
      },
    );
    return outcome;
  }
}

type Inflater = Transform & { readonly bytesWritten: number };

/** "whole": known, but this Node can only inflate it in one piece. */
function createInflater(encoding: string | undefined): Inflater | "none" | "whole" {
  switch (encoding?.trim().toLowerCase()) {
    case undefined:
    case "":
    case "identity":
      return "none";
    case "gzip":
    case "x-gzip":
      return zlib.createGunzip();
    case "deflate":
      return zlib.createInflate();
    case "br":
      return zlib.createBrotliDecompress();
    case "zstd":
      // Node 22.15 and newer; the types are those of Node 20.
      return "createZstdDecompress" in zlib && typeof zlib.createZstdDecompress === "function"
        ? zlib.createZstdDecompress()
        : "whole";
    default:
      throw unsupportedEncoding(encoding ?? "");
  }
}
