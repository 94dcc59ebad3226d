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
    try {
      return gunzipSync(bytes, { maxOutputLength: Math.max(limitBytes, 1) });
    } catch (error) {
      throw zlibError("gzip", error, limitBytes);
    }
  },
};

/** zlib's error in our words. */
export function zlibError(codec: string, error: unknown, limitBytes: number): Error {
  if (error instanceof RangeError && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") {
    return tooLarge(codec, limitBytes);
  }
  return corrupt(codec, error instanceof Error ? error.message : String(error), error);
}
