/**
 * Between JSON and Avro's bytes, as a schema says, without a value in between: 64-bit integers and decimals keep their
 * digits, strings their text.
 *
 * JSON is as Avro's own JSON encoding has it, and as people write it: a member of a union may stand plainly (`"paid"`) or
 * with its type (`{"string":"paid"}`), fields with a default may be left out, a decimal is its number or the text of it.
 *
 * Source: Avro 1.12 specification, "Binary Encoding" and "JSON Encoding".
 */

import { type AvroType, DecimalType } from "@millrace/client/internal/avro";
import { Reader } from "@millrace/protocol";
import avro from "avsc";
import { JSON_DEPTH_LIMIT } from "../json/scanner.ts";
import type { AvroWriter } from "./avro-writer.ts";
import { isWhole, type JsonCursor, type JsonKind, Misfit } from "./json-cursor.ts";

const { types } = avro;

/** Items that take no bytes, of all arrays in one value: a few bytes could stand for billions of them. */
const EMPTY_ITEMS_LIMIT = 10_000;

/** Avro's bytes, where every length is checked against what there is. */
export class AvroReader extends Reader {
  #depth = 0;
  #emptyItemCount = 0;

  /** Into a part that may hold parts of its own kind; `ascend` leads out. */
  descend(): void {
    this.#depth += 1;
    if (this.#depth > JSON_DEPTH_LIMIT) throw new Misfit(`values are nested more than ${JSON_DEPTH_LIMIT} deep`);
  }

  ascend(): void {
    this.#depth -= 1;
  }

  countEmptyItem(): void {
    this.#emptyItemCount += 1;
    if (this.#emptyItemCount <= EMPTY_ITEMS_LIMIT) return;
    throw new Misfit(`there are more than ${EMPTY_ITEMS_LIMIT} items that take no bytes`);
  }

  /** A length or index: what does not fit a number fits nothing. */
  count(): number {
    const value = this.varlong();
    if (value < -BigInt(Number.MAX_SAFE_INTEGER) || value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new Misfit(`expected a length, found ${value}`);
    }
    return Number(value);
  }
}

/** One type of a schema. */
export interface AvroForm {
  /** "int", "enum shop.State": for messages. */
  readonly name: string;
  /** Writes the JSON value that stands here. Throws Misfit. */
  write(json: JsonCursor, out: AvroWriter): void;
  /** Whether the value that stands here is one of this type's, exactly; of arrays, maps and records only the outermost is looked at. */
  fits(json: JsonCursor): boolean;
  /** The value's JSON. Throws Misfit, or WireError for bytes that end too early. */
  read(bytes: AvroReader): string;
}

/** Builds the forms of a type and all it consists of. */
export function formOf(type: AvroType, known = new Map<AvroType, AvroForm>()): AvroForm {
  const found = known.get(type);
  if (found !== undefined) return found;
  const form = createForm(type, (part) => formOf(part, known), known);
  known.set(type, form);
  return form;
}

type FormOf = (type: AvroType) => AvroForm;

function createForm(type: AvroType, of: FormOf, known: Map<AvroType, AvroForm>): AvroForm {
  if (type instanceof DecimalType) return new DecimalForm(type);
  if (type instanceof types.LogicalType) return of(type.underlyingType);
  if (type instanceof types.RecordType) {
    const form = new RecordForm(type);
    // Before its fields: they may hold it again.
    known.set(type, form);
    form.build(of);
    return form;
  }
  if (type instanceof types.ArrayType) return new ArrayForm(of(type.itemsType));
  if (type instanceof types.MapType) return new MapForm(of(type.valuesType));
  if (type instanceof types.EnumType) return new EnumForm(type);
  if (type instanceof types.FixedType) return new FixedForm(type);
  if (type instanceof types.UnwrappedUnionType || type instanceof types.WrappedUnionType) {
    return new UnionForm(type.types, type.types.map(of));
  }
  const form = primitives[type.typeName.replace("abstract:", "")];
  if (form === undefined) throw new TypeError(`there is no Avro type ${type.typeName}`);
  return form;
}

const found: Readonly<Record<JsonKind, string>> = {
  null: "null",
  boolean: "a boolean",
  number: "a number",
  string: "a string",
  array: "an array",
  object: "an object",
};

function expected(form: Pick<AvroForm, "name">, json: JsonCursor): Misfit {
  // Never the value itself: errors are logged.
  return new Misfit(`expected ${form.name}, found ${found[json.kind]}`);
}

/** What was thrown in a part, with the place of the part if it is a misfit. */
function placed(error: unknown, place: string | number): unknown {
  if (error instanceof Misfit) error.path.unshift(place);
  return error;
}

const nullForm: AvroForm = {
  name: "null",
  fits: (json) => json.kind === "null",
  write(json) {
    if (json.kind !== "null") throw expected(nullForm, json);
    json.skip();
  },
  read: () => "null",
};

const booleanForm: AvroForm = {
  name: "boolean",
  fits: (json) => json.kind === "boolean",
  write(json, out) {
    if (json.kind !== "boolean") throw expected(booleanForm, json);
    out.byte(json.boolean() ? 1 : 0);
  },
  read: (bytes) => (bytes.boolean() ? "true" : "false"),
};

const INT32_MIN = -(2 ** 31);
const INT32_MAX = 2 ** 31 - 1;

const intForm: AvroForm = {
  name: "int",
  fits: (json) => json.kind === "number" && intOf(json.fork().number()) !== null,
  write(json, out) {
    if (json.kind !== "number") throw expected(intForm, json);
    const text = json.number();
    const value = intOf(text);
    if (value === null) throw new Misfit(`expected int, found ${describeNumber(text, 32)}`);
    out.int(value);
  },
  read(bytes) {
    return String(bytes.varint());
  },
};

function intOf(text: string): number | null {
  const value = isWhole(text) ? Number(text) : Number.NaN;
  return value >= INT32_MIN && value <= INT32_MAX ? value : null;
}

const longForm: AvroForm = {
  name: "long",
  fits: (json) => json.kind === "number" && longOf(json.fork().number()) !== null,
  write(json, out) {
    if (json.kind !== "number" && json.kind !== "string") throw expected(longForm, json);
    // As text too: a browser's numbers end at 2^53.
    const isText = json.kind === "string";
    const text = isText ? json.string() : json.number();
    const value = longOf(text);
    if (value === null) throw new Misfit(`expected long, found ${isText ? "a string" : describeNumber(text, 64)}`);
    if (typeof value === "number") out.int(value);
    else out.long(value);
  },
  read(bytes) {
    return String(bytes.varlong());
  },
};

/** Digits that no safe integer exceeds. */
const SAFE_DIGITS = 15;

function longOf(text: string): number | bigint | null {
  if (!isWhole(text) || text === "" || text === "-") return null;
  if (text.length <= SAFE_DIGITS) return Number(text);
  const value = BigInt(text);
  return BigInt.asIntN(64, value) === value ? value : null;
}

function describeNumber(text: string, bits: number): string {
  return isWhole(text) ? `a number that ${bits} bits do not hold` : "a number with a fraction or an exponent";
}

/** Numbers that JSON has no numbers for, as Java's and JavaScript's writers spell them. */
const numberWords: ReadonlyMap<string, number> = new Map([
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
  ["INF", Number.POSITIVE_INFINITY],
  ["-INF", Number.NEGATIVE_INFINITY],
]);

/** exactLimit: up to here each whole number is one of this type's. */
function floatingForm(
  name: "float" | "double",
  exactLimit: number,
  put: (out: AvroWriter, value: number) => void,
  take: (bytes: AvroReader) => number,
): AvroForm {
  const form: AvroForm = {
    name,
    fits(json) {
      if (json.kind === "string") return numberWords.has(json.fork().string());
      if (json.kind !== "number") return false;
      const text = json.fork().number();
      return !isWhole(text) || Math.abs(Number(text)) <= exactLimit;
    },
    write(json, out) {
      const value =
        json.kind === "number"
          ? Number(json.number())
          : json.kind === "string"
            ? numberWords.get(json.fork().string())
            : undefined;
      if (value === undefined) throw expected(form, json);
      if (json.kind === "string") json.skip();
      put(out, value);
    },
    read(bytes) {
      const value = take(bytes);
      if (!Number.isFinite(value)) return `"${value}"`;
      return Object.is(value, -0) ? "-0.0" : String(value);
    },
  };
  return form;
}

const stringForm: AvroForm = {
  name: "string",
  fits: (json) => json.kind === "string",
  write(json, out) {
    if (json.kind !== "string") throw expected(stringForm, json);
    writeText(json.string(), out);
  },
  read(bytes) {
    return JSON.stringify(bytes.utf8(bytes.count()));
  },
};

/** Half of a surrogate pair: with the u flag whole pairs are one character, so only lone halves match. */
const LONE_SURROGATE = /\p{Surrogate}/u;

function writeText(text: string, out: AvroWriter): void {
  if (LONE_SURROGATE.test(text)) throw new Misfit("the text has a lone surrogate, which UTF-8 cannot say");
  out.string(text);
}

const BEYOND_BYTES = /[^\0-\u00ff]/;

/** Each character is a byte, as Avro's JSON encoding has it. */
function bytesOf(text: string): Buffer | null {
  return BEYOND_BYTES.test(text) ? null : Buffer.from(text, "latin1");
}

const bytesForm: AvroForm = {
  name: "bytes",
  fits: (json) => json.kind === "string" && !BEYOND_BYTES.test(json.fork().string()),
  write(json, out) {
    if (json.kind !== "string") throw expected(bytesForm, json);
    const bytes = bytesOf(json.string());
    if (bytes === null) throw new Misfit("expected bytes, a character from \\u0000 to \\u00ff each, found others");
    out.int(bytes.length);
    out.raw(bytes);
  },
  read(bytes) {
    return JSON.stringify(bytes.slice(bytes.count()).toString("latin1"));
  },
};

const primitives: Readonly<Record<string, AvroForm>> = {
  null: nullForm,
  boolean: booleanForm,
  int: intForm,
  long: longForm,
  float: floatingForm(
    "float",
    2 ** 24,
    (out, value) => out.float(value),
    (bytes) => bytes.bytes.readFloatLE(bytes.take(4)),
  ),
  double: floatingForm(
    "double",
    2 ** 53,
    (out, value) => out.double(value),
    (bytes) => bytes.bytes.readDoubleLE(bytes.take(8)),
  ),
  string: stringForm,
  bytes: bytesForm,
};

class FixedForm implements AvroForm {
  readonly name: string;
  readonly #sizeBytes: number;

  constructor(type: avro.types.FixedType) {
    this.name = `fixed ${type.name}`;
    this.#sizeBytes = type.size;
  }

  fits(json: JsonCursor): boolean {
    return json.kind === "string" && bytesOf(json.fork().string())?.length === this.#sizeBytes;
  }

  write(json: JsonCursor, out: AvroWriter): void {
    if (json.kind !== "string") throw expected(this, json);
    const bytes = bytesOf(json.string());
    if (bytes?.length !== this.#sizeBytes) {
      throw new Misfit(
        `expected ${this.name} of ${this.#sizeBytes} bytes, found ${bytes?.length ?? "other characters"}`,
      );
    }
    out.raw(bytes);
  }

  read(bytes: AvroReader): string {
    return JSON.stringify(bytes.slice(this.#sizeBytes).toString("latin1"));
  }
}

/** A decimal is a number, or the text of one: as text it comes back, since JSON's numbers are no decimals to most readers. */
class DecimalForm implements AvroForm {
  readonly name: string;
  readonly #type: DecimalType;

  constructor(type: DecimalType) {
    this.name = "decimal";
    this.#type = type;
  }

  fits(json: JsonCursor): boolean {
    const text = decimalText(json.fork());
    return text !== null && this.#type.misfitOf(text) === null;
  }

  write(json: JsonCursor, out: AvroWriter): void {
    if (json.kind !== "number" && json.kind !== "string") throw expected(this, json);
    const text = decimalText(json);
    const misfit = this.#type.misfitOf(text);
    if (misfit !== null) throw new Misfit(misfit);
    out.raw(this.#type.toBuffer(text));
  }

  read(bytes: AvroReader): string {
    const start = bytes.offset;
    const { underlyingType } = this.#type;
    bytes.take(underlyingType instanceof types.FixedType ? underlyingType.size : bytes.count());
    return JSON.stringify(this.#type.fromBuffer(bytes.bytes.subarray(start, bytes.offset)));
  }
}

function decimalText(json: JsonCursor): string | null {
  if (json.kind === "number") return json.number();
  return json.kind === "string" ? json.string() : null;
}

class EnumForm implements AvroForm {
  readonly name: string;
  readonly #symbols: readonly string[];
  readonly #indexes: ReadonlyMap<string, number>;

  constructor(type: avro.types.EnumType) {
    this.name = `enum ${type.name}`;
    this.#symbols = type.symbols;
    this.#indexes = new Map(type.symbols.map((symbol, index) => [symbol, index]));
  }

  fits(json: JsonCursor): boolean {
    return json.kind === "string" && this.#indexes.has(json.fork().string());
  }

  write(json: JsonCursor, out: AvroWriter): void {
    if (json.kind !== "string") throw expected(this, json);
    const index = this.#indexes.get(json.string());
    if (index === undefined) throw new Misfit(`expected ${this.name}, found a string that is none of its symbols`);
    out.int(index);
  }

  read(bytes: AvroReader): string {
    const symbol = this.#symbols[bytes.count()];
    if (symbol === undefined) throw new Misfit(`expected ${this.name}, found an index that it does not have`);
    return JSON.stringify(symbol);
  }
}

class ArrayForm implements AvroForm {
  readonly name = "array";
  readonly #items: AvroForm;

  constructor(items: AvroForm) {
    this.#items = items;
  }

  fits(json: JsonCursor): boolean {
    return json.kind === "array";
  }

  write(json: JsonCursor, out: AvroWriter): void {
    if (json.kind !== "array") throw expected(this, json);
    const block = out.openBlock();
    let index = 0;
    try {
      for (let isMore = json.open(); isMore; isMore = json.next()) {
        this.#items.write(json, out);
        index += 1;
      }
    } catch (error) {
      throw placed(error, index);
    }
    out.closeBlock(block, index);
  }

  read(bytes: AvroReader): string {
    const items: string[] = [];
    try {
      readBlocks(bytes, () => items.push(this.#items.read(bytes)));
    } catch (error) {
      throw placed(error, items.length);
    }
    return `[${items.join(",")}]`;
  }
}

/** Calls once an item. A negative number of items is followed by the block's size, for readers that skip it. */
function readBlocks(bytes: AvroReader, readItem: () => void): void {
  bytes.descend();
  for (let count = bytes.count(); count !== 0; count = bytes.count()) {
    if (count < 0) bytes.count();
    for (let left = Math.abs(count); left > 0; left--) {
      const before = bytes.offset;
      readItem();
      if (bytes.offset === before) bytes.countEmptyItem();
    }
  }
  bytes.ascend();
}

class MapForm implements AvroForm {
  readonly name = "map";
  readonly #values: AvroForm;

  constructor(values: AvroForm) {
    this.#values = values;
  }

  fits(json: JsonCursor): boolean {
    return json.kind === "object";
  }

  write(json: JsonCursor, out: AvroWriter): void {
    if (json.kind !== "object") throw expected(this, json);
    const block = out.openBlock();
    const seen = new Set<string>();
    let name = "";
    try {
      for (let isMore = json.open(); isMore; isMore = json.next()) {
        name = json.name();
        if (seen.has(name)) throw new Misfit("is given twice");
        seen.add(name);
        writeText(name, out);
        this.#values.write(json, out);
      }
    } catch (error) {
      throw placed(error, name);
    }
    out.closeBlock(block, seen.size);
  }

  read(bytes: AvroReader): string {
    const members: string[] = [];
    let name = "";
    try {
      readBlocks(bytes, () => {
        name = bytes.utf8(bytes.count());
        members.push(`${JSON.stringify(name)}:${this.#values.read(bytes)}`);
      });
    } catch (error) {
      throw placed(error, name);
    }
    return `{${members.join(",")}}`;
  }
}

interface FieldForm {
  readonly name: string;
  readonly jsonName: string;
  readonly form: AvroForm;
  /** In Avro's bytes; null if the field must be given. */
  readonly defaultBytes: Buffer | null;
}

class RecordForm implements AvroForm {
  readonly name: string;
  readonly #type: avro.types.RecordType;
  #fields: readonly FieldForm[] = [];
  #indexes: ReadonlyMap<string, number> = new Map();

  constructor(type: avro.types.RecordType) {
    this.name = `record ${type.name}`;
    this.#type = type;
  }

  build(of: FormOf): void {
    this.#fields = this.#type.fields.map((field) => {
      const given: unknown = field.defaultValue();
      const defaultBytes = given === undefined ? null : field.type.toBuffer(given);
      return { name: field.name, jsonName: JSON.stringify(field.name), form: of(field.type), defaultBytes };
    });
    this.#indexes = new Map(this.#fields.map(({ name }, index) => [name, index]));
  }

  /** Whether it has all fields that the object has, and the object those that must be given. */
  fits(json: JsonCursor): boolean {
    if (json.kind !== "object") return false;
    const given = new Set<string>();
    const ahead = json.fork();
    for (let isMore = ahead.open(); isMore; isMore = ahead.next()) {
      const name = ahead.name();
      if (!this.#indexes.has(name)) return false;
      given.add(name);
      ahead.skip();
    }
    return this.#fields.every(({ name, defaultBytes }) => defaultBytes !== null || given.has(name));
  }

  write(json: JsonCursor, out: AvroWriter): void {
    if (json.kind !== "object") throw expected(this, json);
    const start = out.position;
    const places = new FieldPlaces(this.#fields.length);
    let name = "";
    try {
      for (let isMore = json.open(); isMore; isMore = json.next()) {
        name = json.name();
        const index = this.#indexes.get(name);
        const field = index === undefined ? undefined : this.#fields[index];
        // It would be lost without a word.
        if (index === undefined || field === undefined) throw new Misfit(`${this.name} has no such field`);
        if (places.has(index)) throw new Misfit("is given twice");
        places.begin(index, out.position);
        field.form.write(json, out);
        places.end(index, out.position);
      }
    } catch (error) {
      throw placed(error, name);
    }
    if (!places.isInOrder) out.rewrite(start, this.#inOrder(places, out));
  }

  /** Fields come in any order, or not at all; they are stored in that of the schema. */
  #inOrder(places: FieldPlaces, out: AvroWriter): Uint8Array[] {
    return this.#fields.map(({ name, defaultBytes }, index) => {
      if (places.has(index)) return out.view(places.startOf(index), places.endOf(index));
      if (defaultBytes !== null) return defaultBytes;
      throw placed(new Misfit("is missing, and has no default"), name);
    });
  }

  read(bytes: AvroReader): string {
    bytes.descend();
    let json = "{";
    let place = "";
    try {
      for (const { name, jsonName, form } of this.#fields) {
        place = name;
        json += `${json.length === 1 ? "" : ","}${jsonName}:${form.read(bytes)}`;
      }
    } catch (error) {
      throw placed(error, place);
    }
    bytes.ascend();
    return `${json}}`;
  }
}

/** Where the fields of a record were written, in the order in which they came. */
class FieldPlaces {
  /** Start and end by turns; -1 for a field that has not come. */
  readonly #places: number[];
  /** The field that would be next in the schema's order. */
  #next = 0;

  constructor(fieldCount: number) {
    this.#places = new Array<number>(2 * fieldCount).fill(-1);
  }

  /** All fields came, as the schema has them. */
  get isInOrder(): boolean {
    return this.#next === this.#places.length / 2;
  }

  has(index: number): boolean {
    return this.startOf(index) >= 0;
  }

  startOf(index: number): number {
    return this.#places[2 * index] ?? -1;
  }

  endOf(index: number): number {
    return this.#places[2 * index + 1] ?? -1;
  }

  begin(index: number, position: number): void {
    this.#places[2 * index] = position;
    this.#next = this.#next === index ? index + 1 : -1;
  }

  end(index: number, position: number): void {
    this.#places[2 * index + 1] = position;
  }
}

interface Branch {
  /** As JSON names it: the full name, or that of the primitive type. */
  readonly tag: string;
  readonly index: number;
  readonly form: AvroForm;
}

class UnionForm implements AvroForm {
  readonly name: string;
  readonly #branches: readonly Branch[];
  /** Those beside null. */
  readonly #others: readonly Branch[];

  constructor(members: readonly AvroType[], forms: readonly AvroForm[]) {
    this.#branches = forms.map((form, index) => ({ tag: tagOf(members[index]), index, form }));
    this.#others = this.#branches.filter(({ form }) => form !== nullForm);
    this.name = `one of ${this.#branches.map(({ tag }) => tag).join(", ")}`;
  }

  fits(json: JsonCursor): boolean {
    return this.#branches.some(({ form }) => form.fits(json));
  }

  write(json: JsonCursor, out: AvroWriter): void {
    const tagged = json.kind === "object" ? this.#taggedBranch(json) : null;
    const branch = tagged ?? this.#plainBranch(json);
    if (branch === null) throw expected(this, json);
    out.int(branch.index);
    if (tagged === null) {
      branch.form.write(json, out);
      return;
    }
    json.open();
    json.name();
    try {
      branch.form.write(json, out);
    } catch (error) {
      throw placed(error, tagged.tag);
    }
    json.next();
  }

  /** Of an object whose only member is named as a branch is. An object that is a record as it stands is that record. */
  #taggedBranch(json: JsonCursor): Branch | null {
    const ahead = json.fork();
    if (!ahead.open()) return null;
    const name = ahead.name();
    const branch = this.#branches.find(({ tag }) => tag === name);
    if (branch === undefined) return null;
    ahead.skip();
    if (ahead.next()) return null;
    return this.#others.some(({ form }) => form instanceof RecordForm && form.fits(json)) ? null : branch;
  }

  #plainBranch(json: JsonCursor): Branch | null {
    const { kind } = json;
    if (kind === "null") return this.#branches.find(({ form }) => form === nullForm) ?? null;
    const candidates = kind === "object" ? this.#others.filter(({ form }) => isObjectForm(form)) : this.#others;
    // What does not fit it is told better by the branch itself.
    if (candidates.length === 1) return candidates[0] ?? null;
    const fitting = candidates.find(({ form }) => form.fits(json));
    if (fitting !== undefined || kind !== "number") return fitting ?? null;
    // No branch holds it exactly; where JSON has a number, a float or double takes the nearest that it has.
    return candidates.find(({ form }) => form === primitives.double || form === primitives.float) ?? null;
  }

  /** Plainly where null is the only other; else with its type, so that it can be told which it was. */
  read(bytes: AvroReader): string {
    const branch = this.#branches[bytes.count()];
    if (branch === undefined) throw new Misfit(`expected ${this.name}, found an index that it does not have`);
    const json = branch.form.read(bytes);
    const isPlain = branch.form === nullForm || this.#others.length === 1;
    return isPlain ? json : `{${JSON.stringify(branch.tag)}:${json}}`;
  }
}

function isObjectForm(form: AvroForm): boolean {
  return form instanceof RecordForm || form instanceof MapForm;
}

function tagOf(type: AvroType | undefined): string {
  return type?.branchName ?? type?.typeName.replace("abstract:", "") ?? "";
}
