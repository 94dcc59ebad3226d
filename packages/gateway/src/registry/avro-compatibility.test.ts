import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { incompatibilities } from "./avro-compatibility.ts";
import { parseSchema } from "./avro-schema.ts";
import { schemaFingerprint } from "./schema-fingerprint.ts";

type Schema = string | object;

function errorsOf(reader: Schema, writer: Schema): string[] {
  const parse = (schema: Schema) => parseSchema(JSON.stringify(schema), []);
  return incompatibilities(parse(reader), parse(writer)).map(({ errorType, path }) => `${errorType} ${path}`);
}

const record = (fields: object[], more: object = {}) => ({ type: "record", name: "R", fields, ...more });
const enumOf = (symbols: string[], more: object = {}) => ({ type: "enum", name: "E", symbols, ...more });

suite("compatibility of Avro schemas", () => {
  test("numbers may grow, text and bytes may change places, nothing else", () => {
    const types = ["null", "boolean", "int", "long", "float", "double", "string", "bytes"];
    const readable = types.flatMap((reader) =>
      types.filter((writer) => errorsOf(reader, writer).length === 0).map((writer) => `${writer} as ${reader}`),
    );

    assert.deepEqual(readable, [
      "null as null",
      "boolean as boolean",
      "int as int",
      "int as long",
      "long as long",
      "int as float",
      "long as float",
      "float as float",
      "int as double",
      "long as double",
      "float as double",
      "double as double",
      "string as string",
      "bytes as string",
      "string as bytes",
      "bytes as bytes",
    ]);
  });

  const cases: [title: string, reader: Schema, writer: Schema, errors: string[]][] = [
    ["a field may go", record([]), record([{ name: "a", type: "int" }]), []],
    ["a field with a default may come", record([{ name: "a", type: "int", default: 0 }]), record([]), []],
    ["so may one whose default is null", record([{ name: "a", type: ["null", "int"], default: null }]), record([]), []],
    [
      "a field without a default may not",
      record([{ name: "a", type: "int" }]),
      record([]),
      ["READER_FIELD_MISSING_DEFAULT_VALUE /fields/0"],
    ],
    [
      "a field may be renamed by an alias",
      record([{ name: "b", type: "int", aliases: ["a"] }]),
      record([{ name: "a", type: "int" }]),
      [],
    ],
    ["a record may be renamed by an alias", record([], { name: "S", aliases: ["R"] }), record([]), []],
    ["without one it is another", record([], { name: "S" }), record([]), ["NAME_MISMATCH /name"]],
    ["a namespace counts for nothing", record([], { namespace: "x" }), record([], { namespace: "y" }), []],
    ["symbols may come", enumOf(["A", "B"]), enumOf(["A"]), []],
    ["symbols may not go", enumOf(["A"]), enumOf(["A", "B"]), ["MISSING_ENUM_SYMBOLS /symbols"]],
    ["unless there is a default for them", enumOf(["A"], { default: "A" }), enumOf(["A", "B"]), []],
    ["a type may become one of a union", ["null", "long"], "int", []],
    [
      "a union may not lose a type that was written",
      ["null", "int"],
      ["null", "int", "string"],
      ["MISSING_UNION_BRANCH "],
    ],
    ["a union may become a type that reads all of it", "double", ["int", "float"], []],
    ["what a union holds must be readable", "int", ["int", "string"], ["TYPE_MISMATCH "]],
    [
      "items are looked at",
      { type: "array", items: "int" },
      { type: "array", items: "string" },
      ["TYPE_MISMATCH /items"],
    ],
    [
      "values are looked at",
      { type: "map", values: "int" },
      { type: "map", values: "string" },
      ["TYPE_MISMATCH /values"],
    ],
    [
      "a fixed keeps its size",
      { type: "fixed", name: "F", size: 2 },
      { type: "fixed", name: "F", size: 3 },
      ["FIXED_SIZE_MISMATCH /size"],
    ],
    [
      "a fault deep inside is found where it is",
      record([{ name: "a", type: { type: "array", items: record([{ name: "b", type: "int" }], { name: "Q" }) } }]),
      record([{ name: "a", type: { type: "array", items: record([{ name: "b", type: "string" }], { name: "Q" }) } }]),
      ["TYPE_MISMATCH /fields/0/type/items/fields/0/type"],
    ],
    [
      "a type may hold itself",
      record([
        { name: "next", type: ["null", "R"] },
        { name: "a", type: "long" },
      ]),
      record([
        { name: "next", type: ["null", "R"] },
        { name: "a", type: "int" },
      ]),
      [],
    ],
  ];
  for (const [title, reader, writer, errors] of cases) {
    test(title, () => assert.deepEqual(errorsOf(reader, writer), errors));
  }
});

suite("what makes two schemas one", () => {
  const same: [a: string, b: string][] = [
    ['"string"', '{ "type": "string" }'],
    ["string", '"string"'],
    ['{"type":"array","items":"int"}', '{"items":{"type":"int"},"type":"array"}'],
  ];
  for (const [a, b] of same) {
    test(`${a} is ${b}`, () => assert.equal(fingerprint(a), fingerprint(b)));
  }

  test("a default beyond what a double holds, an order of fields and a doc are differences", () => {
    const texts = [
      '{"type":"record","name":"R","fields":[{"name":"a","type":"long","default":9007199254740993}]}',
      '{"type":"record","name":"R","fields":[{"name":"a","type":"long","default":9007199254740992}]}',
      '{"type":"record","name":"R","doc":"x","fields":[{"name":"a","type":"long","default":9007199254740992}]}',
    ];

    assert.equal(new Set(texts.map((text) => fingerprint(text))).size, texts.length);
  });
});

function fingerprint(schema: string): string {
  return schemaFingerprint({ schemaType: "AVRO", schema, references: [] });
}
