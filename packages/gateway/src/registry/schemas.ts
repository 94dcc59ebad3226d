/** Schemas: all that the gateway does with schemas of records. What that takes is loaded by the first request that needs it. */

import type { ConsumedRecord } from "@millrace/client";
import { RequestError } from "../errors.ts";
import { type Format, noCodecs, type PartCodecs, RecordFailure } from "../formats.ts";
import type { AvroDecoder, DecodedPart, ReadFormats } from "../message-json.ts";
import type { ProduceSettings } from "../produce-settings.ts";
import { schemaIdOf } from "../wire-format.ts";
import type { RecordSchemas, SchemaCodec } from "./record-schemas.ts";
import type { SchemaLogParts } from "./schema-log.ts";
import type { SchemaRegistry } from "./schema-registry.ts";

/** Ids in one read that no schema is found for: anything may look like Avro, and each is a question to the registry. */
const UNKNOWN_LIMIT = 100;

export type SchemasParts = Omit<SchemaLogParts, "onRecord">;

export class Schemas {
  readonly #parts: SchemasParts;
  #registry: Promise<SchemaRegistry> | null = null;
  #records: Promise<RecordSchemas> | null = null;

  constructor(parts: SchemasParts) {
    this.#parts = parts;
  }

  /** What the records of a request are written with. Rejects as SchemaSource does. */
  async codecsFor(topic: string, settings: ProduceSettings): Promise<PartCodecs> {
    const { keySchema, valueSchema, keyFormat, valueFormat } = settings;
    if (keySchema === null && valueSchema === null) return noCodecs;
    const schemas = await this.#recordSchemas();
    const codecFor = async (part: "key" | "value", format: Format, given: string | null) =>
      given === null ? null : schemas.codecFor({ topic, part, format, given });
    const key = await codecFor("key", keyFormat, keySchema);
    return { key, value: await codecFor("value", valueFormat, valueSchema) };
  }

  /** Shows the parts of these records that are Avro; what is none, or of a schema that is not there, it leaves alone. */
  async decoderFor(records: readonly ConsumedRecord[], formats: ReadFormats): Promise<AvroDecoder> {
    const parts = (["key", "value"] as const).filter((part) => formats[part] === "avro");
    if (parts.length === 0) return noDecoder;
    const schemas = await this.#recordSchemas();
    const codecs = new Map<number, SchemaCodec | null>();
    let unknownCount = 0;
    for (const bytes of records.flatMap((record) => parts.map((part) => record[part]))) {
      const id = bytes === null ? null : schemaIdOf(bytes);
      if (id === null || codecs.has(id) || unknownCount >= UNKNOWN_LIMIT) continue;
      const codec = await schemas.codecOf(id).catch(nullIfRefused);
      codecs.set(id, codec);
      if (codec === null) unknownCount += 1;
    }
    return (bytes): DecodedPart | null => {
      const codec = codecs.get(schemaIdOf(bytes) ?? -1) ?? null;
      const json = codec?.format === "avro" ? codec.decode(bytes) : null;
      return codec === null || json === null || json instanceof RecordFailure
        ? null
        : { json, schemaId: codec.schemaId };
    };
  }

  /** The built-in one. Throws RequestError NOT_FOUND where schemas are in another. */
  registry(): Promise<SchemaRegistry> {
    const [elsewhere] = this.#parts.options.schemaRegistry;
    if (elsewhere !== undefined) {
      throw new RequestError("NOT_FOUND", `this server keeps no schemas: it takes them from ${elsewhere}`);
    }
    this.#registry ??= import("./schema-registry.ts").then(({ SchemaRegistry }) => new SchemaRegistry(this.#parts));
    return this.#registry;
  }

  /** May be called twice. */
  async close(): Promise<void> {
    await (await this.#registry)?.close();
  }

  #recordSchemas(): Promise<RecordSchemas> {
    this.#records ??= this.#load();
    return this.#records;
  }

  async #load(): Promise<RecordSchemas> {
    const { options } = this.#parts;
    const [{ RecordSchemas }, { builtInSource, remoteSource }] = await Promise.all([
      import("./record-schemas.ts"),
      import("./schema-source.ts"),
    ]);
    const isElsewhere = options.schemaRegistry.length > 0;
    const source = isElsewhere ? remoteSource(options) : builtInSource(await this.registry());
    return new RecordSchemas({ source, limitBytes: options.maxRequestSize });
  }
}

const noDecoder: AvroDecoder = () => null;

function nullIfRefused(error: unknown): null {
  if (error instanceof RequestError) return null;
  throw error;
}
