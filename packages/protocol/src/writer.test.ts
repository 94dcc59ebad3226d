import assert from "node:assert/strict";
import { test } from "node:test";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

test("what is written in all types is read back", () => {
  const writer = new Writer(1);
  writer.boolean(true);
  writer.int8(-1);
  writer.int16(-2);
  writer.uint16(65534);
  writer.int32(-3);
  writer.uint32(4294967293);
  writer.int64(-4n);
  writer.float64(1.5);
  writer.unsignedVarint(4294967295);
  writer.uuid("ABEiM0RVZneImaq7zN3u_w");
  writer.utf8("é", 2);

  const reader = new Reader(Buffer.concat(writer.finish()));

  assert.equal(reader.boolean(), true);
  assert.equal(reader.int8(), -1);
  assert.equal(reader.int16(), -2);
  assert.equal(reader.uint16(), 65534);
  assert.equal(reader.int32(), -3);
  assert.equal(reader.uint32(), 4294967293);
  assert.equal(reader.int64(), -4n);
  assert.equal(reader.float64(), 1.5);
  assert.equal(reader.unsignedVarint(), 4294967295);
  assert.equal(reader.uuid(), "ABEiM0RVZneImaq7zN3u_w");
  assert.equal(reader.utf8(2), "é");
  reader.expectEnd();
});

test("large bytes are passed on as they are, small ones are copied, and all keep their order", () => {
  const large = Buffer.alloc(4000, 2);
  const writer = new Writer();
  writer.raw(Buffer.from([1]));
  writer.raw(large);
  writer.raw(Buffer.from([3]));
  writer.raw(large);

  const chunks = writer.finish();

  assert.equal(writer.sizeBytes, 8002);
  assert.equal(chunks[1], large);
  assert.equal(chunks[3], large);
  assert.deepEqual(Buffer.concat(chunks), Buffer.concat([Buffer.from([1]), large, Buffer.from([3]), large]));
});

test("growing between two large chunks loses nothing", () => {
  const large = Buffer.alloc(2000, 9);
  const writer = new Writer(4);
  const expected: Buffer[] = [];
  for (let index = 0; index < 50; index++) {
    const small = Buffer.alloc(index, index);
    writer.raw(small);
    writer.raw(large);
    expected.push(small, large);
  }

  assert.deepEqual(Buffer.concat(writer.finish()), Buffer.concat(expected));
});

test("a frame starts with its length, whether its first chunk is small, large or missing", () => {
  const small = new Writer();
  small.beginFrame();
  small.int16(5);
  const large = new Writer();
  large.beginFrame();
  large.raw(Buffer.alloc(2000));
  const empty = new Writer(1);
  empty.beginFrame();

  assert.equal(Buffer.concat(small.finishFrame()).toString("hex"), "000000020005");
  assert.equal(Buffer.concat(large.finishFrame()).readInt32BE(0), 2000);
  assert.equal(Buffer.concat(empty.finishFrame()).toString("hex"), "00000000");
});

test("a uuid that is none is our mistake", () => {
  assert.throws(() => new Writer().uuid("orders"), /is not 16 bytes/);
});
