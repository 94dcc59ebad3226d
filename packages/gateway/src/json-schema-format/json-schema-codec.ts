/** JsonSchemaCodec: JSON that fits a schema, in Confluent's wire format: its bytes stay as they were sent. */

import { type PartCodec, RecordFailure } from "../formats.ts";
import { wireBytes } from "../wire-format.ts";
import type { JsonMisfit, JsonSchemaCheck } from "./json-schema-check.ts";
import { Patience } from "./patience.ts";

/** Values up to this length are checked without a watch where the time grows with it. */
const UNWATCHED_BYTES = 512;
/** What everybody else waits at most while a value is checked. */
const CHECK_LIMIT_MS = 250;

export interface JsonSchemaCodecParts {
  readonly schemaId: number;
  readonly check: JsonSchemaCheck;
  /** Of a value's JSON. A larger one could not be stored, and is not parsed. */
  readonly limitBytes: number;
}

export class JsonSchemaCodec implements PartCodec {
  readonly format = "jsonschema";
  readonly #parts: JsonSchemaCodecParts;
  readonly #patience = new Patience(CHECK_LIMIT_MS);

  constructor(parts: JsonSchemaCodecParts) {
    this.#parts = parts;
  }

  get schemaId(): number {
    return this.#parts.schemaId;
  }

  /** The bytes of the JSON value from start to end, which the scanner has passed. */
  encode(body: Buffer, start: number, end: number): Buffer | RecordFailure {
    const { schemaId, limitBytes } = this.#parts;
    const sizeBytes = end - start;
    if (sizeBytes > limitBytes) {
      return new RecordFailure("MESSAGE_TOO_LARGE", `it has ${sizeBytes} bytes; maxRequestSize is ${limitBytes}`);
    }
    const checked = this.#check(JSON.parse(body.toString("utf8", start, end)), sizeBytes);
    if (checked === null) {
      return new RecordFailure(
        "SERIALIZATION_FAILED",
        `checking it with schema ${schemaId} takes too long, or goes too deep`,
      );
    }
    const { result: misfit } = checked;
    if (misfit === null) return wireBytes(schemaId, body, start, end);
    return new RecordFailure("SERIALIZATION_FAILED", `${misfit.path || "the whole"}: ${misfit.message}`);
  }

  /** Null where it took too long, or went round in a circle: {"$ref":"#"} is a schema. */
  #check(value: unknown, sizeBytes: number): { readonly result: JsonMisfit | null } | null {
    const { check } = this.#parts;
    const isWatched = check.cost === "unbounded" || (check.cost === "growing" && sizeBytes > UNWATCHED_BYTES);
    if (!isWatched) return { result: check.misfitOf(value) };
    try {
      return this.#patience.run(() => check.misfitOf(value));
    } catch (error) {
      if (error instanceof RangeError) return null;
      throw error;
    }
  }
}
