/** AvroCodec: between JSON and Avro's bytes in Confluent's wire format. */

import type { AvroType } from "@millrace/client/internal/avro";
import { WireError } from "@millrace/protocol";
import { type PartCodec, RecordFailure } from "../formats.ts";
import { WIRE_HEADER_BYTES, WIRE_MAGIC } from "../wire-format.ts";
import type { AvroForm } from "./avro-form.ts";
import { formOf } from "./avro-json.ts";
import { AvroReader } from "./avro-reader.ts";
import { AvroWriter } from "./avro-writer.ts";
import { JsonCursor, Misfit } from "./json-cursor.ts";

export class AvroCodec implements PartCodec {
  readonly format = "avro";
  readonly schemaId: number;
  readonly #rootName: string;
  readonly #form: AvroForm;
  readonly #writer = new AvroWriter();

  constructor(schemaId: number, type: AvroType) {
    this.schemaId = schemaId;
    this.#rootName = type.name ?? "value";
    this.#form = formOf(type);
  }

  /** The bytes of the JSON value from start to end, which the scanner has passed. */
  encode(body: Buffer, start: number, end: number): Buffer | RecordFailure {
    const writer = this.#writer;
    writer.reset();
    writer.byte(WIRE_MAGIC);
    writer.uint32be(this.schemaId);
    try {
      this.#form.write(JsonCursor.at(body, start, end), writer);
      return writer.finish();
    } catch (error) {
      if (error instanceof Misfit) return new RecordFailure("SERIALIZATION_FAILED", this.#describe(error));
      throw error;
    }
  }

  /** The JSON of what was written with this schema; or why it is not. */
  decode(bytes: Buffer): string | RecordFailure {
    const reader = new AvroReader(bytes, WIRE_HEADER_BYTES);
    try {
      const json = this.#form.read(reader);
      reader.expectEnd();
      return json;
    } catch (error) {
      if (error instanceof Misfit) return new RecordFailure("SERIALIZATION_FAILED", this.#describe(error));
      if (error instanceof WireError) return new RecordFailure("SERIALIZATION_FAILED", error.message);
      throw error;
    }
  }

  #describe(misfit: Misfit): string {
    return `${[this.#rootName, ...misfit.path].join(".")}: ${misfit.message}`;
  }
}
