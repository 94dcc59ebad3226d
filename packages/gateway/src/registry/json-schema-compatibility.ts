/**
 * Whether whatever one JSON schema lets pass another does too, as far as that can be told keyword by keyword.
 *
 * An answer of yes is certain; where it is not, the answer is the place that it hangs on. A keyword of the reader's schema is
 * implied by the writer's where it is the same or plainly looser, where the values of its type cannot occur, or where there
 * are but a few values and it takes them all. Nothing is concluded from several keywords together, beside those of objects.
 */

import { canonicalText } from "./schema-fingerprint.ts";

type SchemaObject = Readonly<Record<string, unknown>>;

/**
 * The place in the reader's schema that may refuse what the writer's lets pass, as a JSON pointer; null: there is none.
 *
 * Both as JSON.parse gives them, with numbers that it keeps; what they refer to is in themselves.
 */
export function uncertainPlace(reader: unknown, writer: unknown): string | null {
  if (hasKeyword([reader, writer], SCOPED) || draftOf(reader) !== draftOf(writer)) return "/";
  return new Comparison(reader, writer).compare(reader, writer, "");
}

/** Depend on where they stand and on all that stands beside them; nullable is Ajv's own, and loosens. */
const SCOPED = [
  ...["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef"],
  ...["unevaluatedItems", "unevaluatedProperties", "nullable"],
];
/** Say nothing about values. */
const ANNOTATIONS = new Set([
  ...["$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"],
  ...["deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType", "contentSchema"],
]);
const OBJECT_SHAPE = ["properties", "patternProperties", "additionalProperties"];

/** Pairs of schemas that are compared, at most. Definitions that hold the next one twice each double their number. */
const COMPARISONS_LIMIT = 20_000;

class Comparison {
  readonly #readerRoot: unknown;
  readonly #writerRoot: unknown;
  #comparedCount = 0;
  /** Pairs that are being compared further up, and how deep in the value. */
  readonly #above: (readonly [reader: unknown, writer: unknown, depth: number])[] = [];
  /** How many objects and arrays around the values that are spoken of. */
  #depth = 0;

  constructor(readerRoot: unknown, writerRoot: unknown) {
    this.#readerRoot = readerRoot;
    this.#writerRoot = writerRoot;
  }

