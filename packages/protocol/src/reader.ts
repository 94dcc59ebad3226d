/** Reads the protocol's primitive types from bytes. Every length is checked against what remains before it is used. */

import { WireError } from "./errors.ts";

const NIL_UUID_BYTES = 16;
/** A 64-bit varint has at most ten bytes, a 32-bit one five. */
const VARINT_LIMIT_BYTES = 5;
const VARLONG_LIMIT_BYTES = 10;

export class Reader {
  readonly bytes: Buffer;
  /** The first byte that may not be read. */
  readonly end: number;
  offset: number;

  constructor(bytes: Buffer, offset = 0, end = bytes.length) {
    this.bytes = bytes;
    this.offset = offset;
    this.end = end;
  }

  get remainingBytes(): number {
    return this.end - this.offset;
  }

  /** Fails unless sizeBytes more can be read; returns where they start and moves behind them. */
  take(sizeBytes: number): number {
    const start = this.offset;
    if (sizeBytes < 0 || sizeBytes > this.end - start) {
      throw new WireError(`expected ${sizeBytes} bytes, found ${this.end - start}`, start);
    }
    this.offset = start + sizeBytes;
    return start;
  }

  boolean(): boolean {
    return this.int8() !== 0;
  }

  int8(): number {
    return this.bytes.readInt8(this.take(1));
  }

  int16(): number {
    return this.bytes.readInt16BE(this.take(2));
  }

  uint16(): number {
    return this.bytes.readUInt16BE(this.take(2));
  }

  int32(): number {
    return this.bytes.readInt32BE(this.take(4));
  }

  uint32(): number {
    return this.bytes.readUInt32BE(this.take(4));
  }

  int64(): bigint {
    return this.bytes.readBigInt64BE(this.take(8));
  }

  float64(): number {
    return this.bytes.readDoubleBE(this.take(8));
  }

  unsignedVarint(): number {
    let value = 0;
    for (let index = 0; index < VARINT_LIMIT_BYTES; index++) {
      const byte = this.bytes.readUInt8(this.take(1));
      value |= (byte & 0x7f) << (index * 7);
      if (byte < 0x80) return value >>> 0;
    }
    throw new WireError("varint is longer than five bytes", this.offset);
  }

  /** Zigzag, 32 bits. */
  varint(): number {
    const value = this.unsignedVarint();
    return (value >>> 1) ^ -(value & 1);
  }

  /** Zigzag, 64 bits. */
  varlong(): bigint {
    let low = 0;
    let shift = 0;
    // Almost all varlongs are small timestamp deltas: numbers as long as they fit, bigint only beyond.
    let wide = 0n;
    for (let index = 0; index < VARLONG_LIMIT_BYTES; index++) {
      const byte = this.bytes.readUInt8(this.take(1));
      if (index < 4) low |= (byte & 0x7f) << shift;
      else wide |= BigInt(byte & 0x7f) << BigInt(shift);
      shift += 7;
      if (byte < 0x80) {
        const value = BigInt.asUintN(64, wide | BigInt(low));
        return BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n));
      }
    }
    throw new WireError("varlong is longer than ten bytes", this.offset);
  }

  /** A view, not a copy. */
  slice(sizeBytes: number): Buffer {
    const start = this.take(sizeBytes);
    return this.bytes.subarray(start, start + sizeBytes);
  }

  utf8(sizeBytes: number): string {
    const start = this.take(sizeBytes);
    return this.bytes.toString("utf8", start, start + sizeBytes);
  }

  /** Kafka's text form of a topic id: 22 characters of base64url. */
  uuid(): string {
    const start = this.take(NIL_UUID_BYTES);
    return this.bytes.toString("base64url", start, start + NIL_UUID_BYTES);
  }

  /** Fails if bytes are left: whoever wrote them meant something that we did not read. */
  expectEnd(): void {
    if (this.offset !== this.end) throw new WireError(`${this.end - this.offset} bytes too many`, this.offset);
  }
}
