/** Forms of numbers: int, long, float, double, and decimal, whose digits stay as they are. */

import type { DecimalType } from "@millrace/client/internal/avro";
import avro from "avsc";
import { type AvroForm, expected } from "./avro-form.ts";
import type { AvroReader } from "./avro-reader.ts";
import type { AvroWriter } from "./avro-writer.ts";
import { isWhole, type JsonCursor, Misfit } from "./json-cursor.ts";

const INT32_MIN = -(2 ** 31);
const INT32_MAX = 2 ** 31 - 1;

export const intForm: AvroForm = {
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

export const longForm: AvroForm = {
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
/** With its sign. What is longer is not made a number first, which takes long for a million digits. */
const LONG_LIMIT_CHARACTERS = 20;

function longOf(text: string): number | bigint | null {
  if (!isWhole(text) || text === "" || text === "-") return null;
  if (text.length <= SAFE_DIGITS) return Number(text);
  if (text.length > LONG_LIMIT_CHARACTERS) return null;
  const value = BigInt(text);
  return BigInt.asIntN(64, value) === value ? value : null;
}

function describeNumber(text: string, bits: number): string {
  return isWhole(text) ? `a number that ${bits} bits do not hold` : "a number with a fraction or an exponent";
}

export const floatForm = floatingForm(
  "float",
  2 ** 24,
  (out, value) => out.float(value),
  (bytes) => bytes.bytes.readFloatLE(bytes.take(4)),
);

export const doubleForm = floatingForm(
  "double",
  2 ** 53,
  (out, value) => out.double(value),
  (bytes) => bytes.bytes.readDoubleLE(bytes.take(8)),
);

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

/** A decimal is a number, or the text of one: as text it comes back, since JSON's numbers are no decimals to most readers. */
export class DecimalForm implements AvroForm {
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
    bytes.take(underlyingType instanceof avro.types.FixedType ? underlyingType.size : bytes.count());
    try {
      return JSON.stringify(this.#type.fromBuffer(bytes.bytes.subarray(start, bytes.offset)));
    } catch (error) {
      throw error instanceof RangeError ? new Misfit(error.message) : error;
    }
  }
}

function decimalText(json: JsonCursor): string | null {
  if (json.kind === "number") return json.number();
  return json.kind === "string" ? json.string() : null;
}