  compare(givenReader: unknown, givenWriter: unknown, path: string): string | null {
    const reader = resolve(givenReader, this.#readerRoot);
    const writer = resolve(givenWriter, this.#writerRoot);
    if (reader === null || writer === null) return place(path);
    if (reader === true || writer === false) return null;
    this.#comparedCount += 1;
    if (reader === false || this.#comparedCount > COMPARISONS_LIMIT) return place(path);
    const again = this.#above.find(([above, other]) => above === reader && other === writer);
    // What holds itself is the same further down in the value; what is nothing but itself is no schema.
    if (again !== undefined) return this.#depth > again[2] ? null : place(path);
    this.#above.push([reader, writer, this.#depth]);
    const facts = writer === true ? {} : writer;
    let found: string | null = null;
    for (const keyword of Object.keys(reader)) {
      found ??= this.#compareKeyword(keyword, reader, facts, `${path}/${keyword}`);
    }
    this.#above.pop();
    return found;
  }

  /** Null where the writer's facts imply the reader's keyword. */
  #compareKeyword(keyword: string, reader: SchemaObject, writer: SchemaObject, path: string): string | null {
    const wanted = reader[keyword];
    if (ANNOTATIONS.has(keyword)) return null;
    const implied = isImplied(keyword, wanted, writer);
    if (implied !== null) return implied ? null : place(path);
    switch (keyword) {
      case "properties":
      case "additionalProperties":
        if (!mayBe("object", writer)) return null;
        // Told where there are patterns: then names belong to several.
        if ("patternProperties" in reader || "patternProperties" in writer) break;
        return keyword === "properties"
          ? this.#compareProperties(wanted, writer, path)
          : this.#compareOthers(wanted, reader, writer, path);
      case "items":
        if (!mayBe("array", writer)) return null;
        if (
          Array.isArray(wanted) ||
          Array.isArray(writer.items) ||
          "prefixItems" in reader ||
          "prefixItems" in writer
        ) {
          break;
        }
        return this.#compareInside(wanted, writer.items ?? true, path);
      case "allOf":
        if (!Array.isArray(wanted)) break;
        return firstOf(wanted, (branch, index) => this.compare(branch, writer, `${path}/${index}`));
      case "anyOf":
        if (Array.isArray(wanted) && this.#isOneOfThem(wanted, writer)) return null;
        break;
    }
    return isSameKeyword(keyword, reader, writer) ? null : place(path);
  }

  #compareProperties(properties: unknown, writer: SchemaObject, path: string): string | null {
    const written = asObject(writer.properties);
    return firstOf(Object.entries(asObject(properties)), ([name, schema]) => {
      const source = Object.hasOwn(written, name) ? written[name] : (writer.additionalProperties ?? true);
      return this.#compareInside(schema, source, `${path}/${name}`);
    });
  }

  /** Of properties that the reader does not name. */
  #compareOthers(schema: unknown, reader: SchemaObject, writer: SchemaObject, path: string): string | null {
    const named = asObject(reader.properties);
    const unnamed = Object.entries(asObject(writer.properties)).filter(([name]) => !Object.hasOwn(named, name));
    return (
      firstOf(unnamed, ([, source]) => this.#compareInside(schema, source, path)) ??
      this.#compareInside(schema, writer.additionalProperties ?? true, path)
    );
  }

  #compareInside(reader: unknown, writer: unknown, path: string): string | null {
    this.#depth += 1;
    const found = this.compare(reader, writer, path);
    this.#depth -= 1;
    return found;
  }

  #isOneOfThem(branches: readonly unknown[], writer: SchemaObject): boolean {
    const takes = (written: unknown) => branches.some((branch) => this.compare(branch, written, "") === null);
    const alternatives = [writer.anyOf, writer.oneOf].filter(Array.isArray);
    return takes(writer) || alternatives.some((written: readonly unknown[]) => written.every(takes));
  }
}

/** For keywords that a comparison of numbers or lists decides; null for all others. */
function isImplied(keyword: string, wanted: unknown, writer: SchemaObject): boolean | null {
  const values = valuesOf(writer);
  switch (keyword) {
    case "type": {
      const types = typesIn(wanted);
      const isTaken = (type: unknown) => types.includes(type) || (type === "integer" && types.includes("number"));
      if (values !== null) return values.every((value) => isTaken(typeOf(value)));
      return "type" in writer && typesIn(writer.type).every(isTaken);
    }
    case "enum":
      return Array.isArray(wanted) && isTakenBy(wanted, values);
    case "const":
      return isTakenBy([wanted], values);
    case "required":
      if (!mayBe("object", writer)) return true;
      return listOf(wanted).every((name) => listOf(writer.required).includes(name));
    case "minimum":
      return (
        isNumberFree(writer) || (atLeast(writer.minimum, wanted) ?? atLeast(writer.exclusiveMinimum, wanted) ?? false)
      );
    case "maximum":
      return (
        isNumberFree(writer) || (atMost(writer.maximum, wanted) ?? atMost(writer.exclusiveMaximum, wanted) ?? false)
      );
    case "minLength":
      return !mayBe("string", writer) || wanted === 0 || (atLeast(writer.minLength, wanted) ?? false);
    case "maxLength":
      return !mayBe("string", writer) || (atMost(writer.maxLength, wanted) ?? false);
    case "minItems":
      return !mayBe("array", writer) || wanted === 0 || (atLeast(writer.minItems, wanted) ?? false);
    case "maxItems":
      return !mayBe("array", writer) || (atMost(writer.maxItems, wanted) ?? false);
    case "uniqueItems":
      return wanted === false || !mayBe("array", writer) || writer.uniqueItems === true;
    default:
      return null;
  }
}

function place(path: string): string {
  return path === "" ? "/" : path;
}

