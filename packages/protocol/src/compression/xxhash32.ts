/** xxHash32, the checksum in LZ4 frames. Source: Cyan4973/xxHash, doc/xxhash_spec.md. */

import { byteAt, wordAt } from "./match-finder.ts";

const PRIME_1 = 2654435761;
const PRIME_2 = 2246822519;
const PRIME_3 = 3266489917;
const PRIME_4 = 668265263;
const PRIME_5 = 374761393;
const STRIPE_BYTES = 16;

/** Unsigned, with seed 0. */
export function xxhash32(bytes: Uint8Array): number {
  let at = 0;
  let hash = PRIME_5;
  if (bytes.length >= STRIPE_BYTES) {
    let lane1 = (PRIME_1 + PRIME_2) | 0;
    let lane2 = PRIME_2 | 0;
    let lane3 = 0;
    let lane4 = -PRIME_1 | 0;
    for (const last = bytes.length - STRIPE_BYTES; at <= last; at += STRIPE_BYTES) {
      lane1 = round(lane1, wordAt(bytes, at));
      lane2 = round(lane2, wordAt(bytes, at + 4));
      lane3 = round(lane3, wordAt(bytes, at + 8));
      lane4 = round(lane4, wordAt(bytes, at + 12));
    }
    hash = rotate(lane1, 1) + rotate(lane2, 7) + rotate(lane3, 12) + rotate(lane4, 18);
  }
  hash = (hash + bytes.length) | 0;
  for (; at + 4 <= bytes.length; at += 4) {
    hash = Math.imul(rotate((hash + Math.imul(wordAt(bytes, at), PRIME_3)) | 0, 17), PRIME_4);
  }
  for (; at < bytes.length; at++) {
    hash = Math.imul(rotate((hash + Math.imul(byteAt(bytes, at), PRIME_5)) | 0, 11), PRIME_1);
  }
  hash = Math.imul(hash ^ (hash >>> 15), PRIME_2);
  hash = Math.imul(hash ^ (hash >>> 13), PRIME_3);
  return (hash ^ (hash >>> 16)) >>> 0;
}

const rotate = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));
const round = (lane: number, word: number): number =>
  Math.imul(rotate((lane + Math.imul(word, PRIME_2)) | 0, 13), PRIME_1);
