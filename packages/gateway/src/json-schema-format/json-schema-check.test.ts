import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type JsonMisfit, parseJsonSchema } from "./json-schema-check.ts";

function misfit(schema: object | boolean, value: unknown, referenced: Readonly<Record<string, object>> = {}) {
  const others = Object.entries(referenced).map(([name, other]) => ({ name, schema: JSON.stringify(other) }));
  return parseJsonSchema(JSON.stringify(schema), others).misfitOf(value);
}

suite("a JSON schema", () => {
  const misfits: [schema: object | boolean, value: unknown, expected: JsonMisfit][] = [
    [{ type: "integer" }, 1.5, { path: "", message: "must be integer" }],
    [
      { items: { required: ["price"] } },
      [{ price: 1 }, {}],
      { path: "/1", message: "must have required property 'price'" },
    ],
    [
      { properties: { "a/b": { properties: { c: { minimum: 0 } } } } },
      { "a/b": { c: -1 } },
      { path: "/a~1b/c", message: "must be >= 0" },
    ],
    [
      { properties: {}, additionalProperties: false },
      { x: 1 },
      { path: "", message: 'must not have the property "x"' },
    ],
    [{ enum: ["a", null] }, "b", { path: "", message: 'must be one of "a", null' }],
    [{ const: [1] }, 1, { path: "", message: "must be [1]" }],
    [{ anyOf: [{ type: "null" }, { type: "string" }] }, 1, { path: "", message: "must be null or string" }],
    [{ format: "date-time" }, "yesterday", { path: "", message: 'must match format "date-time"' }],
    [{ required: ["toString"] }, {}, { path: "", message: "must have required property 'toString'" }],
    [false, 1, { path: "", message: "boolean schema is false" }],
  ];
  for (const [schema, value, expected] of misfits) {
    test(`${JSON.stringify(schema)} tells what is wrong with ${JSON.stringify(value)}, and where`, () => {
      assert.deepEqual(misfit(schema, value), expected);
    });
  }

  const fits: [schema: object | boolean, value: unknown][] = [
    [true, 1],
    [{}, null],
    [{ multipleOf: 0.01 }, 4.35],
    [{ format: "of our own" }, "anything"],
    [{ "x-note": "keywords that nobody knows are passed over", type: "string" }, "a"],
    [{ pattern: "^[\\w\\_]+$" }, "an escape that u does not have".replaceAll(" ", "_")],
    [{ maxLength: 1 }, "😀"],
  ];
  for (const [schema, value] of fits) {
    test(`${JSON.stringify(schema)} lets ${JSON.stringify(value)} pass`, () => {
      assert.equal(misfit(schema, value), null);
    });
  }

  test("is read by the draft that it names, and by draft-07 without one", () => {
    const tuple = { prefixItems: [{ type: "string" }] };
    const dependent = { dependentRequired: { a: ["b"] } };
    const d2020 = { $schema: "https://json-schema.org/draft/2020-12/schema" };
    const d2019 = { $schema: "https://json-schema.org/draft/2019-09/schema" };
    const d6 = { $schema: "http://json-schema.org/draft-06/schema#" };

    assert.equal(misfit(tuple, [1]), null);
    assert.equal(misfit({ ...d2020, ...tuple }, [1])?.path, "/0");
    assert.equal(misfit(dependent, { a: 1 }), null);
    assert.notEqual(misfit({ ...d2019, ...dependent }, { a: 1 }), null);
    assert.notEqual(misfit({ ...d6, exclusiveMinimum: 1 }, 1), null);
    assert.notEqual(
      misfit({ $schema: "https://json-schema.org/draft-07/schema#", propertyNames: { maxLength: 1 } }, { ab: 1 }),
      null,
    );
  });

  test("may refer to what is in it, to itself, and to its references by name, from its $id, or by their own", () => {
    const referenced = { "item.json": { type: "object", required: ["sku"] } };
    const byOwnId = { any: { $id: "https://shop.example/money", type: "string" } };

    const tree = { properties: { next: { $ref: "#" } }, required: ["id"] };
    assert.equal(misfit(tree, { id: 1, next: { id: 2, next: {} } })?.path, "/next/next");
    assert.equal(misfit({ $ref: "#/definitions/id", definitions: { id: { type: "integer" } } }, 1), null);
    assert.equal(misfit({ items: { $ref: "item.json" } }, [{}], referenced)?.path, "/0");
    const withId = { $id: "https://shop.example/order.json", items: { $ref: "item.json" } };
    assert.equal(misfit(withId, [{}], referenced)?.path, "/0");
    assert.equal(misfit({ $ref: "https://shop.example/money" }, 1, byOwnId)?.message, "must be string");
  });

  const refused: [schema: object, reason: RegExp][] = [
    [{ type: "text" }, /\/type must match/],
    [{ minimum: "1" }, /\/minimum must be number/],
    [{ pattern: "(" }, /Invalid regular expression/],
    [{ $ref: "#/definitions/none" }, /refers to #\/definitions\/none, which is neither in it nor among its references/],
    [{ $ref: "http://127.0.0.1:1/other.json" }, /refers to http:\/\/127\.0\.0\.1:1\/other\.json, .*nothing is fetched/],
    [
      { $schema: "http://json-schema.org/draft-04/schema#" },
      /draft-04.*known are draft-06, draft-07, 2019-09 and 2020-12/,
    ],
    [{ $async: true }, /\$async/],
    [[], /expected an object, true or false/],
  ];
  for (const [schema, reason] of refused) {
    test(`${JSON.stringify(schema)} is refused`, () => {
      assert.throws(() => parseJsonSchema(JSON.stringify(schema), []), reason);
    });
  }
});

test("a schema that refers many times to a large part of it is no larger for it", () => {
  const properties = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`p${index}`, { type: "string" }]));
  const references = Object.fromEntries(
    Array.from({ length: 100 }, (_, index) => [`r${index}`, { $ref: "#/$defs/a" }]),
  );

  const found = misfit({ $defs: { a: { properties } }, properties: references }, { r99: { p499: 1 } });

  assert.equal(found?.path, "/r99/p499");
});

