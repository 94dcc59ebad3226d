import assert from "node:assert/strict";
import { test } from "node:test";
import { KafkaError, WireError } from "./errors.ts";
import { Reader } from "./reader.ts";
import {
  array,
  bytes,
  defineMessage,
  int16,
  int32,
  int64,
  type Message,
  records,
  type Shape,
  string,
  struct,
} from "./schema.ts";
import { Writer } from "./writer.ts";

const FLEXIBLE_SINCE = 2;

function message<S extends Shape>(shape: S) {
  return defineMessage("Example", shape, { min: 0, max: 3 }, FLEXIBLE_SINCE);
}

function encode<Input>(example: Message<unknown, Input>, version: number, value: Input): string {
  const writer = new Writer();
  example.encode(writer, version, value);
  return Buffer.concat(writer.finish()).toString("hex");
}

function decode<Output>(example: Message<Output, unknown>, version: number, hex: string): Output {
  const reader = new Reader(Buffer.from(hex, "hex"));
  const value = example.decode(reader, version);
  reader.expectEnd();
  return value;
}

test("a field is on the wire from its first version to its last", () => {
  const example = message({
    always: int16(),
    early: int16().until(0).default(-1),
    late: int16().since(1).default(-1),
  });

  assert.equal(encode(example, 0, { always: 1, early: 2, late: 3 }), "00010002");
  assert.equal(encode(example, 1, { always: 1, early: 2, late: 3 }), "00010003");
  assert.deepEqual(decode(example, 0, "00010002"), { always: 1, early: 2, late: -1 });
  assert.deepEqual(decode(example, 1, "00010003"), { always: 1, early: -1, late: 3 });
});

test("a field with a default may be left out of what is written", () => {
  const example = message({ given: int16(), assumed: int16().default(7) });

  assert.equal(encode(example, 0, { given: 1 }), "00010007");
});

test("lengths are two or four bytes before the flexible versions, and varints of one more from then on", () => {
  const example = message({ name: string(), blob: bytes(), numbers: array(int16()) });
  const value = { name: "ab", blob: Buffer.from("c"), numbers: [1] };

  assert.equal(encode(example, 1, value), "00026162000000016300000001" + "0001");
  assert.equal(encode(example, 2, value), "0361620263020001" + "00");
});

test("null is a length of -1, or of 0 in flexible versions", () => {
  const example = message({ name: string().nullable(1) });

  assert.equal(encode(example, 1, { name: null }), "ffff");
  assert.equal(encode(example, 2, { name: null }), "0000");
  assert.deepEqual(decode(example, 1, "ffff"), { name: null });
  assert.deepEqual(decode(example, 2, "0000"), { name: null });
});

test("null where the version does not allow it is refused when read, and our mistake when written", () => {
  const example = message({ name: string().nullable(1) });

  assert.throws(() => decode(example, 0, "ffff"), /WireError: Example v0.name: length -1/);
  assert.throws(() => encode(example, 0, { name: null }), /null cannot be written in version 0/);
});

test("a negative length other than null's is refused", () => {
  const example = message({ name: string().nullable() });

  assert.throws(() => decode(example, 0, "fffe"), WireError);
});

test("a struct that may be null has a byte before it", () => {
  const example = message({ cursor: struct({ index: int16() }).nullable() });

  assert.equal(encode(example, 0, { cursor: null }), "ff");
  assert.equal(encode(example, 0, { cursor: { index: 5 } }), "010005");
  assert.deepEqual(decode(example, 0, "ff"), { cursor: null });
});

test("a tagged field stands at the end with its tag and size, in the order of tags", () => {
  const example = message({
    second: int16().since(2).tagged(1).default(0),
    first: int16().since(2).tagged(0).default(0),
    plain: int16(),
  });

  assert.equal(encode(example, 2, { plain: 1, first: 2, second: 3 }), "0001" + "02" + "00020002" + "01020003");
});

test("a tagged field that has its default is left out", () => {
  const example = message({
    hint: int32().since(2).tagged(0).default(-1),
    names: array(string()).tagged(1).default([]),
  });

  assert.equal(encode(example, 2, { hint: -1, names: [] }), "00");
  assert.deepEqual(decode(example, 2, "00"), { hint: -1, names: [] });
});

test("a tagged field is not written in versions that have no tags", () => {
  const example = message({ hint: int32().tagged(0).default(-1) });

  assert.equal(encode(example, 1, { hint: 5 }), "");
});

test("a tagged field that we do not know is skipped", () => {
  const example = message({ hint: int16().tagged(1).default(-1) });

  assert.deepEqual(decode(example, 2, "03" + "000199" + "01020005" + "63029999"), { hint: 5 });
});

test("a tag out of order, or twice, is refused", () => {
  const example = message({ hint: int16().tagged(1).default(-1) });

  assert.throws(() => decode(example, 2, "02" + "01020005" + "01020006"), /tag 1 after tag 1/);
  assert.throws(() => decode(example, 2, "02" + "01020005" + "000199"), /tag 0 after tag 1/);
});

test("a tagged field with more or fewer bytes than its type is refused", () => {
  const example = message({ hint: int16().tagged(1).default(-1) });

  assert.throws(() => decode(example, 2, "0101" + "03" + "000500"), WireError);
  assert.throws(() => decode(example, 2, "0101" + "01" + "00"), WireError);
});

test("a count of more elements than there are bytes is refused before anything is made room for", () => {
  const example = message({ numbers: array(int64()) });

  assert.throws(() => decode(example, 0, "7fffffff" + "00"), /2147483647 elements in 1 bytes/);
  assert.throws(() => decode(example, 2, "ffffffff0f" + "00"), /4294967294 elements in 1 bytes/);
});

test("a length beyond the end is refused", () => {
  const example = message({ blob: bytes(), batches: records() });

  assert.throws(() => decode(example, 0, "7fffffff" + "00"), /expected 2147483647 bytes, found 1/);
  assert.throws(() => decode(example, 0, "00000000" + "7fffffff" + "00"), /expected 2147483647 bytes, found 1/);
});

test("a text longer than its length field can tell is refused with its place", () => {
  const example = message({ name: string() });
  const name = "x".repeat(32768);

  assert.throws(
    () => encode(example, 1, { name }),
    (error) =>
      error instanceof KafkaError && error.code === "INVALID_REQUEST" && /Example v1\.name/.test(error.message),
  );
  assert.equal(decode(example, 2, encode(example, 2, { name })).name, name);
});

test("text is UTF-8 and its length counts bytes", () => {
  const example = message({ name: string() });

  assert.equal(encode(example, 0, { name: "é" }), "0002c3a9");
  assert.deepEqual(decode(example, 0, "0002c3a9"), { name: "é" });
});

test("records are written from chunks without a copy and read as a view", () => {
  const example = message({ batches: records() });
  const chunk = Buffer.alloc(5000, 1);
  const writer = new Writer();

  example.encode(writer, 0, { batches: [chunk, chunk] });
  const chunks = writer.finish();
  const frame = Buffer.concat(chunks);
  const { batches } = example.decode(new Reader(frame), 0);

  assert.equal(chunks.filter((part) => part === chunk).length, 2);
  assert.equal(batches.length, 10_000);
  assert.equal(batches.buffer, frame.buffer);
});

test("a version that the message does not have is our mistake", () => {
  const example = message({ plain: int16() });

  assert.throws(() => encode(example, 4, { plain: 1 }), /Example has no version 4/);
});
