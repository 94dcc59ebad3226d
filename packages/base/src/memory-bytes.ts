/** Bytes that grow at the end without being moved: a file's content in memory. */

import { KIBIBYTE } from "./units.ts";

const CHUNK_BYTES = 64 * KIBIBYTE;
const SMALLEST_CHUNK_BYTES = KIBIBYTE;

/**
 *     chunks   [ 64 KiB ][ 64 KiB ][ 64 KiB ][ 1 … 64 KiB, doubling ]
 *                                              ····sizeBytes
 *
 * A position behind the size reads as nothing; a write there fills what lies between with zeros.
 */
export class MemoryBytes {
  readonly #chunks: Buffer[] = [];
  #sizeBytes = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Fills the buffer from the position on; returns how many bytes there were. */
  read(buffer: Buffer, position: number): number {
    const readBytes = Math.max(Math.min(buffer.length, this.#sizeBytes - position), 0);
    for (const { chunk, start, length, done } of this.#parts(position, readBytes)) {
      chunk.copy(buffer, done, start, start + length);
    }
    return readBytes;
  }

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length;
    this.#reserve(end);
    for (const { chunk, start, length, done } of this.#parts(position, bytes.length)) {
      chunk.set(bytes.subarray(done, done + length), start);
    }
    this.#sizeBytes = Math.max(this.#sizeBytes, end);
  }

  /** Cuts the end off, or adds zeros. */
  truncate(sizeBytes: number): void {
    this.#reserve(sizeBytes);
    // What is cut off must be zeros if the bytes grow over it again.
    for (const { chunk, start, length } of this.#parts(sizeBytes, this.#sizeBytes - sizeBytes)) {
      chunk.fill(0, start, start + length);
    }
    this.#chunks.length = Math.ceil(sizeBytes / CHUNK_BYTES);
    this.#sizeBytes = sizeBytes;
  }

  toBuffer(): Buffer {
    const bytes = Buffer.allocUnsafe(this.#sizeBytes);
    this.read(bytes, 0);
    return bytes;
  }

  /** The stretches of chunks that hold these bytes, with how many bytes come before each. */
  *#parts(position: number, sizeBytes: number) {
    let done = 0;
    while (done < sizeBytes) {
      const at = position + done;
      const start = at % CHUNK_BYTES;
      const length = Math.min(sizeBytes - done, CHUNK_BYTES - start);
      const chunk = this.#chunks[Math.floor(at / CHUNK_BYTES)];
      if (chunk !== undefined) yield { chunk, start, length, done };
      done += length;
    }
  }

  #reserve(sizeBytes: number): void {
    const chunkCount = Math.ceil(sizeBytes / CHUNK_BYTES);
    for (let index = Math.max(this.#chunks.length - 1, 0); index < chunkCount; index++) {
      const neededBytes = Math.min(sizeBytes - index * CHUNK_BYTES, CHUNK_BYTES);
      this.#chunks[index] = grow(this.#chunks[index], neededBytes);
    }
  }
}

function grow(chunk: Buffer | undefined, neededBytes: number): Buffer {
  if (chunk !== undefined && chunk.length >= neededBytes) return chunk;
  let capacityBytes = Math.max((chunk?.length ?? 0) * 2, SMALLEST_CHUNK_BYTES);
  while (capacityBytes < neededBytes) capacityBytes *= 2;
  const grown = Buffer.alloc(Math.min(capacityBytes, CHUNK_BYTES));
  if (chunk !== undefined) grown.set(chunk);
  return grown;
}
