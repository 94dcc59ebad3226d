/** Writes the protocol's primitive types. Large byte strings are not copied: the result is a list of chunks for one gathered write. */

import { assert } from "@millrace/base";

const INITIAL_SIZE_BYTES = 512;
const FRAME_LENGTH_BYTES = 4;
/** Below this a copy is cheaper than one more entry in the writev. */
const GATHER_THRESHOLD_BYTES = 1024;

/**
 *     chunks  [ head bytes ][ batch, by reference ][ bytes between ][ batch ] …
 *     buffer  ················· start ···· offset ·········
 *                                 └ not yet in chunks ┘
 */
export class Writer {
  #buffer: Buffer;
  #start = 0;
  #offset = 0;
  #chunks: Uint8Array[] = [];
  #chunkBytes = 0;

  constructor(sizeBytes = INITIAL_SIZE_BYTES) {
    this.#buffer = Buffer.allocUnsafe(sizeBytes);
  }

  /** All bytes written so far. */
  get sizeBytes(): number {
    return this.#chunkBytes + this.#offset - this.#start;
  }

  boolean(value: boolean): void {
    this.int8(value ? 1 : 0);
  }

  int8(value: number): void {
    const at = this.#reserve(1);
    this.#buffer.writeInt8(value, at);
  }

  int16(value: number): void {
    const at = this.#reserve(2);
    this.#buffer.writeInt16BE(value, at);
  }

  uint16(value: number): void {
    const at = this.#reserve(2);
    this.#buffer.writeUInt16BE(value, at);
  }

  int32(value: number): void {
    const at = this.#reserve(4);
    this.#buffer.writeInt32BE(value, at);
  }

  uint32(value: number): void {
    const at = this.#reserve(4);
    this.#buffer.writeUInt32BE(value, at);
  }

  int64(value: bigint): void {
    const at = this.#reserve(8);
    this.#buffer.writeBigInt64BE(value, at);
  }

  float64(value: number): void {
    const at = this.#reserve(8);
    this.#buffer.writeDoubleBE(value, at);
  }

  unsignedVarint(value: number): void {
    let rest = value >>> 0;
    while (rest > 0x7f) {
      const at = this.#reserve(1);
      this.#buffer[at] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    const at = this.#reserve(1);
    this.#buffer[at] = rest;
  }

  /** Bytes as they are, without a length. */
  raw(bytes: Uint8Array): void {
    if (bytes.length >= GATHER_THRESHOLD_BYTES) {
      this.#cut();
      this.#chunks.push(bytes);
      this.#chunkBytes += bytes.length;
      return;
    }
    const at = this.#reserve(bytes.length);
    this.#buffer.set(bytes, at);
  }

  /** Text as UTF-8, without a length. */
  utf8(text: string, sizeBytes: number): void {
    const at = this.#reserve(sizeBytes);
    this.#buffer.write(text, at, sizeBytes, "utf8");
  }

  /** From Kafka's text form, 22 characters of base64url. */
  uuid(text: string): void {
    const at = this.#reserve(16);
    const writtenBytes = this.#buffer.write(text, at, 16, "base64url");
    assert(writtenBytes === 16, `uuid "${text}" is not 16 bytes of base64url`);
  }

  /** Leaves room for the frame's length. Before anything else is written. */
  beginFrame(): void {
    assert(this.sizeBytes === 0, "a frame begins with its length");
    this.#reserve(FRAME_LENGTH_BYTES);
  }

  /** What was written since beginFrame, with its length before it. */
  finishFrame(): Uint8Array[] {
    const frameBytes = this.sizeBytes - FRAME_LENGTH_BYTES;
    this.#cut();
    const [head] = this.#chunks;
    assert(head !== undefined && frameBytes >= 0, "a frame is finished after it was begun");
    for (let index = 0; index < FRAME_LENGTH_BYTES; index++) {
      head[index] = frameBytes >>> (8 * (FRAME_LENGTH_BYTES - 1 - index));
    }
    return this.#chunks;
  }

  finish(): Uint8Array[] {
    this.#cut();
    return this.#chunks;
  }

  #cut(): void {
    if (this.#offset === this.#start) return;
    this.#chunks.push(this.#buffer.subarray(this.#start, this.#offset));
    this.#chunkBytes += this.#offset - this.#start;
    this.#start = this.#offset;
  }

  #reserve(sizeBytes: number): number {
    const at = this.#offset;
    if (at + sizeBytes <= this.#buffer.length) {
      this.#offset = at + sizeBytes;
      return at;
    }
    return this.#grow(sizeBytes);
  }

  #grow(sizeBytes: number): number {
    const pending = this.#buffer.subarray(this.#start, this.#offset);
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, pending.length + sizeBytes));
    grown.set(pending);
    this.#buffer = grown;
    this.#start = 0;
    this.#offset = pending.length + sizeBytes;
    return pending.length;
  }
}
