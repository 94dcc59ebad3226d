/** Forms of what JSON has as text: string, bytes, fixed, enum. */

import type avro from "avsc";
import { type AvroForm, expected } from "./avro-form.ts";
import type { AvroReader } from "./avro-reader.ts";
import type { AvroWriter } from "./avro-writer.ts";
import { type JsonCursor, Misfit } from "./json-cursor.ts";

export const stringForm: AvroForm = {
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

export function writeText(text: string, out: AvroWriter): void {
  if (LONE_SURROGATE.test(text)) throw new Misfit("the text has a lone surrogate, which UTF-8 cannot say");
  out.string(text);
}

const BEYOND_BYTES = /[^\0-\u00ff]/;

/** Each character is a byte, as Avro's JSON encoding has it. */
function bytesOf(text: string): Buffer | null {
  return BEYOND_BYTES.test(text) ? null : Buffer.from(text, "latin1");
}

export const bytesForm: AvroForm = {
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

export class FixedForm implements AvroForm {
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

export class EnumForm implements AvroForm {
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
