/**
 * One raw block of Snappy, in TypeScript: for machines that have no binary of the package snappy.
 *
 *     varint       size of what it decompresses to
 *     then, until the end, elements of
 *       tag ......00   literal   length - 1 in the upper six bits; 60 … 63: in the next 1 … 4 bytes, little-endian
 *       tag ......01   copy      length - 4 in bits 2 … 4, offset in bits 5 … 7 and the next byte
 *       tag ......10   copy      length - 1 in the upper six bits, offset in the next 2 bytes
 *       tag ......11   copy      the same with 4 bytes
 *
 * Source: google/snappy, format_description.txt.
 */

import { corrupt } from "./codec.ts";
import { byteAt, copyBytes, copyWithin, createHashTable, hashAt, matchLength, wordAt } from "./match-finder.ts";

/** Three bytes make 64 at most: whatever declares more lies. */
const EXPANSION_LIMIT = 64 / 3;
const DECLARED_SIZE_LIMIT_BYTES = 5;
/** Matches are looked for this far back; it keeps all offsets in two bytes. */
const FRAGMENT_BYTES = 65536;
/** Closer than this to the end no match is begun, so that four bytes can be read anywhere. */
const MARGIN_BYTES = 15;
const LONGEST_COPY_BYTES = 64;
const SHORTEST_MATCH_BYTES = 4;
/** The longest literal whose length is in the tag. */
const SHORT_LITERAL_BYTES = 60;
/** After each 32 misses in a row the finder takes steps that are one byte longer. */
const SKIP_SHIFT = 5;

/** The size that a block says it decompresses to. Throws CORRUPT_MESSAGE if its bytes could never hold that much. */
export function declaredSizeBytes(block: Uint8Array): number {
  let sizeBytes = 0;
  for (let index = 0; index < DECLARED_SIZE_LIMIT_BYTES; index++) {
    const byte = block[index];
    if (byte === undefined) throw corrupt("snappy", "the block ends inside its size");
    sizeBytes += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) {
      if (sizeBytes > block.length * EXPANSION_LIMIT) {
        throw corrupt("snappy", `${block.length} bytes cannot hold the ${sizeBytes} that they declare`);
      }
      return sizeBytes;
    }
  }
  throw corrupt("snappy", "the size has more than five bytes");
}

/** Throws CORRUPT_MESSAGE. The output is as large as the block declares; the caller has checked that. */
export function decompressBlock(block: Uint8Array): Buffer {
  const sizeBytes = declaredSizeBytes(block);
  const output = Buffer.allocUnsafe(sizeBytes);
  let from = block.findIndex((byte) => byte < 0x80) + 1;
  let to = 0;
  while (from < block.length) {
    const tag = byteAt(block, from++);
    const kind = tag & 3;
    if (kind === 0) {
      let length = (tag >>> 2) + 1;
      if (length > SHORT_LITERAL_BYTES) {
        const lengthBytes = length - SHORT_LITERAL_BYTES;
        if (lengthBytes > block.length - from) throw corrupt("snappy", "the block ends inside a length");
        length = littleEndian(block, from, lengthBytes) + 1;
        from += lengthBytes;
      }
      if (length > block.length - from) throw corrupt("snappy", "the block ends inside a literal");
      if (length > sizeBytes - to) throw corrupt("snappy", `more than the declared ${sizeBytes} bytes`);
      copyBytes(block, from, output, to, length);
      from += length;
      to += length;
      continue;
    }
    const offsetBytes = kind === 3 ? 4 : kind;
    if (offsetBytes > block.length - from) throw corrupt("snappy", "the block ends inside an offset");
    const length = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    const offset = littleEndian(block, from, offsetBytes) + (kind === 1 ? (tag >>> 5) << 8 : 0);
    from += offsetBytes;
    if (offset === 0 || offset > to) throw corrupt("snappy", `offset ${offset} at byte ${to} of the output`);
    if (length > sizeBytes - to) throw corrupt("snappy", `more than the declared ${sizeBytes} bytes`);
    copyWithin(output, to - offset, to, length);
    to += length;
  }
  if (to !== sizeBytes) throw corrupt("snappy", `expected ${sizeBytes} bytes, found ${to}`);
  return output;
}

function littleEndian(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let index = count - 1; index >= 0; index--) value = value * 256 + byteAt(bytes, at + index);
  return value;
}

export function compressBlock(bytes: Uint8Array): Buffer {
  // What google/snappy allows for: a fragment without matches, and its literals' lengths.
  const output = Buffer.allocUnsafe(32 + bytes.length + Math.ceil(bytes.length / 6));
  let to = 0;
  let rest = bytes.length;
  while (rest >= 0x80) {
    output[to++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  output[to++] = rest;
  for (let start = 0; start < bytes.length; start += FRAGMENT_BYTES) {
    to = compressFragment(bytes, start, Math.min(start + FRAGMENT_BYTES, bytes.length), output, to);
  }
  return output.subarray(0, to);
}

/** Returns where the output ends. */
function compressFragment(bytes: Uint8Array, start: number, end: number, output: Uint8Array, to: number): number {
  const table = createHashTable(end - start);
  const lastStart = end - MARGIN_BYTES;
  let literalStart = start;
  let at = start + 1;
  let missCount = 1 << SKIP_SHIFT;
  while (at < lastStart) {
    const word = wordAt(bytes, at);
    const slot = hashAt(table, word);
    const candidate = start + (table[slot] ?? 0);
    table[slot] = at - start;
    if (wordAt(bytes, candidate) !== word) {
      at += missCount++ >>> SKIP_SHIFT;
      continue;
    }
    missCount = 1 << SKIP_SHIFT;
    to = writeLiteral(bytes, literalStart, at, output, to);
    const length =
      SHORTEST_MATCH_BYTES + matchLength(bytes, candidate + SHORTEST_MATCH_BYTES, at + SHORTEST_MATCH_BYTES, end);
    to = writeCopies(at - candidate, length, output, to);
    at += length;
    literalStart = at;
  }
  return writeLiteral(bytes, literalStart, end, output, to);
}

function writeLiteral(bytes: Uint8Array, start: number, end: number, output: Uint8Array, to: number): number {
  const length = end - start;
  if (length === 0) return to;
  if (length <= SHORT_LITERAL_BYTES) output[to++] = (length - 1) << 2;
  else {
    // A fragment's literal fits in two bytes.
    output[to++] = length <= 256 ? 60 << 2 : 61 << 2;
    output[to++] = (length - 1) & 0xff;
    if (length > 256) output[to++] = (length - 1) >>> 8;
  }
  copyBytes(bytes, start, output, to, length);
  return to + length;
}

function writeCopies(offset: number, length: number, output: Uint8Array, to: number): number {
  let rest = length;
  while (rest > 0) {
    const part = Math.min(rest, LONGEST_COPY_BYTES);
    output[to++] = ((part - 1) << 2) | 2;
    output[to++] = offset & 0xff;
    output[to++] = offset >>> 8;
    rest -= part;
  }
  return to;
}
