/** The compressions that a record batch may have, behind one door. */

import { assert } from "@millrace/base";
import { type Codec, viewOf } from "./codec.ts";
import { gzipCodec } from "./gzip.ts";
import { lz4Codec } from "./lz4.ts";
import { snappyCodec } from "./snappy.ts";
import { zstdCodec } from "./zstd.ts";

/** In the order of their numbers on the wire. */
export const compressionTypes = ["none", "gzip", "snappy", "lz4", "zstd"] as const;

export type CompressionType = (typeof compressionTypes)[number];

/** The same by the names that the DistributedLog document gives them: `CompressionType.GZIP` is "gzip". */
export const CompressionType = {
  NONE: "none",
  GZIP: "gzip",
  SNAPPY: "snappy",
  LZ4: "lz4",
  ZSTD: "zstd",
} as const satisfies Record<string, CompressionType>;

/** The type with this number in a batch's attributes; null if there is none. */
export function compressionById(id: number): CompressionType | null {
  return compressionTypes[id] ?? null;
}

export function compressionId(type: CompressionType): number {
  return compressionTypes.indexOf(type);
}

/** Makes a codec usable without waiting. Only zstd on a Node without zstd of its own has anything to wait for. */
export async function loadCodec(type: CompressionType): Promise<void> {
  await codecs[type].load();
}

/**
 * Compresses on this thread.
 *
 * level: gzip 1 to 9, zstd 1 to 22, each with its own default; snappy has none, and lz4 takes 1 to 17 and does not
 * look at it: there is no high-compression lz4 here.
 */
export function compressSync(type: CompressionType, bytes: Uint8Array, level?: number): Buffer {
  return codecs[type].compressSync(bytes, level);
}

/**
 * Compresses off the event loop with gzip and zstd, whose work is long. snappy and lz4 are done on this thread, in less time than the
 * way to another takes. The bytes must not change until the promise settles.
 */
export function compress(type: CompressionType, bytes: Uint8Array, level?: number): Promise<Buffer> {
  return codecs[type].compress(bytes, level);
}

/**
 * What was compressed; with "none" a view of the bytes themselves.
 *
 * limitBytes: the most it may decompress to. Memory for more is never asked for, whatever the bytes claim.
 * Throws KafkaError CORRUPT_MESSAGE or, beyond the limit, MESSAGE_TOO_LARGE.
 */
export function decompress(type: CompressionType, bytes: Uint8Array, limitBytes: number): Buffer {
  assert(limitBytes >= 0, `limitBytes is ${limitBytes}`);
  return codecs[type].decompress(bytes, limitBytes);
}

const noneCodec: Codec = {
  async load() {},
  compressSync: viewOf,
  compress: async (bytes) => viewOf(bytes),
  decompress: viewOf,
};

const codecs: Readonly<Record<CompressionType, Codec>> = {
  none: noneCodec,
  gzip: gzipCodec,
  snappy: snappyCodec,
  lz4: lz4Codec,
  zstd: zstdCodec,
};
