/** Content-Encoding: a request's body made plain again, with a bound on what it may become. */

import { promisify } from "node:util";
import { brotliDecompress, gunzip, inflate } from "node:zlib";
import { decompress, KafkaError, loadCodec } from "@millrace/protocol";
import { RequestError } from "./errors.ts";

type Inflate = (bytes: Buffer, limitBytes: number) => Promise<Buffer>;

const gunzipAsync = promisify<Buffer, { maxOutputLength: number }, Buffer>(gunzip);
const inflateAsync = promisify<Buffer, { maxOutputLength: number }, Buffer>(inflate);
const brotliAsync = promisify<Buffer, { maxOutputLength: number }, Buffer>(brotliDecompress);

const inflaters: Readonly<Record<string, Inflate>> = {
  gzip: (bytes, maxOutputLength) => gunzipAsync(bytes, { maxOutputLength }),
  "x-gzip": (bytes, maxOutputLength) => gunzipAsync(bytes, { maxOutputLength }),
  deflate: (bytes, maxOutputLength) => inflateAsync(bytes, { maxOutputLength }),
  br: (bytes, maxOutputLength) => brotliAsync(bytes, { maxOutputLength }),
  async zstd(bytes, limitBytes) {
    await loadCodec("zstd");
    return decompress("zstd", bytes, limitBytes);
  },
};

const EMPTY = Buffer.alloc(0);

/**
 * The body as it was before it was encoded.
 *
 * Throws RequestError UNSUPPORTED_ENCODING for an encoding that is not known, BODY_TOO_LARGE when it grows beyond the
 * limit, INVALID_BODY when it cannot be decoded.
 */
export function inflateBody(body: unknown, encoding: string | undefined, limitBytes: number): Buffer | Promise<Buffer> {
  const bytes = Buffer.isBuffer(body) ? body : EMPTY;
  if (encoding === undefined || encoding === "identity" || encoding === "") return bytes;
  return inflateWith(encoding.trim().toLowerCase(), bytes, limitBytes);
}

async function inflateWith(encoding: string, bytes: Buffer, limitBytes: number): Promise<Buffer> {
  const inflater = Object.hasOwn(inflaters, encoding) ? inflaters[encoding] : undefined;
  if (inflater === undefined) throw unsupportedEncoding(encoding);
  try {
    return await inTurn(() => inflater(bytes, limitBytes));
  } catch (error) {
    if (isTooLarge(error)) {
      throw new RequestError("BODY_TOO_LARGE", `the body inflates to more than ${limitBytes} bytes`, { cause: error });
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new RequestError("INVALID_BODY", `invalid request body: it is not ${encoding}: ${reason}`, { cause: error });
  }
}

/** As many as Node has threads for by default. What a body becomes is bounded for each; this bounds it for all. */
const CONCURRENCY = 4;
const lanes: Promise<unknown>[] = Array.from({ length: CONCURRENCY }, () => Promise.resolve());
let nextLane = 0;

function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const lane = nextLane;
  nextLane = (nextLane + 1) % CONCURRENCY;
  const done = (lanes[lane] ?? Promise.resolve()).then(work);
  lanes[lane] = done.catch(() => {});
  return done;
}

export function unsupportedEncoding(encoding: string): RequestError {
  return new RequestError("UNSUPPORTED_ENCODING", `content-encoding ${encoding} is not supported`, {
    details: [{ field: "content-encoding", message: `expected one of ${Object.keys(inflaters).join(", ")}` }],
  });
}

function isTooLarge(error: unknown): boolean {
  if (error instanceof KafkaError) return error.code === "MESSAGE_TOO_LARGE";
  return error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE";
}
