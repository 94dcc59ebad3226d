/** RecordSchemas: the schemas that requests name and records were written with, as codecs. */

import { createHash } from "node:crypto";
import { parseAvroSchema, RecentMap } from "@millrace/client/internal/avro";
import { AvroCodec } from "../avro/avro-codec.ts";
import { RequestError } from "../errors.ts";
import type { SchemaSource } from "./schema-source.ts";

/** Schemas whose codecs are kept. */
const CODECS_LIMIT = 1_000;
/** Schemas that came in requests, whose ids are kept. */
const INLINE_LIMIT = 1_000;

const ID = /^\d{1,10}$/;
/** Begins as JSON does; no name of a subject does. */
const INLINE = /^\s*[{["]/;

export class RecordSchemas {
  readonly #source: SchemaSource;
  readonly #codecs = new RecentMap<number, Promise<AvroCodec>>(CODECS_LIMIT);
  readonly #inline = new RecentMap<string, Promise<number>>(INLINE_LIMIT);

  constructor(source: SchemaSource) {
    this.#source = source;
  }

  /**
   * The codec that a request asks for: by the id of a schema, by the subject whose newest it is, or by the schema itself,
   * which then is registered for the topic as Confluent's serializers do it.
   *
   * Rejects as SchemaSource does.
   */
  async codecFor(topic: string, part: "key" | "value", given: string): Promise<AvroCodec> {
    if (ID.test(given)) return this.codecOf(Number(given));
    if (!INLINE.test(given)) return this.codecOf(await this.#source.latestId(given));
    const subject = `${topic}-${part}`;
    const known = createHash("sha256").update(`${subject} ${given}`).digest("base64");
    return this.codecOf(await once(this.#inline, known, () => this.#source.register(subject, given)));
  }

  codecOf(id: number): Promise<AvroCodec> {
    return once(this.#codecs, id, async () => {
      const { schema, referenced } = await this.#source.byId(id);
      try {
        return new AvroCodec(id, parseAvroSchema(schema, referenced));
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new RequestError("SCHEMA_INVALID", `schema ${id} is no Avro schema: ${reason}`, { cause: error });
      }
    });
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
