import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { parseJsonSchema } from "../json-schema-format/json-schema-check.ts";
import { uncertainPlace } from "./json-schema-compatibility.ts";

type Schema = object | boolean;

const text = { type: "string" };
const open = { type: "object", properties: { a: text }, required: ["a"] };
const closed = { ...open, additionalProperties: false };
const more = { a: text, b: { type: "integer" } };
const tree = (name: object) => ({ properties: { name, next: { $ref: "#" } }, type: "object" });
const node = (schema: object, definition = "node") => ({
  $ref: `#/definitions/${definition}`,
  definitions: { [definition]: schema },
});

test("definitions that each hold the next one twice are not followed for ever", () => {
  const doubling = (last: object) => {
    const levels = Array.from({ length: 40 }, (_, level) => {
      const next = { $ref: `#/definitions/d${level + 1}` };
      return [`d${level}`, { properties: { a: next, b: next } }] as const;
    });
    return { $ref: "#/definitions/d0", definitions: { ...Object.fromEntries(levels), d40: last } };
  };

  assert.notEqual(uncertainPlace(doubling({}), doubling({ type: "string" })), null);
});

suite("a JSON schema reads what another let pass", () => {
  const certain: [name: string, reader: Schema, writer: Schema][] = [
    ["where it lets everything pass", {}, { type: "object" }],
    ["where the other lets nothing pass", text, false],
    ["where only words about it differ", { ...text, title: "a" }, { ...text, description: "b" }],
    ["with a property less that must be there", { ...open, required: [] }, open],
    ["with a property less that is looked at", { type: "object" }, open],
    ["with a property more, where none could be before", { ...closed, properties: more }, closed],
    ["with room for others", open, closed],
    ["with a type more", { type: ["string", "null"] }, text],
    ["with whole numbers as numbers", { type: "number" }, { type: "integer" }],
    ["with symbols more", { enum: ["a", "b", "c"] }, { enum: ["c", "a"] }],
    ["with a symbol's type", text, { enum: ["a", "b"] }],
    ["with wider bounds", { minimum: 0, maximum: 10 }, { minimum: 1, exclusiveMaximum: 10 }],
    ["with bounds of what cannot be", { minimum: 0, minItems: 1, required: ["a"] }, text],
    ["with longer texts", { maxLength: 20, minLength: 0 }, { maxLength: 10 }],
    ["with wider items", { items: { type: ["string", "null"] } }, { items: text }],
    ["as one of several", { anyOf: [{ type: "null" }, text] }, text],
    ["as some of several", { anyOf: [{ type: "null" }, text, { type: "array" }] }, { oneOf: [text, { type: "null" }] }],
    ["as each of several", { allOf: [text, { minLength: 1 }] }, { ...text, minLength: 2 }],
    ["under another definition's name", node(open, "one"), node(open, "other")],
    ["deep in itself", tree({ type: ["string", "null"] }), tree(text)],
    ["with a pattern that stays", { pattern: "^a" }, { pattern: "^a", maxLength: 3 }],
    [
      "with patterns of names that stay",
      { patternProperties: { "^x": text } },
      { patternProperties: { "^x": text }, required: ["x"] },
    ],
  ];
  for (const [name, reader, writer] of certain) {
    test(name, () => {
      assert.equal(uncertainPlace(reader, writer), null);
    });
  }

  const uncertain: [name: string, reader: Schema, writer: Schema, place: string][] = [
    ["lets nothing pass", false, text, "/"],
    ["needs a property more", { ...open, required: ["a", "b"] }, open, "/required"],
    ["looks at a property that could be anything", { ...open, properties: more }, open, "/properties/b/type"],
    ["closes what was open", closed, open, "/additionalProperties"],
    ["takes a type away", text, { type: ["string", "null"] }, "/type"],
    ["takes a symbol away", { enum: ["a"] }, { enum: ["a", "b"] }, "/enum"],
    [
      "narrows a bound",
      { properties: { n: { minimum: 1 } } },
      { properties: { n: { minimum: 0 } } },
      "/properties/n/minimum",
    ],
    ["has another pattern", { pattern: "^b" }, { pattern: "^a" }, "/pattern"],
    ["has another format", { format: "uri" }, text, "/format"],
    ["lets exactly one of several pass", { oneOf: [text, { maxLength: 3 }] }, text, "/oneOf"],
    ["looks deeper", { items: { items: text } }, { items: { type: "array" } }, "/items/items/type"],
    ["keeps a definition's name, but not what it says", node({ type: "integer" }), node(text), "/type"],
    ["has the same words around another definition", hidden("integer"), hidden("string"), "/not"],
    ["is nothing but itself", { $ref: "#" }, {}, "/"],
    ["goes round in a circle", { anyOf: [{ $ref: "#" }] }, text, "/anyOf"],
    ["is of another draft", { $schema: "https://json-schema.org/draft/2020-12/schema", ...text }, text, "/"],
    [
      "depends on all its neighbours",
      { unevaluatedProperties: false },
      { unevaluatedProperties: false, properties: {} },
      "/",
    ],
    ["names a property as a keyword of objects is named", { required: ["toString"] }, { properties: {} }, "/required"],
  ];
  for (const [name, reader, writer, place] of uncertain) {
    test(`is not said of one that ${name}`, () => {
      assert.equal(uncertainPlace(reader, writer), place);
    });
  }

  test("is never said of one that refuses it", () => {
    let saidCount = 0;
    fc.assert(
      fc.property(pairs, fc.array(values, { minLength: 5, maxLength: 30 }), ([reader, writer], given) => {
        if (uncertainPlace(reader, writer) !== null) return;
        saidCount += 1;
        const [reads, writes] = [reader, writer].map((schema) => parseJsonSchema(JSON.stringify(schema), []));
        for (const value of given) {
          if (writes?.misfitOf(value) !== null) continue;
          assert.equal(
            reads?.misfitOf(value),
            null,
            `${JSON.stringify(value)} for ${JSON.stringify([reader, writer])}`,
          );
        }
      }),
      { numRuns: 300 },
    );
    assert.ok(saidCount > 10, `${saidCount} said to go together`);
  });
});

