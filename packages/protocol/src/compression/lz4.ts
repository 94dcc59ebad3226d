/**
 * LZ4 frames.
 *
 *     magic 04 22 4d 18
 *     flags      bits 6–7 version 1, 5 independent blocks, 4 block checksums, 3 content size, 2 content checksum, 0 dictionary
 *     block size bits 4–6: 4 … 7 are 64 KiB, 256 KiB, 1 MiB, 4 MiB
 *     (content size u64) (dictionary id u32)
 *     header checksum: the second byte of xxHash32 of the header behind the magic
 *     blocks     u32 size, its top bit set if the block is not compressed; the block; (its checksum u32)
 *     u32 0, (content checksum u32)
 *
 * Source: lz4/lz4, doc/lz4_Frame_format.md; org.apache.kafka.common.compress.Lz4BlockInputStream for what Java reads.
 */

import { optionalPackage } from "../optional-package.ts";
import { type Codec, corrupt, tooLarge, viewOf } from "./codec.ts";
import { compressBlock, compressedLimitBytes, decompressBlock } from "./lz4-block.ts";
import { xxhash32 } from "./xxhash32.ts";

const MAGIC = 0x184d2204;
const MAGIC_BYTES = 4;
const SKIPPABLE_MAGIC = 0x184d2a50;
const SKIPPABLE_MAGIC_MASK = 0xfffffff0;
const VERSION = 1;
const INDEPENDENT_BIT = 1 << 5;
const BLOCK_CHECKSUM_BIT = 1 << 4;
const CONTENT_SIZE_BIT = 1 << 3;
const CONTENT_CHECKSUM_BIT = 1 << 2;
const DICTIONARY_BIT = 1 << 0;
const SMALLEST_BLOCK_CODE = 4;
const LARGEST_BLOCK_CODE = 7;
const UNCOMPRESSED_BIT = 0x80000000;
/** A byte of lengths makes 255 bytes at most. */
const EXPANSION_LIMIT = 255;

const BLOCK_SIZE_BYTES = 4;
const END_MARK = Buffer.alloc(BLOCK_SIZE_BYTES);

const WRITTEN_FLAGS = (VERSION << 6) | INDEPENDENT_BIT;
const WRITTEN_BLOCK_BYTES = blockBytes(SMALLEST_BLOCK_CODE);
const WRITTEN_HEADER = createHeader();

export const lz4Codec = createLz4Codec(optionalPackage<NativeLz4>("lz4-napi"));

/** native: gives the package lz4-napi, or null where there is none. */
export function createLz4Codec(native: () => NativeLz4 | null): Codec {
  const compressSync = (bytes: Uint8Array) => compressFrame(viewOf(bytes), native());
  return {
    async load() {},
    compressSync,
    compress: async (bytes) => compressSync(bytes),
    decompress: (bytes, limitBytes) => decompress(bytes, limitBytes, native()),
  };
}

/** The part of lz4-napi that we use. Its own frames are not of 64 KiB blocks, and its decoder has no limit. */
export interface NativeLz4 {
  /** One raw block, behind four bytes with the size of what was compressed. */
  compressSync(bytes: Buffer): Buffer;
  /** All blocks of one frame. */
  decompressFrameSync(frame: Buffer): Buffer;
}

const NATIVE_PREFIX_BYTES = 4;

function createHeader(): Buffer {
  const header = Buffer.from([0, 0, 0, 0, WRITTEN_FLAGS, SMALLEST_BLOCK_CODE << 4, 0]);
  header.writeUInt32LE(MAGIC);
  header.writeUInt8((xxhash32(header.subarray(4, 6)) >>> 8) & 0xff, 6);
  return header;
}

/**
 * Native code takes a fifth of the time: 16 KiB of JSON 20 µs and ours 90, Node 20.20 on a Xeon at 2.5 GHz. It could do the
 * blocks side by side in the threads of libuv's pool; measured against Kafka on two cores, that took 15 to 35 % more
 * processor time a record, and made what compresses well a fifth slower.
 */
