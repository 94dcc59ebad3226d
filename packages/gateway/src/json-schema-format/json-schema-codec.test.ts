import assert from "node:assert/strict";
import { test } from "node:test";
import { RecordFailure } from "../formats.ts";
import { parseJsonSchema } from "./json-schema-check.ts";
import { JsonSchemaCodec } from "./json-schema-codec.ts";

const LIMIT_BYTES = 100_000;

function codecOf(schema: object): JsonSchemaCodec {
  const check = parseJsonSchema(JSON.stringify(schema), []);
  return new JsonSchemaCodec({ schemaId: 258, check, limitBytes: LIMIT_BYTES });
}

function encode(codec: JsonSchemaCodec, json: string): Buffer | RecordFailure {
  const body = Buffer.from(`{"value": ${json} }`);
  return codec.encode(body, 10, 10 + Buffer.byteLength(json));
}

test("the JSON's bytes follow the schema's id as they were sent", () => {
  const json = '{ "b":1.50,\n "a":9007199254740993, "ü":"\\u00fc" }';

  const bytes = encode(codecOf({ type: "object" }), json);

  assert.deepEqual(bytes, Buffer.concat([Buffer.from([0, 0, 0, 1, 2]), Buffer.from(json)]));
});

test("a value that does not fit is told where", () => {
  const failure = encode(codecOf({ items: { type: "integer" } }), '[1,"2"]');

  assert.deepEqual(failure, new RecordFailure("SERIALIZATION_FAILED", "/1: must be integer"));
});

test("a value that is longer than a record may be is not parsed", () => {
  const failure = encode(codecOf({}), `"${"x".repeat(LIMIT_BYTES)}"`);

  assert.ok(failure instanceof RecordFailure);
  assert.equal(failure.code, "MESSAGE_TOO_LARGE");
});

const wide = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`p${index}`, { type: "string" }]));
for (const [name, schema, json] of [
  ["is nothing but itself", { $ref: "#" }, "1"],
  ["is wide and holds itself", { properties: wide, items: { $ref: "#" } }, `${"[".repeat(512)}${"]".repeat(512)}`],
] as const) {
  test(`a schema that ${name} fails its records`, () => {
    const failure = encode(codecOf(schema), json);

    assert.ok(failure instanceof RecordFailure);
    assert.match(failure.message, /goes too deep/);
  });
}

for (const [name, schema, slow] of [
  ["a pattern", { pattern: "^(a+)+$" }, `"${"a".repeat(60)}!"`],
  ["two patterns of a long text", { pattern: "^a*a*a*a*a*$" }, `"${"a".repeat(3_000)}!"`],
  ["items that must differ", { uniqueItems: true }, `[${Array.from({ length: 12_000 }, (_, index) => `[${index}]`)}]`],
  [
    "branches that hold each other",
    {
      anyOf: [
        { items: { $ref: "#" }, minItems: 1 },
        { items: { $ref: "#" }, minItems: 1 },
      ],
      type: "array",
    },
    `${"[".repeat(60)}${"]".repeat(60)}`,
  ],
] as const) {
  test(`${name} may take for ever to check: that record fails, and so do the next ones, sooner`, () => {
    const codec = codecOf(schema);

    for (let count = 0; count < 12; count++) {
      const failure = encode(codec, slow);
      assert.ok(failure instanceof RecordFailure);
      assert.match(failure.message, /checking it with schema 258 takes too long/);
    }
  });
}
