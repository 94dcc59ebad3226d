/** AvroForm: one type of a schema, between its JSON and its bytes; and what all forms say of what does not fit. */

import type { AvroType } from "@millrace/client/internal/avro";
import type { AvroReader } from "./avro-reader.ts";
import type { AvroWriter } from "./avro-writer.ts";
import { type JsonCursor, type JsonKind, Misfit } from "./json-cursor.ts";

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

/** Finds the form of a part. */
export type FormOf = (type: AvroType) => AvroForm;

const foundKinds: Readonly<Record<JsonKind, string>> = {
  null: "null",
  boolean: "a boolean",
  number: "a number",
  string: "a string",
  array: "an array",
  object: "an object",
};

export function expected(form: Pick<AvroForm, "name">, json: JsonCursor): Misfit {
  // Never the value itself: errors are logged.
  return new Misfit(`expected ${form.name}, found ${foundKinds[json.kind]}`);
}

/** What was thrown in a part, with the place of the part if it is a misfit. */
export function placed(error: unknown, place: string | number): unknown {
  if (error instanceof Misfit) error.path.unshift(place);
  return error;
}
