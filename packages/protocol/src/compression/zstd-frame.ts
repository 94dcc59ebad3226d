/**
 * Walks Zstandard frames without decompressing them.
 *
 *     magic 28 b5 2f fd
 *     descriptor   bits 6–7 size of the content size, 5 single segment, 2 checksum, 0–1 size of the dictionary id
 *     (window)     one byte, unless single segment: exponent in the upper five bits, mantissa in the lower three
 *     (dictionary id) (content size)
 *     blocks       u24: bit 0 last, bits 1–2 kind (0 raw, 1 one byte repeated, 2 compressed), above it the size
 *     (checksum u32)
 *
 * Source: RFC 8878.
 */

import { corrupt, tooLarge } from "./codec.ts";

const MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const SKIPPABLE_MAGIC_MASK = 0xfffffff0;
const SINGLE_SEGMENT_BIT = 1 << 5;
const CHECKSUM_BIT = 1 << 2;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];
const BLOCK_LIMIT_BYTES = 128 * 1024;

export interface ZstdFrame {
  readonly bytes: Uint8Array;
  /** The most that it can decompress to: exact where the frame tells it. */
  readonly boundBytes: number;
}

/**
 * The frames that stand one behind the other, as views; skippable ones left out.
 *
 * Throws CORRUPT_MESSAGE if they do not end where the bytes end, MESSAGE_TOO_LARGE if one tells of more than the limit.
 */
export function readFrames(bytes: Uint8Array, limitBytes: number): ZstdFrame[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frames: ZstdFrame[] = [];
  let at = 0;

  const take = (sizeBytes: number): number => {
    const start = at;
    if (sizeBytes > bytes.length - start) throw corrupt("zstd", `the frame ends at byte ${bytes.length}, too soon`);
    at = start + sizeBytes;
    return start;
  };
  const number = (sizeBytes: number): number => {
    const start = take(sizeBytes);
    let value = 0;
    for (let index = sizeBytes - 1; index >= 0; index--) value = value * 256 + view.getUint8(start + index);
    return value;
  };

  const measureFrame = (): number => {
    const descriptor = number(1);
    const isSingleSegment = (descriptor & SINGLE_SEGMENT_BIT) !== 0;
    const windowBytes = isSingleSegment ? null : readWindow(number(1));
    take(DICTIONARY_ID_BYTES[descriptor & 3] ?? 0);
    const sizeCode = descriptor >>> 6;
    const sizeBytes = sizeCode === 0 && isSingleSegment ? 1 : (CONTENT_SIZE_BYTES[sizeCode] ?? 0);
    // Two bytes hold what is beyond the 256 that one could tell.
    const contentBytes = sizeBytes === 0 ? null : number(sizeBytes) + (sizeBytes === 2 ? 256 : 0);
    if (contentBytes !== null && contentBytes > limitBytes) throw tooLarge("zstd", limitBytes);
    const blocksBytes = measureBlocks(Math.min(windowBytes ?? BLOCK_LIMIT_BYTES, BLOCK_LIMIT_BYTES));
    if ((descriptor & CHECKSUM_BIT) !== 0) take(4);
    return contentBytes ?? blocksBytes;
  };

  const measureBlocks = (blockLimitBytes: number): number => {
    let sumBytes = 0;
    for (let isLast = false; !isLast; ) {
      const header = number(3);
      isLast = (header & 1) !== 0;
      const kind = (header >>> 1) & 3;
      const sizeBytes = header >>> 3;
      if (kind === 3) throw corrupt("zstd", "there is no block of kind 3");
      take(kind === 1 ? 1 : sizeBytes);
      sumBytes += kind === 2 ? blockLimitBytes : sizeBytes;
    }
    return sumBytes;
  };

  do {
    const start = at;
    const magic = number(4);
    if ((magic & SKIPPABLE_MAGIC_MASK) === SKIPPABLE_MAGIC) take(number(4));
    else if (magic === MAGIC) {
      const boundBytes = measureFrame();
      frames.push({ bytes: bytes.subarray(start, at), boundBytes });
    } else throw corrupt("zstd", `expected the magic 28 b5 2f fd, found ${magic.toString(16)} at byte ${at - 4}`);
  } while (at < bytes.length);
  return frames;
}

function readWindow(byte: number): number {
  const base = 2 ** (10 + (byte >>> 3));
  return base + (base / 8) * (byte & 7);
}
