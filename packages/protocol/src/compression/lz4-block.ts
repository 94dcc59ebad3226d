/**
 * One raw block of LZ4: sequences of literals and a match, each
 *
 *     token            upper four bits: literal length, lower four: match length - 4; 15 says: and what follows
 *     (length bytes)   255 … 255 n, added to the literal length
 *     literals
 *     offset           u16, little-endian: how far back the match begins
 *     (length bytes)   added to the match length
 *
 * The last sequence ends behind its literals. The last match begins 12 bytes before the end or earlier, and the last
 * five bytes are literals.
 *
 * Source: lz4/lz4, doc/lz4_Block_format.md.
 */

import { corrupt } from "./codec.ts";
import { byteAt, copyBytes, copyWithin, createHashTable, hashAt, matchLength, wordAt } from "./match-finder.ts";

const LONG_LENGTH = 15;
const SHORTEST_MATCH_BYTES = 4;
const LAST_MATCH_START_BYTES = 12;
const LAST_LITERALS_BYTES = 5;
/** After each 64 misses in a row the finder takes steps that are one byte longer. */
const SKIP_SHIFT = 6;

/** No block is larger than this when it is what compressBlock makes of sizeBytes. */
export function compressedLimitBytes(sizeBytes: number): number {
  return sizeBytes + Math.ceil(sizeBytes / 255) + 16;
}

/** bytes: 64 KiB at most. Writes to the output from `to` on, which has room for compressedLimitBytes; returns its end. */
export function compressBlock(bytes: Uint8Array, output: Uint8Array, to: number): number {
  const table = createHashTable(bytes.length);
  const lastStart = bytes.length - LAST_MATCH_START_BYTES;
  const matchEnd = bytes.length - LAST_LITERALS_BYTES;
  let literalStart = 0;
  let at = 1;
  let missCount = 1 << SKIP_SHIFT;
  while (at <= lastStart) {
    const word = wordAt(bytes, at);
    const slot = hashAt(table, word);
    const candidate = table[slot] ?? 0;
    table[slot] = at;
    if (wordAt(bytes, candidate) !== word) {
      at += missCount++ >>> SKIP_SHIFT;
      continue;
    }
    missCount = 1 << SKIP_SHIFT;
    const length = matchLength(bytes, candidate + SHORTEST_MATCH_BYTES, at + SHORTEST_MATCH_BYTES, matchEnd);
    const tokenAt = to;
    to = writeLiterals(bytes, literalStart, at, output, to);
    const offset = at - candidate;
    output[to++] = offset & 0xff;
    output[to++] = offset >>> 8;
    output[tokenAt] = byteAt(output, tokenAt) | Math.min(length, LONG_LENGTH);
    if (length >= LONG_LENGTH) to = writeLength(length - LONG_LENGTH, output, to);
    at += length + SHORTEST_MATCH_BYTES;
    literalStart = at;
  }
  return writeLiterals(bytes, literalStart, bytes.length, output, to);
}

/** The token with no match length yet, and the literals. */
function writeLiterals(bytes: Uint8Array, start: number, end: number, output: Uint8Array, to: number): number {
  const length = end - start;
  output[to++] = Math.min(length, LONG_LENGTH) << 4;
  if (length >= LONG_LENGTH) to = writeLength(length - LONG_LENGTH, output, to);
  copyBytes(bytes, start, output, to, length);
  return to + length;
}

function writeLength(length: number, output: Uint8Array, to: number): number {
  let rest = length;
  for (; rest >= 255; rest -= 255) output[to++] = 255;
  output[to++] = rest;
  return to;
}

export interface BlockTarget {
  readonly output: Uint8Array;
  /** Where this block's bytes go. */
  readonly start: number;
  /** Where they must have ended. */
  readonly end: number;
  /** Matches may reach back to here: the block's start, or the frame's where blocks are linked. */
  readonly windowStart: number;
}

/**
 * Decompresses one block; returns where its bytes end in the output.
 *
 * Throws CORRUPT_MESSAGE. Calls onOverflow, which throws what fits, if the block goes on behind target.end.
 */
export function decompressBlock(block: Uint8Array, target: BlockTarget, onOverflow: () => never): number {
  const { output, end, windowStart } = target;
  let from = 0;
  let to = target.start;
  for (;;) {
    if (from >= block.length) throw corrupt("lz4", "the block ends where a token should be");
    const token = byteAt(block, from++);

    let literalLength = token >>> 4;
    if (literalLength === LONG_LENGTH) {
      const lengthEnd = endOfLength(block, from);
      literalLength += lengthOf(block, from, lengthEnd);
      from = lengthEnd;
    }
    if (literalLength > block.length - from) throw corrupt("lz4", "the block ends inside literals");
    if (literalLength > end - to) onOverflow();
    copyBytes(block, from, output, to, literalLength);
    from += literalLength;
    to += literalLength;
    if (from === block.length) return to;

    if (block.length - from < 2) throw corrupt("lz4", "the block ends inside an offset");
    const offset = byteAt(block, from) | (byteAt(block, from + 1) << 8);
    from += 2;
    if (offset === 0 || offset > to - windowStart) {
      throw corrupt("lz4", `offset ${offset} at byte ${to - windowStart} of the output`);
    }
    let length = token & 0x0f;
    if (length === LONG_LENGTH) {
      const lengthEnd = endOfLength(block, from);
      length += lengthOf(block, from, lengthEnd);
      from = lengthEnd;
    }
    length += SHORTEST_MATCH_BYTES;
    if (length > end - to) onOverflow();
    copyWithin(output, to - offset, to, length);
    to += length;
  }
}

/** Behind the first byte that is not 255. */
function endOfLength(block: Uint8Array, start: number): number {
  let at = start;
  while (block[at] === 255) at += 1;
  if (at >= block.length) throw corrupt("lz4", "the block ends inside a length");
  return at + 1;
}

function lengthOf(block: Uint8Array, start: number, end: number): number {
  return (end - 1 - start) * 255 + byteAt(block, end - 1);
}
