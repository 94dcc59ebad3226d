import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Format, RecordFailure, serialize } from "./formats.ts";

/** What is stored of this JSON: text, null, or why nothing is. */
function stored(format: Format, json: string): string | null {
  const bytes = serialize(format, Buffer.from(json), 0, Buffer.byteLength(json));
  if (bytes instanceof RecordFailure) return `failed: ${bytes.message}`;
  return bytes === null ? null : bytes.toString();
}

for (const json of ['{"b": 1, "a":0.0}', "12345678901234567890", '"null"', '""', '"\\u00e9\\ud800"', " "]) {
  test(`json keeps ${json} byte for byte`, () => {
    assert.equal(stored("json", json), json);
  });
}

for (const format of ["json", "string", "binary"] as const) {
  test(`null is no bytes in ${format} format`, () => {
    assert.equal(stored(format, "null"), null);
  });
}

test("a string in string format is its text", () => {
  assert.equal(stored("string", '"null"'), "null");
  assert.equal(stored("string", '""'), "");
  assert.equal(stored("string", '"a\\n\\"\\u00e9\\ud834\\udd1e"'), 'a\n"é𝄞');
});

test("what is no string is its JSON in string format", () => {
  assert.equal(stored("string", "1.50"), "1.50");
  assert.equal(stored("string", '{"a": [1]}'), '{"a": [1]}');
});

test("a lone surrogate passes in json format and fails in string format", () => {
  assert.equal(stored("json", '"\\ud800"'), '"\\ud800"');
  assert.match(String(stored("string", '"\\ud800"')), /lone surrogate/);
});

test("any text comes out of string format as it went in", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.boolean(), (text, isEscaped) => {
      const json = JSON.stringify(text);
      const sent = isEscaped ? json.replaceAll(/[^ -~]/g, escaped) : json;
      assert.equal(stored("string", sent), text);
    }),
  );
});

test("any bytes come out of binary format as they went in", () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.boolean(), (bytes, isSlashEscaped) => {
      const base64 = JSON.stringify(Buffer.from(bytes).toString("base64"));
      const json = Buffer.from(isSlashEscaped ? base64.replaceAll("/", "\\/") : base64);
      assert.deepEqual(serialize("binary", json, 0, json.length), Buffer.from(bytes));
    }),
  );
});

test("line breaks in base64 are skipped", () => {
  assert.equal(stored("binary", '"Zm9v\\r\\nYmFy"'), "foobar");
});

for (const json of [
  '"abc"',
  '"ab=c"',
  '"a=bc"',
  '"===="',
  '"Zm9v!"',
  '"Zm9-"',
  '"Zm 9v="',
  '"é==="',
  "1",
  "{}",
  "[]",
]) {
  test(`${json} fails in binary format`, () => {
    assert.match(String(stored("binary", json)), /^failed/);
  });
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