test("a schema that takes too long to read is refused", () => {
  const schema = JSON.stringify({ enum: Array.from({ length: 100_000 }, (_, index) => index) });

  assert.throws(() => parseJsonSchema(schema, []), /too many parts/);
});

/** Definitions of which each holds the next one twice. */
function doubling(count: number): object {
  const next = (level: number) => ({ $ref: `#/definitions/d${level}` });
  const levels = Array.from({ length: count }, (_, level) => [
    `d${level}`,
    { allOf: [next(level + 1), next(level + 1)] },
  ]);
  return { ...next(0), definitions: { ...Object.fromEntries(levels), [`d${count}`]: { type: "string" } } };
}

suite("the cost of a schema", () => {
  const recursive = {
    definitions: { a: { items: { $ref: "#/definitions/b" } }, b: { not: { $ref: "#/definitions/a" } } },
  };
  const used = { properties: { a: { $ref: "#/definitions/a" } }, definitions: { a: { type: "string" } } };
  const costs: [schema: object | boolean, cost: string][] = [
    [true, "linear"],
    [{ type: "object", properties: { a: { enum: [1, 2] } } }, "linear"],
    [used, "linear"],
    [{ uniqueItems: true }, "growing"],
    [{ pattern: "^[A-Z]{3}-\\d{4}$" }, "growing"],
    [{ pattern: "^(?:[a-z]{2}|[0-9]+)$" }, "growing"],
    [{ pattern: "^(a+)+$" }, "unbounded"],
    [{ pattern: "^(a|ab)*$" }, "unbounded"],
    [{ pattern: "^((a+))*$" }, "unbounded"],
    [{ pattern: "(a*)\\1" }, "unbounded"],
    [{ patternProperties: { "^(x+)+$": true } }, "unbounded"],
    [{ items: { $ref: "#" } }, "unbounded"],
    [recursive, "unbounded"],
    [doubling(3), "linear"],
    [doubling(40), "unbounded"],
  ];
  for (const [schema, cost] of costs) {
    test(`${JSON.stringify(schema).slice(0, 200)} is ${cost}`, () => {
      assert.equal(parseJsonSchema(JSON.stringify(schema), []).cost, cost);
    });
  }
});
