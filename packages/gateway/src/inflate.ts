/** Content-Encoding: a request's body made plain again, with a bound on what it may become. */

import { promisify } from "node:util";
import { brotliDecompress, gunzip, inflate } from "node:zlib";
import { decompress, KafkaError, loadCodec } from "@millrace/protocol";
import { RequestError } from "./errors.ts";

type Inflate = (bytes: Buffer, limitBytes: number) => Promise<Buffer>;

const inflaters: Readonly<Record<string, Inflate>> = {
  gzip: inflateBy(gunzip),
  "x-gzip": inflateBy(gunzip),
  deflate: inflateBy(inflate),
  br: inflateBy(brotliDecompress),
  async zstd(bytes, limitBytes) {
    await loadCodec("zstd");
    return decompress("zstd", bytes, limitBytes);
  },
};

interface InflateOptions {
  readonly maxOutputLength: number;
  readonly info: true;
}

/** What came out, and how many of the bytes went in. */
interface Inflated {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

type NodeInflate = (
  bytes: Buffer,
  options: InflateOptions,
  done: (error: Error | null, inflated: Inflated) => void,
) => void;

/** Of deflate and brotli Node leaves out what follows their end, without a word. */
function inflateBy(nodeInflate: typeof gunzip): Inflate {
  const inflateAsync = promisify<Buffer, InflateOptions, Inflated>(nodeInflate as unknown as NodeInflate); // its types know no `info`
  return async (bytes, maxOutputLength) => {
    const { buffer, engine } = await inflateAsync(bytes, { maxOutputLength, info: true });
    if (engine.bytesWritten < bytes.length)
      throw new Error(`it ends ${bytes.length - engine.bytesWritten} bytes too soon`);
    return buffer;
  };
}

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
