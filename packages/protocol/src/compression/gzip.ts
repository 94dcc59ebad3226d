/** gzip, by Node's zlib. */

import { promisify } from "node:util";
import { constants, gunzipSync, gzip, gzipSync } from "node:zlib";
import { type Codec, corrupt, tooLarge } from "./codec.ts";

const gzipAsync = promisify(gzip);

export const gzipCodec: Codec = {
  async load() {},
  compressSync: (bytes, level = constants.Z_DEFAULT_COMPRESSION) => gzipSync(bytes, { level }),
  compress: (bytes, level = constants.Z_DEFAULT_COMPRESSION) => gzipAsync(bytes, { level }),
  decompress(bytes, limitBytes) {
    const result = gunzip(bytes, limitBytes);
    if (result.length > limitBytes) throw tooLarge("gzip", limitBytes);
    return result;
  },
};

function gunzip(bytes: Uint8Array, limitBytes: number): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: Math.max(limitBytes, SMALLEST_LIMIT_BYTES) });
  } catch (error) {
    throw zlibError("gzip", error, limitBytes);
  }
}

/** zlib takes no limit of 0. */
export const SMALLEST_LIMIT_BYTES = 1;

/** zlib's error in our words. */
export function zlibError(codec: string, error: unknown, limitBytes: number): Error {
  if (error instanceof RangeError && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") {
    return tooLarge(codec, limitBytes);
  }
  return corrupt(codec, error instanceof Error ? error.message : String(error), error);
}
