/** Zstandard: Node's own where it has one (22.15 and later), else zstd compiled to WebAssembly. */

import { createRequire } from "node:module";
import * as zlib from "node:zlib";
import { assert } from "@millrace/base";
import { type Codec, corrupt, tooLarge } from "./codec.ts";
import { SMALLEST_LIMIT_BYTES, zlibError } from "./gzip.ts";
import { readFrames, type ZstdFrame } from "./zstd-frame.ts";

/** zstd's own default, and Kafka's. */
const DEFAULT_LEVEL = 3;
/** ZSTD_c_compressionLevel, as Node's `zlib.constants` and zstd.h have it. */
const LEVEL_PARAMETER = 100;

/** The part of Node's zlib that Node 20 does not have, and that its types do not know. */
interface NodeZstd {
  zstdCompressSync(bytes: Uint8Array, options: CompressOptions): Buffer;
  zstdCompress(bytes: Uint8Array, options: CompressOptions, done: (error: Error | null, result: Buffer) => void): void;
  zstdDecompressSync(bytes: Uint8Array, options: { readonly maxOutputLength: number }): Buffer;
}

interface CompressOptions {
  readonly params: { readonly [LEVEL_PARAMETER]: number };
}

function hasZstd(module: object): module is NodeZstd {
  return "zstdCompressSync" in module && "zstdCompress" in module && "zstdDecompressSync" in module;
}

export const zstdCodec: Codec = hasZstd(zlib) ? createNodeCodec(zlib) : createWasmCodec();

function createNodeCodec(node: NodeZstd): Codec {
  const options = (level = DEFAULT_LEVEL): CompressOptions => ({ params: { [LEVEL_PARAMETER]: level } });
  return {
    async load() {},
    compressSync: (bytes, level) => node.zstdCompressSync(bytes, options(level)),
    compress: (bytes, level) =>
      new Promise((resolve, reject) => {
        node.zstdCompress(bytes, options(level), (error, result) => (error === null ? resolve(result) : reject(error)));
      }),
    decompress: (bytes, limitBytes) =>
      decompressFrames(bytes, limitBytes, (frame, restBytes) => {
        try {
          return node.zstdDecompressSync(frame.bytes, { maxOutputLength: Math.max(restBytes, SMALLEST_LIMIT_BYTES) });
        } catch (error) {
          throw zlibError("zstd", error, limitBytes);
        }
      }),
  };
}

/** The part of the package @foxglove/wasm-zstd that we use. */
interface WasmZstd {
  readonly isLoaded: Promise<unknown>;
  compress(bytes: Uint8Array, level: number): Buffer;
  /** Throws if what comes out is more than capacityBytes, or for anything else. */
  decompress(bytes: Uint8Array, capacityBytes: number): Buffer;
}

export function createWasmCodec(): Codec {
  let wasm: WasmZstd | null = null;
  const loaded = (): WasmZstd => {
    assert(wasm !== null, 'zstd is not loaded: `await loadCodec("zstd")` comes first');
    return wasm;
  };
  const load = async (): Promise<void> => {
    const loading: WasmZstd = createRequire(import.meta.url)("@foxglove/wasm-zstd");
    await loading.isLoaded;
    wasm = loading;
  };
  return {
    load,
    compressSync: (bytes, level = DEFAULT_LEVEL) => loaded().compress(bytes, level),
    async compress(bytes, level = DEFAULT_LEVEL) {
      await load();
      return loaded().compress(bytes, level);
    },
    decompress: (bytes, limitBytes) =>
      decompressFrames(bytes, limitBytes, (frame, restBytes) => {
        try {
          return loaded().decompress(frame.bytes, Math.min(frame.boundBytes, restBytes));
        } catch (error) {
          if (frame.boundBytes > restBytes) throw tooLarge("zstd", limitBytes);
          throw corrupt("zstd", error instanceof Error ? error.message : String(error), error);
        }
      }),
  };
}

/** Frame by frame, because Node's zstd stops behind the first and says nothing (24.21). */
function decompressFrames(
  bytes: Uint8Array,
  limitBytes: number,
  decompressOne: (frame: ZstdFrame, restBytes: number) => Buffer,
): Buffer {
  let restBytes = limitBytes;
  const parts = readFrames(bytes, limitBytes).map((frame) => {
    const part = decompressOne(frame, restBytes);
    restBytes -= part.length;
    if (restBytes < 0) throw tooLarge("zstd", limitBytes);
    return part;
  });
  const [only] = parts;
  return only !== undefined && parts.length === 1 ? only : Buffer.concat(parts);
}
