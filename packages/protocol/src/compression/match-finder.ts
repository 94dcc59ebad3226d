/** What the block codecs of Snappy and LZ4 share: reading words, finding and copying matches. Hot loops: mutable, and sparing. */

const SMALLEST_TABLE_LENGTH = 256;
const LARGEST_TABLE_LENGTH = 16384;
/** Knuth's multiplicative hash: 2^32 divided by the golden ratio, made prime. */
const HASH_MULTIPLIER = 2654435761;

// Inlined, and the index is always inside: the 0 is for the compiler.
export const byteAt = (bytes: Uint8Array, index: number): number => bytes[index] ?? 0;

/** Four bytes, little-endian, signed. */
export const wordAt = (bytes: Uint8Array, index: number): number =>
  byteAt(bytes, index) |
  (byteAt(bytes, index + 1) << 8) |
  (byteAt(bytes, index + 2) << 16) |
  (byteAt(bytes, index + 3) << 24);

/** Positions of words seen before, by their hash; as large as what is to be compressed makes worth while. */
export function createHashTable(sizeBytes: number): Uint16Array {
  let length = SMALLEST_TABLE_LENGTH;
  while (length < LARGEST_TABLE_LENGTH && length < sizeBytes) length *= 2;
  return new Uint16Array(length);
}

/** The slot of a word. */
export const hashAt = (table: Uint16Array, word: number): number =>
  // The product's high bits are the mixed ones.
  (Math.imul(word, HASH_MULTIPLIER) >>> 16) & (table.length - 1);

/** How many bytes from `a` on equal those from `b` on, `b` staying before `end`. */
export function matchLength(bytes: Uint8Array, a: number, b: number, end: number): number {
  const start = b;
  while (b < end && bytes[a] === bytes[b]) {
    a += 1;
    b += 1;
  }
  return b - start;
}

/** Short copies are faster byte by byte than through a call and a view. */
const BYTEWISE_LIMIT = 48;

/** Copies between different buffers. */
export function copyBytes(source: Uint8Array, from: number, target: Uint8Array, to: number, length: number): void {
  if (length > BYTEWISE_LIMIT) target.set(source.subarray(from, from + length), to);
  else for (let index = 0; index < length; index++) target[to + index] = byteAt(source, from + index);
}

/** Copies bytes that may still be being written: a source that overlaps its target repeats itself. */
export function copyWithin(bytes: Uint8Array, from: number, to: number, length: number): void {
  const distance = to - from;
  if (length <= BYTEWISE_LIMIT) {
    for (let index = 0; index < length; index++) bytes[to + index] = byteAt(bytes, from + index);
    return;
  }
  // Each round doubles what has been repeated.
  let copied = 0;
  while (copied < length) {
    const part = Math.min(distance + copied, length - copied);
    bytes.copyWithin(to + copied, from, from + part);
    copied += part;
  }
}
