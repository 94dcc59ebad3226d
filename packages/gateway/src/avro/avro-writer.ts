/** AvroWriter: Avro's primitive types as bytes. Source: Avro 1.12 specification, "Binary Encoding". */

const FIRST_BYTES = 1024;
/** Memory that grew beyond this for one large record is given back. */
const KEPT_LIMIT_BYTES = 1024 * 1024;
const INT32_MIN = -(2 ** 31);
const INT32_MAX = 2 ** 31 - 1;
/** Bytes of the longest varint. */
const VARINT_LIMIT_BYTES = 10;

export class AvroWriter {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #at = 0;

  /** Throws away what was written. */
  reset(): void {
    if (this.#bytes.length > KEPT_LIMIT_BYTES) this.#bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
    this.#at = 0;
  }

  /** A copy of what was written. */
  finish(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#at));
  }

  get position(): number {
    return this.#at;
  }

  /** What was written from start to end: good until something is written. */
  view(start: number, end: number): Uint8Array {
    return this.#bytes.subarray(start, end);
  }

  /** Puts parts, which may be views of it, where everything from start on was. */
  rewrite(start: number, parts: readonly Uint8Array[]): void {
    const bytes = Buffer.concat(parts);
    this.#at = start;
    this.raw(bytes);
  }

  /** Begins a block of items, whose number is known only at its end. Returns its position. */
  openBlock(): number {
    const position = this.#at;
    this.byte(0);
    return position;
  }

  /** Ends the block that began there, and with it the array or map. */
  closeBlock(position: number, count: number): void {
    // The byte that was held free is the end of an empty one.
    if (count === 0) return;
    const end = this.#at;
    this.int(count);
    const countBytes = this.#at - end;
    if (countBytes === 1) {
      this.#bytes[position] = this.#bytes[end] ?? 0;
      this.#at = end;
    } else this.rewrite(position, [this.view(end, this.#at), this.view(position + 1, end)]);
    this.byte(0);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = value;
  }

  uint32be(value: number): void {
    this.#reserve(4);
    this.#at = this.#bytes.writeUInt32BE(value, this.#at);
  }

  /** An int, or a long that JavaScript's numbers hold exactly. */
  int(value: number): void {
    if (value < INT32_MIN || value > INT32_MAX) {
      this.long(BigInt(value));
      return;
    }
    this.#reserve(VARINT_LIMIT_BYTES);
    let rest = ((value << 1) ^ (value >> 31)) >>> 0; // zigzag
    while (rest > 0x7f) {
      this.#bytes[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#at++] = rest;
  }

  long(value: bigint): void {
    this.#reserve(VARINT_LIMIT_BYTES);
    let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n)); // zigzag
    while (rest > 0x7fn) {
      this.#bytes[this.#at++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#bytes[this.#at++] = Number(rest);
  }

  float(value: number): void {
    this.#reserve(4);
    this.#at = this.#bytes.writeFloatLE(value, this.#at);
  }

  double(value: number): void {
    this.#reserve(8);
    this.#at = this.#bytes.writeDoubleLE(value, this.#at);
  }

  /** Bytes as they are, without their length. */
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  string(text: string): void {
    const sizeBytes = Buffer.byteLength(text);
    this.int(sizeBytes);
    this.#reserve(sizeBytes);
    this.#at += this.#bytes.write(text, this.#at, sizeBytes, "utf8");
  }

  #reserve(sizeBytes: number): void {
    if (this.#at + sizeBytes <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, this.#at + sizeBytes));
    grown.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = grown;
  }
}
