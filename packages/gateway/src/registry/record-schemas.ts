/** RecordSchemas: the schemas that requests name and records were written with, as codecs. */

import { createHash } from "node:crypto";
import { parseAvroSchema, RecentMap } from "@millrace/client/internal/avro";
import type { AvroCodec } from "../avro/avro-codec.ts";
import { RequestError } from "../errors.ts";
import { type Format, isSchemaFormat } from "../formats.ts";
import type { JsonSchemaCodec } from "../json-schema-format/json-schema-codec.ts";
import type { FoundSchema, SchemaSource } from "./schema-source.ts";

/** Schemas whose codecs are kept. */
const CODECS_LIMIT = 500;
/** Schemas that came in requests, whose ids are kept. */
const INLINE_LIMIT = 1_000;

const ID = /^\d{1,10}$/;
/** Begins as JSON does; no name of a subject does. */
const INLINE = /^\s*[{["]/;

export type SchemaCodec = AvroCodec | JsonSchemaCodec;

export interface RecordSchemasParts {
  readonly source: SchemaSource;
  /** Longest JSON of a key or value. */
  readonly limitBytes: number;
}

/** A key or a value of a request, and what is said about it. */
export interface SchemaPart {
  readonly topic: string;
  readonly part: "key" | "value";
  readonly format: Format;
  /** A subject, an id or a schema. */
  readonly given: string;
}

export class RecordSchemas {
  readonly #parts: RecordSchemasParts;
  readonly #codecs = new RecentMap<number, Promise<SchemaCodec>>(CODECS_LIMIT);
  readonly #inline = new RecentMap<string, Promise<number>>(INLINE_LIMIT);

  constructor(parts: RecordSchemasParts) {
    this.#parts = parts;
  }

  /**
   * The codec that a request asks for: by the id of a schema, by the subject whose newest it is, or by the schema itself,
   * which then is registered for the topic as Confluent's serializers do it.
   *
   * Rejects as SchemaSource does; with SCHEMA_INVALID for a schema of another kind than the format needs.
   */
  async codecFor(asked: SchemaPart): Promise<SchemaCodec> {
    const codec = await this.codecOf(await this.#idOf(asked));
    const { format } = asked;
    if (!isSchemaFormat(format) || format === codec.format) return codec;
    const message = `schema ${codec.schemaId} is for the format ${codec.format}, not for ${format}`;
    throw new RequestError("SCHEMA_INVALID", message);
  }

  codecOf(id: number): Promise<SchemaCodec> {
    return once(this.#codecs, id, async () => {
      const found = await this.#parts.source.byId(id);
      try {
        return await this.#codec(id, found);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        const message = `schema ${id} cannot be used: ${reason}`;
        throw new RequestError("SCHEMA_INVALID", message, { cause: error });
      }
    });
  }

  async #idOf({ topic, part, format, given }: SchemaPart): Promise<number> {
    const { source } = this.#parts;
    if (ID.test(given)) return Number(given);
    if (!INLINE.test(given)) return source.latestId(given);
    const subject = `${topic}-${part}`;
    const schemaType = format === "jsonschema" ? "JSON" : "AVRO";
    const known = createHash("sha256").update(`${subject} ${schemaType} ${given}`).digest("base64");
    return once(this.#inline, known, () => source.register(subject, schemaType, given));
  }

  async #codec(schemaId: number, { schemaType, schema, referenced }: FoundSchema): Promise<SchemaCodec> {
    switch (schemaType) {
      case "AVRO": {
        const { AvroCodec } = await import("../avro/avro-codec.ts");
        const texts = referenced.map((reference) => reference.schema);
        return new AvroCodec(schemaId, parseAvroSchema(schema, texts));
      }
      case "JSON": {
        const [{ JsonSchemaCodec }, { parseJsonSchema }] = await Promise.all([
          import("../json-schema-format/json-schema-codec.ts"),
          import("../json-schema-format/json-schema-check.ts"),
        ]);
        const check = parseJsonSchema(schema, referenced);
        return new JsonSchemaCodec({ schemaId, check, limitBytes: this.#parts.limitBytes });
      }
      default:
        throw new TypeError(`it is of type ${schemaType}; known are AVRO and JSON`);
    }
  }
}

/** Asked for once; a failure is not kept. */
function once<Key, Value>(answers: RecentMap<Key, Promise<Value>>, key: Key, ask: () => Promise<Value>) {
  const known = answers.get(key);
  if (known !== undefined) return known;
  const asked = ask();
  answers.set(key, asked);
  asked.catch(() => answers.delete(key));
  return asked;
}
