import assert from "node:assert/strict";
import { test } from "node:test";
import { recordLine } from "./record-json.ts";

function line(value: Buffer | null, rest: { key?: Buffer; headers?: [string, Buffer | null][] } = {}): string {
  const record = {
    topic: "orders",
    partition: 2,
    offset: 2n ** 60n,
    timestamp: 1_517_966_773_840,
    key: rest.key ?? null,
    value,
    headers: rest.headers ?? [],
  };
  return Buffer.concat(recordLine(record)).toString();
}

const START = '{"partition":2,"offset":1152921504606846976,"timestamp":1517966773840';

test("a value that is JSON stands in the line as it is: spacing, key order and large numbers", () => {
  const value = '{"b": 1.0, "a":12345678901234567890}';

  assert.equal(line(Buffer.from(value)), `${START},"key":null,"value":${value}}\n`);
});

test("null, empty and the text null are three things", () => {
  assert.equal(line(null), `${START},"key":null,"value":null}\n`);
  assert.equal(line(Buffer.alloc(0)), `${START},"key":null,"value":"","valueFormat":"string"}\n`);
  assert.equal(line(Buffer.from("null")), `${START},"key":null,"value":"null","valueFormat":"string"}\n`);
});

test("JSON that has line breaks or spaces around it is kept as text, so that it comes back whole", () => {
  for (const value of ['{\n"a":1}', " 1", "1\t", "\ufeff1"]) {
    assert.equal(
      line(Buffer.from(value)),
      `${START},"key":null,"value":${JSON.stringify(value)},"valueFormat":"string"}\n`,
    );
  }
});

test("bytes that are no UTF-8 are base64, in key, value and headers", () => {
  const bytes = Buffer.from([0xff, 0x00]);

  const found = line(bytes, {
    key: bytes,
    headers: [
      ["h", bytes],
      ["h", null],
      ["i", Buffer.from("x")],
    ],
  });

  assert.equal(
    found,
    `${START},"key":"/wA=","keyFormat":"binary","headers":[{"key":"h","value":"/wA=","encoding":"base64"},{"key":"h","value":null},{"key":"i","value":"x"}],"value":"/wA=","valueFormat":"binary"}\n`,
  );
});

test("a key is text even where it would be JSON", () => {
  assert.match(line(null, { key: Buffer.from("123") }), /"key":"123","keyFormat":"string"/);
});
