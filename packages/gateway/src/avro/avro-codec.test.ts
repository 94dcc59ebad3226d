import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseAvroSchema } from "@millrace/client/internal/avro";
import avro from "avsc";
import { RecordFailure } from "../formats.ts";
import { WIRE_HEADER_BYTES } from "../wire-format.ts";
import { AvroCodec } from "./avro-codec.ts";

const order = {
  type: "record",
  name: "Order",
  namespace: "shop",
  fields: [
    { name: "id", type: "long" },
    { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 30, scale: 2 } },
    { name: "note", type: ["null", "string"], default: null },
    { name: "state", type: { type: "enum", name: "State", symbols: ["OPEN", "PAID"] }, default: "OPEN" },
    {
      name: "items",
      type: { type: "array", items: { type: "record", name: "Item", fields: [{ name: "count", type: "int" }] } },
      default: [],
    },
  ],
};

suite("Avro from JSON and back", () => {
  test("64-bit integers and decimals keep every digit", () => {
    const json = '{"id":9223372036854775807,"price":1234567890123456789012345678.90}';

    const decoded = decode(order, encode(order, json));

    assert.equal(
      decoded,
      '{"id":9223372036854775807,"price":"1234567890123456789012345678.90","note":null,"state":"OPEN","items":[]}',
    );
  });

  test("integers and decimals may be text: a browser has no other way to say them exactly", () => {
    const decoded = decode(order, encode(order, '{"id":"-9007199254740993","price":"0.10"}'));

    assert.match(decoded, /^\{"id":-9007199254740993,"price":"0.10"/);
  });

  test("numbers of a million digits are refused before they are worked out", () => {
    const digits = "9".repeat(1_000_000);
    const decimal = { type: "bytes", logicalType: "decimal", precision: 30, scale: 2 };
    const written = parseAvroSchema("bytes").toBuffer(Buffer.alloc(1_000_000, 0x7f));

    assert.match(misfitOf("long", digits), /expected long, found a number that 64 bits do not hold/);
    assert.match(misfitOf(decimal, digits), /expected decimal\(30, 2\), found 1000002 digits/);
    assert.match(misfitOf(decimal, `0.${"0".repeat(999_999)}1`), /found 1000000 digits behind the point/);
    assert.throws(() => decode(decimal, written), /expected decimal\(30, 2\), found a number of 1000000 bytes/);
  });

  test("the bytes are Avro's, whatever the order of the fields, with defaults for those left out", () => {
    const type = parseAvroSchema(order);
    const value = { id: 7n, price: "12.30", note: "é", state: "PAID", items: [{ count: 1 }, { count: -2 }] };
    const jsons = [
      '{"id":7,"price":12.3,"note":"\\u00e9","state":"PAID","items":[{"count":1},{"count":-2}]}',
      ' { "items" : [ {"count": 1} , {"count": -2} ], "note": {"string": "é"}, "state":"PAID","price":"12.30","id":7 } ',
    ];

    for (const json of jsons) assert.deepEqual(encode(order, json), type.toBuffer(value));
  });

  test("blocks of many items are written as one, as other writers do", () => {
    const schema = { type: "array", items: { type: "map", values: "int" } };
    const many = Array.from({ length: 200 }, (_, index) => ({ [`name ${index}`]: index }));
    const wide = [Object.fromEntries(many.flatMap((map) => Object.entries(map)))];

    for (const value of [[], [{}], many, wide]) {
      assert.deepEqual(encode(schema, JSON.stringify(value)), parseAvroSchema(schema).toBuffer(value));
      assert.equal(decode(schema, encode(schema, JSON.stringify(value))), JSON.stringify(value));
    }
  });

  test("what does not fit names the field, and never the value", () => {
    const misfits: [json: string, message: string][] = [
      [
        '{"id":1,"price":1,"items":[{"count":1},{"count":"secret"}]}',
        "shop.Order.items.1.count: expected int, found a string",
      ],
      ['{"id":1,"price":"12.345"}', "shop.Order.price: expected decimal(30, 2), found 3 digits behind the point"],
      ['{"id":9223372036854775808,"price":1}', "shop.Order.id: expected long, found a number that 64 bits do not hold"],
      ['{"id":1.5,"price":1}', "shop.Order.id: expected long, found a number with a fraction or an exponent"],
      ['{"price":1}', "shop.Order.id: is missing, and has no default"],
      ['{"id":1,"price":1,"prize":2}', "shop.Order.prize: record shop.Order has no such field"],
      ['{"id":1,"id":2,"price":1}', "shop.Order.id: is given twice"],
      [
        '{"id":1,"price":1,"state":"secret"}',
        "shop.Order.state: expected enum shop.State, found a string that is none of its symbols",
      ],
      ['{"id":1,"price":1,"note":7}', "shop.Order.note: expected string, found a number"],
      ['{"id":1,"price":1,"note":"\\ud800"}', "shop.Order.note: the text has a lone surrogate, which UTF-8 cannot say"],
      [
        '{"id":1,"price":1,"items":[{"count":2147483648}]}',
        "shop.Order.items.0.count: expected int, found a number that 32 bits do not hold",
      ],
      ["[]", "shop.Order: expected record shop.Order, found an array"],
    ];

    for (const [json, message] of misfits) assert.equal(misfitOf(order, json), message);
  });

  test("a member of a union is found by its value, or named as Avro's JSON encoding has it", () => {
    const union = [
      "null",
      "int",
      "long",
      "double",
      "string",
      { type: "record", name: "A", fields: [{ name: "a", type: "int" }] },
      {
        type: "record",
        name: "B",
        fields: [
          { name: "a", type: "int" },
          { name: "b", type: "int", default: 0 },
        ],
      },
    ];
    const cases: [json: string, decoded: string][] = [
      ["null", "null"],
      ["1", '{"int":1}'],
      ["2147483648", '{"long":2147483648}'],
      ["1.5", '{"double":1.5}'],
      ["9223372036854775808", '{"double":9223372036854776000}'],
      ['{"double":1}', '{"double":1}'],
      ['"x"', '{"string":"x"}'],
      ['{"a":1}', '{"A":{"a":1}}'],
      ['{"a":1,"b":2}', '{"B":{"a":1,"b":2}}'],
      ['{"B":{"a":1}}', '{"B":{"a":1,"b":0}}'],
    ];

    for (const [json, decoded] of cases) assert.equal(decode(union, encode(union, json)), decoded);
    assert.equal(
      misfitOf(union, "true"),
      "value: expected one of null, int, long, double, string, A, B, found a boolean",
    );
    assert.equal(misfitOf(union, '{"A":{}}'), "value.A.a: is missing, and has no default");
  });

  test("an object that is a record as it stands is not taken for a named member", () => {
    const union = ["string", { type: "record", name: "R", fields: [{ name: "string", type: "int" }] }];

    assert.equal(decode(union, encode(union, '{"string":1}')), '{"R":{"string":1}}');
    assert.equal(decode(union, encode(union, '{"R":{"string":1}}')), '{"R":{"string":1}}');
  });

  test("bytes and fixed are text with a character a byte; floats say what JSON has no numbers for", () => {
    const schema = {
      type: "record",
      name: "R",
      fields: [
        { name: "b", type: "bytes" },
        { name: "f", type: { type: "fixed", name: "F", size: 2 } },
        { name: "d", type: { type: "array", items: "double" } },
        { name: "o", type: "boolean" },
      ],
    };
    const json = '{"b":"\\u0000ÿ","f":"ab","d":[-0.0,"NaN","-Infinity",0.1],"o":true}';

    assert.equal(decode(schema, encode(schema, json)), json);
    assert.match(misfitOf(schema, '{"b":"€","f":"ab","d":[],"o":true}'), /^R.b: expected bytes/);
    assert.match(misfitOf(schema, '{"b":"","f":"a","d":[],"o":true}'), /^R.f: expected fixed F of 2 bytes, found 1$/);
  });

  test("names that JavaScript gives a meaning are names as any other", () => {
    const schema = {
      type: "record",
      name: "R",
      fields: [
        { name: "__proto__", type: "int" },
        { name: "m", type: { type: "map", values: "int" } },
      ],
    };
    const json = '{"__proto__":1,"m":{"__proto__":2,"constructor":3}}';

    assert.equal(decode(schema, encode(schema, json)), json);
  });

  test("a type that holds itself goes as deep as JSON may", () => {
    const schema = { type: "record", name: "Node", fields: [{ name: "next", type: ["null", "Node"] }] };
    const nested = (depth: number) => `${'{"next":'.repeat(depth)}null${"}".repeat(depth)}`;

    assert.equal(decode(schema, encode(schema, nested(500))), nested(500));
    const endless = codecOf(schema).decode(Buffer.concat([Buffer.alloc(WIRE_HEADER_BYTES), Buffer.alloc(100_000, 2)]));
    assert.match(String(endless instanceof RecordFailure && endless.message), /nested more than 512 deep/);
  });

  test("bytes that lie about what they hold cost no more than they are long", () => {
    const count = avro.parse("long").toBuffer(2 ** 40);
    const cases: [schema: object | string, bytes: Buffer][] = [
      [{ type: "array", items: "null" }, count],
      [{ type: "array", items: "int" }, count],
      [{ type: "map", values: "null" }, count],
      ["string", count],
      ["bytes", avro.parse("long").toBuffer(-5)],
      ["int", Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff])],
      ["boolean", Buffer.from([1, 1])],
      [["null", "int"], Buffer.from([9])],
    ];

    for (const [schema, bytes] of cases) {
      const decoded = codecOf(schema).decode(Buffer.concat([Buffer.alloc(WIRE_HEADER_BYTES), bytes]));
      assert.ok(decoded instanceof RecordFailure, JSON.stringify(schema));
    }
  });

  test("JSON that is made to be read over and over ends as a misfit", () => {
    const schema = {
      type: "record",
      name: "X",
      fields: [
        { name: "X", type: ["null", "X", { type: "map", values: "string" }], default: null },
        { name: "t", type: "string", default: "" },
      ],
    };
    const depth = 200;
    const json = `${'{"X":'.repeat(depth)}{"t":"${"x".repeat(10_000)}"}${"}".repeat(depth)}`;

    assert.match(misfitOf(schema, json), /it takes too long to tell/);
  });

  test("any value of any type comes out as avsc reads it, and goes in as avsc writes it", () => {
    for (let seed = 0; seed < 300; seed++) {
      const type = parseAvroSchema(randomSchema(seed));
      const bytes = type.toBuffer(type.random());

      const json = decode(type.schema(), bytes);

      assert.deepEqual(encode(type.schema(), json), bytes, `seed ${seed}: ${type} of ${json}`);
    }
  });
});

