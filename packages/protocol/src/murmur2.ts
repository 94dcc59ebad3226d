/** murmur2 as Apache Kafka's default partitioner computes it: the same key goes to the same partition from any client. */

const SEED = 0x9747b28c;
const MULTIPLIER = 0x5bd1e995;
const SHIFT = 24;

/**
 * The hash of a key, the first sizeBytes bytes, as a signed 32-bit number.
 *
 * Source: org.apache.kafka.common.utils.Utils.murmur2; the partition is `(murmur2(key) & 0x7fffffff) % partitionCount`.
 */
export function murmur2(bytes: Uint8Array, sizeBytes = bytes.length): number {
  const wordsEnd = sizeBytes & ~3;
  let hash = SEED ^ sizeBytes;
  for (let index = 0; index < wordsEnd; index += 4) {
    const word =
      byteAt(bytes, index) |
      (byteAt(bytes, index + 1) << 8) |
      (byteAt(bytes, index + 2) << 16) |
      (byteAt(bytes, index + 3) << 24);
    const product = Math.imul(word, MULTIPLIER);
    hash = Math.imul(hash, MULTIPLIER) ^ Math.imul(product ^ (product >>> SHIFT), MULTIPLIER);
  }
  if (wordsEnd < sizeBytes) {
    let tail = byteAt(bytes, wordsEnd);
    if (wordsEnd + 1 < sizeBytes) tail |= byteAt(bytes, wordsEnd + 1) << 8;
    if (wordsEnd + 2 < sizeBytes) tail |= byteAt(bytes, wordsEnd + 2) << 16;
    hash = Math.imul(hash ^ tail, MULTIPLIER);
  }
  hash = Math.imul(hash ^ (hash >>> 13), MULTIPLIER);
  return hash ^ (hash >>> 15);
}

const byteAt = (bytes: Uint8Array, index: number): number => bytes[index] ?? 0;
