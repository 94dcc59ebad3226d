/** Snappy: read raw or in the framing of Java's xerial library, written raw. */

import { optionalPackage } from "../optional-package.ts";
import { type Codec, corrupt, tooLarge } from "./codec.ts";
import { compressBlock, declaredSizeBytes, decompressBlock } from "./snappy-block.ts";

/** 82 "SNAPPY" 00, then two 32-bit versions that nobody has ever changed. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;
/** The magic's first four bytes where a block's length should be: another xerial stream was appended. */
const XERIAL_MAGIC_HEAD = 0x82534e41;

/**
 * Raw is what librdkafka and franz-go write. Java, which writes xerial itself, has always read both, and so does every
 * client since; raw needs no cut into 32 KiB blocks.
 */
export const snappyCodec = createSnappyCodec(optionalPackage<NativeSnappy>("snappy"));

/** native: gives the package snappy, or null where there is none. */
export function createSnappyCodec(native: () => NativeSnappy | null): Codec {
  const compressSync = (bytes: Uint8Array) => native()?.compressSync(bytes) ?? compressBlock(bytes);
  return {
    async load() {},
    compressSync,
    compress: async (bytes) => compressSync(bytes),
    decompress: (bytes, limitBytes) => decompress(bytes, limitBytes, native()),
  };
}

/** The part of the package snappy that we use: one raw block. */
export interface NativeSnappy {
  compressSync(bytes: Uint8Array): Buffer;
  uncompressSync(bytes: Uint8Array, options: { readonly asBuffer: true }): Buffer;
}

function decompress(bytes: Uint8Array, limitBytes: number, native: NativeSnappy | null): Buffer {
  const blocks = isXerial(bytes) ? xerialBlocks(bytes) : [bytes];
  const sizeBytes = blocks.reduce((sum, block) => sum + declaredSizeBytes(block), 0);
  if (sizeBytes > limitBytes) throw tooLarge("snappy", limitBytes);
  const [only] = blocks;
  if (only !== undefined && blocks.length === 1) return uncompressBlock(only, native);
  return Buffer.concat(
    blocks.map((block) => uncompressBlock(block, native)),
    sizeBytes,
  );
}

function isXerial(bytes: Uint8Array): boolean {
  return XERIAL_MAGIC.every((byte, index) => bytes[index] === byte);
}

/** The raw blocks, as views. */
function xerialBlocks(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < 4) throw corrupt("snappy", `${bytes.length - at} bytes behind the last block`);
    const sizeBytes = view.getUint32(at);
    if (sizeBytes === XERIAL_MAGIC_HEAD) {
      if (!isXerial(bytes.subarray(at)) || bytes.length - at < XERIAL_HEADER_BYTES) {
        throw corrupt("snappy", `no xerial header at byte ${at}`);
      }
      at += XERIAL_HEADER_BYTES;
      continue;
    }
    at += 4;
    if (sizeBytes > bytes.length - at) {
      throw corrupt("snappy", `a block of ${sizeBytes} bytes with ${bytes.length - at} left`);
    }
    blocks.push(bytes.subarray(at, at + sizeBytes));
    at += sizeBytes;
  }
  return blocks;
}

/** Safe for native code too: what the block declares was checked against what its bytes can hold. */
function uncompressBlock(block: Uint8Array, native: NativeSnappy | null): Buffer {
  if (native === null) return decompressBlock(block);
  try {
    return native.uncompressSync(block, { asBuffer: true });
  } catch (error) {
    throw corrupt("snappy", error instanceof Error ? error.message : String(error), error);
  }
}