function codecOf(schema: object | string): AvroCodec {
  return new AvroCodec(258, parseAvroSchema(schema));
}

/** Avro's bytes, behind the header. */
function encode(schema: object | string, json: string): Buffer {
  const body = Buffer.from(` ${json} `);
  const bytes = codecOf(schema).encode(body, 1 + json.search(/\S/), body.length - 1);
  if (bytes instanceof RecordFailure) throw new Error(`${bytes.message} for ${json}`);
  assert.deepEqual(bytes.subarray(0, WIRE_HEADER_BYTES), Buffer.from([0, 0, 0, 1, 2]));
  return bytes.subarray(WIRE_HEADER_BYTES);
}

function decode(schema: object | string, bytes: Buffer): string {
  const json = codecOf(schema).decode(Buffer.concat([Buffer.from([0, 0, 0, 1, 2]), bytes]));
  if (json instanceof RecordFailure) throw new Error(json.message);
  return json;
}

function misfitOf(schema: object | string, json: string): string {
  const body = Buffer.from(json);
  const failure = codecOf(schema).encode(body, 0, body.length);
  assert.ok(failure instanceof RecordFailure, `${json} fits`);
  return failure.message;
}

/** Schemas of all kinds, the same for the same seed. */
function randomSchema(seed: number): object | string {
  let state = seed * 2654435761 + 1;
  const next = (limit: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % limit;
  };
  let names = 0;
  const primitives = ["null", "boolean", "int", "long", "double", "bytes", "string"];
  const build = (depth: number): object | string => {
    const kind = next(depth > 2 ? 3 : 8);
    if (kind < 3) return primitives[next(primitives.length)] ?? "null";
    if (kind === 3) return { type: "array", items: build(depth + 1) };
    if (kind === 4) return { type: "map", values: build(depth + 1) };
    if (kind === 5) return { type: "enum", name: `E${names++}`, symbols: ["A", "B", "C"] };
    if (kind === 6)
      return ["null", "long", "string", { type: "fixed", name: `F${names++}`, size: 3 }].slice(next(2), 2 + next(3));
    const name = `R${names++}`;
    const fields = Array.from({ length: 1 + next(4) }, (_, index) => ({ name: `f${index}`, type: build(depth + 1) }));
    return { type: "record", name, fields };
  };
  return build(0);
}
