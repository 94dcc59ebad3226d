import assert from "node:assert/strict";
import { test } from "node:test";
import { WireError } from "./errors.ts";
import { Reader } from "./reader.ts";

const readerOf = (hex: string) => new Reader(Buffer.from(hex, "hex"));

test("numbers are read most significant byte first", () => {
  const reader = readerOf("ff" + "fffe" + "fffe" + "fffffffd" + "fffffffd" + "fffffffffffffffc" + "3ff8000000000000");

  assert.equal(reader.int8(), -1);
  assert.equal(reader.int16(), -2);
  assert.equal(reader.uint16(), 65534);
  assert.equal(reader.int32(), -3);
  assert.equal(reader.uint32(), 4294967293);
  assert.equal(reader.int64(), -4n);
  assert.equal(reader.float64(), 1.5);
  reader.expectEnd();
});

test("a varint has seven bits in each byte, the lowest first", () => {
  assert.equal(readerOf("00").unsignedVarint(), 0);
  assert.equal(readerOf("7f").unsignedVarint(), 127);
  assert.equal(readerOf("8001").unsignedVarint(), 128);
  assert.equal(readerOf("ffffffff0f").unsignedVarint(), 4294967295);
});

test("a signed varint is zigzag, so that small negative numbers are short", () => {
  assert.equal(readerOf("00").varint(), 0);
  assert.equal(readerOf("01").varint(), -1);
  assert.equal(readerOf("02").varint(), 1);
  assert.equal(readerOf("ffffffff0f").varint(), -2147483648);
});

test("a signed varint of 64 bits reaches from the smallest to the largest", () => {
  assert.equal(readerOf("01").varlong(), -1n);
  assert.equal(readerOf("80808010").varlong(), 16777216n);
  assert.equal(readerOf("8080808010").varlong(), 2147483648n);
  assert.equal(readerOf("feffffffffffffffff01").varlong(), 9223372036854775807n);
  assert.equal(readerOf("ffffffffffffffffff01").varlong(), -9223372036854775808n);
});

test("a varint that does not end is refused", () => {
  assert.throws(() => readerOf("ffffffffff01").unsignedVarint(), WireError);
  assert.throws(() => readerOf("ffffffffffffffffffff01").varlong(), WireError);
  assert.throws(() => readerOf("ff").unsignedVarint(), WireError);
});

test("a topic id has Kafka's text form", () => {
  assert.equal(readerOf("00112233445566778899aabbccddeeff").uuid(), "ABEiM0RVZneImaq7zN3u_w");
});

test("reading behind the end says what was expected, what was there, and where", () => {
  const reader = readerOf("0001ff");
  reader.int16();

  assert.throws(
    () => reader.int32(),
    (error) =>
      error instanceof WireError &&
      error.byteOffset === 2 &&
      /expected 4 bytes, found 1 \(at byte 2\)/.test(error.message),
  );
});

test("the end may be before the end of the bytes", () => {
  const reader = new Reader(Buffer.from("00010002", "hex"), 0, 2);

  assert.equal(reader.int16(), 1);
  assert.throws(() => reader.int8(), WireError);
});

test("bytes left over are refused where none may be", () => {
  assert.throws(() => readerOf("00").expectEnd(), /1 bytes too many/);
});