function compressFrame(bytes: Buffer, native: NativeLz4 | null): Buffer {
  const blocks = blocksOf(bytes);
  const compressOne = native === null ? compressedBlock : (block: Buffer) => rawBlock(native.compressSync(block));
  return writeFrame(blocks, blocks.map(compressOne));
}

function blocksOf(bytes: Buffer): Buffer[] {
  const blocks: Buffer[] = [];
  for (let start = 0; start < bytes.length; start += WRITTEN_BLOCK_BYTES) {
    blocks.push(bytes.subarray(start, start + WRITTEN_BLOCK_BYTES));
  }
  return blocks;
}

function rawBlock(prefixed: Buffer): Buffer {
  return prefixed.subarray(NATIVE_PREFIX_BYTES);
}

function compressedBlock(block: Buffer): Buffer {
  const output = Buffer.allocUnsafe(compressedLimitBytes(block.length));
  return output.subarray(0, compressBlock(block, output, 0));
}

/** What Java's producer writes: independent blocks of 64 KiB, no checksums, no content size. Those that do not shrink stand as they are. */
function writeFrame(blocks: readonly Buffer[], compressed: readonly Buffer[]): Buffer {
  const chunks: Buffer[] = [WRITTEN_HEADER];
  for (const [index, block] of blocks.entries()) {
    const shorter = compressed[index];
    const isCompressed = shorter !== undefined && shorter.length < block.length;
    const size = Buffer.allocUnsafe(BLOCK_SIZE_BYTES);
    size.writeUInt32LE(isCompressed ? shorter.length : (block.length | UNCOMPRESSED_BIT) >>> 0);
    chunks.push(size, isCompressed ? shorter : block);
  }
  chunks.push(END_MARK);
  return Buffer.concat(chunks);
}

interface Frame {
  readonly bytes: Uint8Array;
  readonly isLinked: boolean;
  readonly blockLimitBytes: number;
  readonly contentBytes: number | null;
  readonly contentChecksum: number | null;
  readonly blocks: readonly Block[];
}

interface Block {
  readonly bytes: Uint8Array;
  readonly isCompressed: boolean;
}

function decompress(bytes: Uint8Array, limitBytes: number, native: NativeLz4 | null): Buffer {
  const frames = readFrames(bytes);
  const largestBytes = frames.reduce((sum, frame) => sum + largestSizeBytes(frame), 0);
  const [only] = frames;
  if (native !== null && only !== undefined && frames.length === 1 && largestBytes <= limitBytes) {
    return decompressNatively(native, only);
  }
  const output = Buffer.allocUnsafe(Math.min(limitBytes, largestBytes));
  let to = 0;
  for (const frame of frames) to = decompressFrame(frame, output, to, limitBytes);
  // Records that are kept hold on to the whole buffer: not when most of it is empty.
  return to < output.length / 2 ? Buffer.from(output.subarray(0, to)) : output.subarray(0, to);
}

function decompressNatively(native: NativeLz4, frame: Frame): Buffer {
  try {
    return native.decompressFrameSync(viewOf(frame.bytes));
  } catch (error) {
    throw corrupt("lz4", error instanceof Error ? error.message : String(error), error);
  }
}

/** The least that is known before decompressing: no frame comes out larger. */
function largestSizeBytes(frame: Frame): number {
  let sizeBytes = 0;
  for (const { bytes, isCompressed } of frame.blocks) {
    sizeBytes += isCompressed ? Math.min(frame.blockLimitBytes, bytes.length * EXPANSION_LIMIT) : bytes.length;
  }
  return sizeBytes;
}

function decompressFrame(frame: Frame, output: Buffer, start: number, limitBytes: number): number {
  let to = start;
  for (const { bytes, isCompressed } of frame.blocks) {
    const end = Math.min(to + frame.blockLimitBytes, limitBytes);
    const refuse = (): never => {
      if (end === limitBytes) throw tooLarge("lz4", limitBytes);
      throw corrupt("lz4", `a block decompresses to more than ${frame.blockLimitBytes} bytes`);
    };
    if (isCompressed) {
      const windowStart = frame.isLinked ? start : to;
      to = decompressBlock(bytes, { output, start: to, end, windowStart }, refuse);
      continue;
    }
    if (bytes.length > end - to) refuse();
    output.set(bytes, to);
    to += bytes.length;
  }
  const content = output.subarray(start, to);
  if (frame.contentBytes !== null && frame.contentBytes !== content.length) {
    throw corrupt("lz4", `expected ${frame.contentBytes} bytes, found ${content.length}`);
  }
  if (frame.contentChecksum !== null && frame.contentChecksum !== xxhash32(content)) {
    throw corrupt("lz4", "the content's checksum does not match");
  }
  return to;
}

