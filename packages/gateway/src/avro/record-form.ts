/** RecordForm: a record's fields, in whatever order they come, with defaults for those that do not. */

import type avro from "avsc";
import { type AvroForm, expected, type FormOf, placed } from "./avro-form.ts";
import type { AvroReader } from "./avro-reader.ts";
import type { AvroWriter } from "./avro-writer.ts";
import { type JsonCursor, Misfit } from "./json-cursor.ts";

interface FieldForm {
  readonly name: string;
  readonly jsonName: string;
  readonly form: AvroForm;
  /** In Avro's bytes; null if the field must be given. */
  readonly defaultBytes: Buffer | null;
}

export class RecordForm implements AvroForm {
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