function hidden(type: string): object {
  return { not: { $ref: "#/definitions/d" }, definitions: { d: { type } } };
}

const names = fc.constantFrom("a", "b", "c");
const leaves = fc.oneof(fc.constantFrom(null, true, "", "a", "bb", 0, 1, 2.5, -1), fc.constant([]), fc.constant({}));
const { value: values } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    leaves,
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(names, tie("value"), { maxKeys: 3 }),
  ),
}));
const typeNames = ["null", "boolean", "string", "number", "integer", "array", "object"];
const { schema: schemas } = fc.letrec<{ schema: Schema }>((tie) => {
  const parts = fc.array(tie("schema"), { minLength: 1, maxLength: 2 });
  const small = fc.integer({ min: 0, max: 2 });
  return {
    schema: fc.oneof(
      { depthSize: "small" },
      fc.boolean(),
      fc.constant({}),
      fc.subarray(typeNames, { minLength: 1 }).map((type) => ({ type })),
      fc.record(
        {
          type: fc.subarray(typeNames, { minLength: 1 }),
          enum: fc.uniqueArray(leaves, { minLength: 1, maxLength: 3, selector: (leaf) => JSON.stringify(leaf) }),
          const: leaves,
          minimum: small,
          maximum: small,
          exclusiveMinimum: small,
          minLength: small,
          maxLength: small,
          minItems: small,
          maxItems: small,
          uniqueItems: fc.boolean(),
          required: fc.uniqueArray(names),
          properties: fc.dictionary(names, tie("schema"), { maxKeys: 2 }),
          additionalProperties: tie("schema"),
          patternProperties: fc.dictionary(fc.constantFrom("^a", "b$"), tie("schema"), { maxKeys: 1 }),
          items: fc.oneof(tie("schema"), parts),
          allOf: parts,
          anyOf: parts,
          oneOf: parts,
          not: tie("schema"),
          if: tie("schema"),
          else: tie("schema"),
          contains: tie("schema"),
          propertyNames: tie("schema"),
        },
        { requiredKeys: [] },
      ),
    ),
  };
});

/** A schema and another; or what became of it when some of its keywords were written over. */
const pairs = fc
  .tuple(schemas, schemas, fc.boolean())
  .map(([reader, writer, isVersion]): [Schema, Schema] =>
    isVersion && typeof reader === "object" && typeof writer === "object"
      ? [{ ...writer, ...reader }, writer]
      : [reader, writer],
  );