function firstOf<T>(items: readonly T[], ask: (item: T, index: number) => string | null): string | null {
  for (const [index, item] of items.entries()) {
    const found = ask(item, index);
    if (found !== null) return found;
  }
  return null;
}

/** Follows references to definitions of the same schema; null where one leads elsewhere, or stands beside other keywords. */
function resolve(given: unknown, root: unknown): SchemaObject | boolean | null {
  let schema = given;
  for (let depth = 0; depth < REFERENCE_DEPTH_LIMIT; depth++) {
    if (typeof schema === "boolean") return schema;
    if (!isObject(schema)) return null;
    if (schema !== root && "$id" in schema) return null;
    const { $ref: reference } = schema;
    if (reference === undefined) return schema;
    const isAlone = Object.keys(schema).every((keyword) => keyword === "$ref" || ANNOTATIONS.has(keyword));
    const match = /^#(?:\/(definitions|\$defs)\/([^/~%]+))?$/.exec(String(reference));
    if (!isAlone || match === null) return null;
    const [, section, name] = match;
    schema = section === undefined || name === undefined ? root : asObject(asObject(root)[section])[name];
  }
  return null;
}

const REFERENCE_DEPTH_LIMIT = 32;

/** Of what a keyword says, the same word for word; references in it may lead to what is not the same. */
function isSameKeyword(keyword: string, reader: SchemaObject, writer: SchemaObject): boolean {
  const group = groups.find((names) => names.includes(keyword)) ?? [keyword];
  const parts = [reader, writer].map((schema) => group.map((name) => schema[name] ?? null));
  return !hasKeyword(parts, ["$ref"]) && same(parts[0], parts[1]);
}

/** Mean something together only. What is not evaluated depends on all the others. */
const groups = [
  OBJECT_SHAPE,
  ["items", "prefixItems", "additionalItems"],
  ["contains", "minContains", "maxContains"],
  ["if", "then", "else"],
];

function same(a: unknown, b: unknown): boolean {
  return canonicalText("JSON", JSON.stringify(a ?? null)) === canonicalText("JSON", JSON.stringify(b ?? null));
}

/** The same text, as both come from JSON.parse. */
function isTakenBy(wanted: readonly unknown[], values: readonly unknown[] | null): boolean {
  return values?.every((value) => wanted.some((other) => same(value, other))) ?? false;
}

/** All values that there can be, where the schema counts them. */
function valuesOf(schema: SchemaObject): readonly unknown[] | null {
  if ("const" in schema) return [schema.const];
  return Array.isArray(schema.enum) ? schema.enum : null;
}

/** Whether a value of the type may be among those that the schema lets pass. */
function mayBe(type: string, schema: SchemaObject): boolean {
  const values = valuesOf(schema);
  if (values !== null) return values.some((value) => typeOf(value) === type);
  return !("type" in schema) || typesIn(schema.type).includes(type);
}

function isNumberFree(schema: SchemaObject): boolean {
  return !mayBe("number", schema) && !mayBe("integer", schema);
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return Number.isInteger(value) ? "integer" : typeof value;
}

function typesIn(type: unknown): readonly unknown[] {
  return Array.isArray(type) ? type : [type];
}

/** True, or null for no. */
function atLeast(value: unknown, bound: unknown): true | null {
  return typeof value === "number" && typeof bound === "number" && value >= bound ? true : null;
}

function atMost(value: unknown, bound: unknown): true | null {
  return typeof value === "number" && typeof bound === "number" && value <= bound ? true : null;
}

function hasKeyword(part: unknown, keywords: readonly string[]): boolean {
  if (Array.isArray(part)) return part.some((item) => hasKeyword(item, keywords));
  if (!isObject(part)) return false;
  return Object.entries(part).some(([name, value]) => keywords.includes(name) || hasKeyword(value, keywords));
}

function draftOf(schema: unknown): string {
  return String(asObject(schema).$schema ?? DRAFT_07).replace(/#$/, "");
}

const DRAFT_07 = "http://json-schema.org/draft-07/schema";

function asObject(value: unknown): SchemaObject {
  return isObject(value) ? value : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function isObject(value: unknown): value is SchemaObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
