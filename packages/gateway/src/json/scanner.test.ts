import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JSON_DEPTH_LIMIT, JsonSyntaxError, lastQuoteOf, locate, skipValue, skipWhitespace } from "./scanner.ts";

/** True if the whole text is one JSON value with space around it: found so, or refused at one place, with both ways to read it. */
function isJson(text: string): boolean {
  const bytes = Buffer.from(text);
  const outcome = outcomeOf(bytes, -1);
  assert.deepEqual(outcomeOf(bytes, lastQuoteOf(bytes)), outcome);
  return outcome === bytes.length;
}

/** Where the value and the space behind it end, or the error. */
function outcomeOf(bytes: Buffer, lastQuote: number): number | JsonSyntaxError {
  try {
    return skipWhitespace(bytes, skipValue(bytes, skipWhitespace(bytes, 0), lastQuote));
  } catch (error) {
    assert.ok(error instanceof JsonSyntaxError);
    assert.ok(error.byteOffset >= 0 && error.byteOffset <= bytes.length);
    return error;
  }
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

// biome-ignore format: as few lines as they take
const accepted = [
  "null", "true", "false", "0", "-0", "-1", "10", "1.5", "0.0", "1e5", "1E+5", "1e-5", "-0.1e1",
  "123456789012345678901", '""', '" "', '"a"', '"\\""', '"\\\\"', '"\\/\\b\\f\\n\\r\\t"', '"\\u0000"', '"\\uD800"',
  '"\\udbff\\udfff"', '"é"', '"𝄞"', '"\u007f"', '"\u2028"', "[]", "[ ]", "[1]", "[1,2]", "[[],[[]]]", "{}", "{ }",
  '{"a":1}', '{"a":1,"a":2}', '{"":null}', '{"a":{"b":[{}]}}', " \t\r\n1 \t\r\n",
  '\n{\n"a"\n:\n1\n,\n"b"\n:\n[\n]\n}\n',
];

// biome-ignore format: as few lines as they take
const refused = [
  "", " ", "nul", "nulll", "True", "NaN", "Infinity", "-Infinity", "+1", "-", "--1", "01", "-01", "1.", ".5", "-.5", "1.e1", "1e", "1e+", "0x10", "1_000", "1 2",
  '"', '"a', "'a'", '"\\"', '"\\x41"', '"\\u12"', '"\\u12G4"', '"\\U0041"', '"\n"', '"\t"', '"\u0000"', '"\u001f"', "a", "\u00a01", "\ufeff1", "\u00001", "1\u0000",
  "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1}", "[1:2]", "[]]", "{", "}", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', "{a:1}", "{1:1}", "{'a':1}", '{"a" 1}',
  '{"a":1 "b":2}', '{"a",1}', '{,"a":1}', '{"a":1]', '{"a":}', '{"a"::1}', "[1]//", "/*1*/", "[\"a\",\n4\n,1,", '{"a":"b"}#', "{}{}", "[][]", "tru e", "[tru]", "{\"a\":nul}",
];

for (const text of accepted) {
  test(`accepts ${JSON.stringify(text)}`, () => {
    assert.ok(parses(text));
    assert.ok(isJson(text));
  });
}

for (const text of refused) {
  test(`refuses ${JSON.stringify(text)}`, () => {
    assert.ok(!parses(text));
    assert.ok(!isJson(text));
  });
}

test("whatever JSON.stringify writes is accepted to its last byte", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 8 }), fc.constantFrom(undefined, 1, "\t"), (value, indent) => {
      assert.ok(isJson(JSON.stringify(value, null, indent)));
    }),
  );
});

test("a valid text with one change is accepted exactly when JSON.parse accepts it", () => {
  const character = fc.constantFrom(...'{}[]":,\\/-+.eE0123456789tfnu aAbx\n\t\u0001é\u2028'.split(""));
  fc.assert(
    fc.property(fc.json(), fc.nat(), fc.nat(3), character, (text, place, dropped, inserted) => {
      const at = place % (text.length + 1);
      const changed = text.slice(0, at) + inserted + text.slice(at + dropped);
      assert.equal(isJson(changed), parses(changed), JSON.stringify(changed));
    }),
    { numRuns: 5_000 },
  );
});

test("any text of JSON's own characters is accepted exactly when JSON.parse accepts it", () => {
  const character = fc.constantFrom(...'{}[]":,\\-.e01un tl'.split(""));
  fc.assert(
    fc.property(fc.array(character, { maxLength: 12 }), (characters) => {
      const text = characters.join("");
      assert.equal(isJson(text), parses(text), JSON.stringify(text));
    }),
    { numRuns: 20_000 },
  );
});

test("a value ends where it ends, whatever stands behind it", () => {
  fc.assert(
    fc.property(fc.json(), fc.constantFrom(",", "]", "}", " ", "\n", ""), (text, behind) => {
      const bytes = Buffer.from(`  ${text}${behind}`);
      const end = skipValue(bytes, 2);
      assert.deepEqual(JSON.parse(bytes.toString("utf8", 2, end)), JSON.parse(text));
    }),
  );
});

for (const [kind, open, close] of [
  ["arrays", "[", "]"],
  ["objects", '{"a":', "}"],
] as const) {
  test(`${kind} may be nested ${JSON_DEPTH_LIMIT} deep and no deeper`, () => {
    const nested = (depth: number) => open.repeat(depth) + (open === "[" ? "" : "1") + close.repeat(depth);

    assert.ok(isJson(nested(JSON_DEPTH_LIMIT)));
    assert.ok(!isJson(nested(JSON_DEPTH_LIMIT + 1)));
  });
}

test("a million opening brackets are refused at the limit", () => {
  assert.throws(() => skipValue(Buffer.alloc(1_000_000, "["), 0), { byteOffset: JSON_DEPTH_LIMIT });
});

test("the error tells what was expected, what stands there, and where", () => {
  assert.throws(() => skipValue(Buffer.from('{"a":[1,2}'), 0), {
    message: 'expected "," or "]", found "}"',
    byteOffset: 9,
  });
  assert.throws(() => skipValue(Buffer.from('{"a":'), 0), {
    message: "expected a value, found the end",
    byteOffset: 5,
  });
  assert.throws(() => skipValue(Buffer.from('"a\tb"'), 0), /the control character 0x09/);
});

test("a place is told as line and column, columns counted in characters", () => {
  const bytes = Buffer.from('{"é𝄞":\n "x" 1}');

  assert.deepEqual(locate(bytes, bytes.indexOf(":")), { line: 1, column: 6 });
  assert.deepEqual(locate(bytes, bytes.indexOf("1")), { line: 2, column: 6 });
});