/** The frames that stand one behind the other, their blocks as views. */
function readFrames(bytes: Uint8Array): Frame[] {
  const cursor = new Cursor(bytes);
  const frames: Frame[] = [];
  do {
    const magic = cursor.uint32();
    if ((magic & SKIPPABLE_MAGIC_MASK) === SKIPPABLE_MAGIC) cursor.take(cursor.uint32());
    else if (magic === MAGIC) frames.push(readFrame(cursor));
    else throw corrupt("lz4", `expected the magic 04 22 4d 18, found ${magic.toString(16)} at byte ${cursor.at - 4}`);
  } while (cursor.at < bytes.length);
  return frames;
}

function readFrame(cursor: Cursor): Frame {
  const headerStart = cursor.at;
  const frameStart = headerStart - MAGIC_BYTES;
  const flags = cursor.uint8();
  const blockCode = (cursor.uint8() >>> 4) & 7;
  if (flags >>> 6 !== VERSION) throw corrupt("lz4", `there is no frame version ${flags >>> 6}`);
  if ((flags & DICTIONARY_BIT) !== 0) throw corrupt("lz4", "the frame needs a dictionary");
  if (blockCode < SMALLEST_BLOCK_CODE || blockCode > LARGEST_BLOCK_CODE) {
    throw corrupt("lz4", `there is no block size ${blockCode}`);
  }
  const contentBytes = (flags & CONTENT_SIZE_BIT) === 0 ? null : cursor.uint64();
  const checksum = (xxhash32(cursor.since(headerStart)) >>> 8) & 0xff;
  if (cursor.uint8() !== checksum) throw corrupt("lz4", "the header's checksum does not match");

  const blockLimitBytes = blockBytes(blockCode);
  const blocks: Block[] = [];
  for (;;) {
    const size = cursor.uint32();
    if (size === 0) break;
    const sizeBytes = size & ~UNCOMPRESSED_BIT;
    if (sizeBytes > blockLimitBytes)
      throw corrupt("lz4", `a block of ${sizeBytes} bytes in a frame of ${blockLimitBytes}`);
    const bytes = cursor.take(sizeBytes);
    if ((flags & BLOCK_CHECKSUM_BIT) !== 0 && cursor.uint32() !== xxhash32(bytes)) {
      throw corrupt("lz4", `the checksum of block ${blocks.length} does not match`);
    }
    blocks.push({ bytes, isCompressed: sizeBytes === size });
  }
  const contentChecksum = (flags & CONTENT_CHECKSUM_BIT) === 0 ? null : cursor.uint32();
  const isLinked = (flags & INDEPENDENT_BIT) === 0;
  return { bytes: cursor.since(frameStart), isLinked, blockLimitBytes, contentBytes, contentChecksum, blocks };
}

function blockBytes(code: number): number {
  return 1 << (8 + 2 * code);
}

/** Reads little-endian numbers; every read is checked against the end. */
class Cursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  take(sizeBytes: number): Uint8Array {
    return this.#bytes.subarray(this.#skip(sizeBytes), this.at);
  }

  since(start: number): Uint8Array {
    return this.#bytes.subarray(start, this.at);
  }

  uint8(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  uint32(): number {
    return this.#view.getUint32(this.#skip(4), true);
  }

  uint64(): number {
    return Number(this.#view.getBigUint64(this.#skip(8), true));
  }

  #skip(sizeBytes: number): number {
    const start = this.at;
    if (sizeBytes > this.#bytes.length - start)
      throw corrupt("lz4", `the frame ends at byte ${this.#bytes.length}, too soon`);
    this.at = start + sizeBytes;
    return start;
  }
}
