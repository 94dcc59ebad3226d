/** Between values and Confluent's wire format: a zero byte, the schema's id in four bytes, then Avro's bytes. */

import { KafkaError } from "@millrace/protocol";
import type { SerializationContext, Serializer } from "../producer/serializers.ts";
import { type AvroSchema, type AvroType, explainMisfit, parseAvroSchema, schemaText } from "./avro-types.ts";
import { RecentMap } from "./recent-map.ts";
import {
  AVRO,
  type SchemaReference,
  type SchemaRegistry,
  SchemaRegistryError,
  type StoredSchema,
} from "./schema-registry.ts";
import { bindSubjectNames, type SubjectNameStrategy } from "./subject-names.ts";

export type { AvroSchema } from "./avro-types.ts";

export interface AvroSerializerConfig {
  readonly registry: SchemaRegistry;
  /** What records are written with. Left out: the latest schema that the registry has for the subject. */
  readonly schema?: AvroSchema;
  /** Where the registry has the named types that the schema uses and does not define. */
  readonly references?: readonly SchemaReference[];
  /** "topic" (`orders-value`) unless told otherwise. */
  readonly subject?: SubjectNameStrategy;
  /** Registers the schema if the registry does not have it (the default), or fails the record. */
  readonly autoRegister?: boolean;
}

const MAGIC = 0;
const HEADER_BYTES = 5;
const FIRST_SCRATCH_BYTES = 1024;
/** A larger record gets memory of its own. */
const SCRATCH_LIMIT_BYTES = 1024 * 1024;
/** Topics whose subject and schema id are kept. */
const TOPICS_LIMIT = 10_000;
/** Schemas that were met in records and are kept. */
const SCHEMAS_LIMIT = 10_000;

/** A schema as the registry knows it, ready to write with. */
interface KnownSchema {
  readonly id: number;
  readonly type: AvroType;
  /** On the registry's clock; then it is asked for again. */
  readonly untilMs: number;
}

/**
 * A serializer for `keySerializer` or `valueSerializer`.
 *
 * Asks the registry when it meets a topic for the first time; from then on it answers at once. Longs may be numbers or
 * bigints, decimals text. A value that does not fit fails its record alone, with the path of the field; so does a
 * registry that refuses or is away, with SCHEMA_REGISTRY_FAILED. A null key or value stays null.
 */
export function avroSerializer(config: AvroSerializerConfig): Serializer {
  const { registry, schema } = config;
  const subjectOf = bindSubjectNames(config.subject ?? "topic");
  const parsed = schema === undefined ? null : new GivenSchema(config, schema);
  const known = new RecentMap<string, KnownSchema>(TOPICS_LIMIT);
  const encoder = new Encoder();

  const ask = async (subject: string): Promise<KnownSchema> => {
    if (parsed !== null) return { ...(await parsed.resolve(subject)), untilMs: Number.POSITIVE_INFINITY };
    const latest = await registry.latest(subject);
    const type = await parseStored(registry, latest);
    return { id: latest.id, type, untilMs: latest.untilMs };
  };

  return (data: unknown, context: SerializationContext) => {
    const place = `${context.topic}-${context.part}`;
    const found = known.get(place);
    if (found !== undefined && registry.nowMs() < found.untilMs) return encoder.encode(found, data);
    const asked = parsed === null ? Promise.resolve(null) : parsed.recordName();
    return asked.then(async (recordName) => {
      const answered = await ask(subjectOf(context, recordName));
      known.set(place, answered);
      return encoder.encode(answered, data);
    });
  };
}

/** The schema that a serializer was given, with what it refers to fetched once. */
class GivenSchema {
  readonly #config: AvroSerializerConfig;
  readonly #schema: AvroSchema;
  #type: Promise<AvroType> | null = null;

  constructor(config: AvroSerializerConfig, schema: AvroSchema) {
    this.#config = config;
    this.#schema = schema;
    // Without references a mistake is found here, not with the first record.
    if ((config.references ?? []).length === 0) this.#type = Promise.resolve(parseAvroSchema(schema));
  }

  async recordName(): Promise<string | null> {
    return (await this.#parse()).name ?? null;
  }

  async resolve(subject: string): Promise<{ id: number; type: AvroType }> {
    const { registry, references = [], autoRegister = true } = this.#config;
    const type = await this.#parse();
    const id = await registry.idOf(subject, { schema: schemaText(this.#schema), references }, { autoRegister });
    return { id, type };
  }

  #parse(): Promise<AvroType> {
    this.#type ??= this.#fetchAndParse();
    return this.#type;
  }

  async #fetchAndParse(): Promise<AvroType> {
    try {
      const { registry, references = [] } = this.#config;
      return parseAvroSchema(this.#schema, await registry.resolve(references));
    } catch (error) {
      this.#type = null;
      throw error;
    }
  }
}

class Encoder {
  #scratch = Buffer.allocUnsafeSlow(FIRST_SCRATCH_BYTES);

  encode({ id, type }: KnownSchema, data: unknown): Buffer {
    let target = this.#scratch;
    let endBytes = this.#write(type, data, target);
    if (endBytes < 0) {
      target = Buffer.allocUnsafeSlow(2 * (target.length - endBytes));
      endBytes = this.#write(type, data, target);
      if (target.length <= SCRATCH_LIMIT_BYTES) this.#scratch = target;
    }
    target[0] = MAGIC;
    target.writeUInt32BE(id, 1);
    return Buffer.from(target.subarray(0, endBytes));
  }

  /** Where the bytes end; negative if they do not fit, by how much. */
  #write(type: AvroType, data: unknown, target: Buffer): number {
    try {
      return type.encode(data, target, HEADER_BYTES);
    } catch (error) {
      // avsc says what is wrong, and only a second look where.
      throw new TypeError(explainMisfit(type, data) ?? (error instanceof Error ? error.message : String(error)), {
        cause: error,
      });
    }
  }
}

export interface AvroDeserializerConfig {
  readonly registry: SchemaRegistry;
  /** What values are to look like, whatever they were written with, as far as Avro's rules can resolve the two. */
  readonly readerSchema?: AvroSchema;
}

/** Longs come as bigint, decimals as text. */
export type AvroDeserializer = (data: Uint8Array | null) => Promise<unknown>;

interface ReadSchema {
  readonly type: AvroType;
  readonly resolver: ReturnType<AvroType["createResolver"]> | undefined;
}

/**
 * Reads what `avroSerializer`, or anything that speaks Confluent's wire format, wrote: give it a record's key or value.
 *
 * null stays null. Rejects with KafkaError SERIALIZATION_FAILED for bytes that are no such record, and with
 * SCHEMA_REGISTRY_FAILED if the schema is not to be had.
 */
export function avroDeserializer(config: AvroDeserializerConfig): AvroDeserializer {
  const { registry, readerSchema } = config;
  const readerType = readerSchema === undefined ? null : parseAvroSchema(readerSchema);
  const known = new RecentMap<number, ReadSchema>(SCHEMAS_LIMIT);

  const schemaOf = async (id: number): Promise<ReadSchema> => {
    const found = known.get(id);
    if (found !== undefined) return found;
    const writerType = await parseStored(registry, await registry.schemaById(id));
    const read = { type: readerType ?? writerType, resolver: readerType?.createResolver(writerType) };
    known.set(id, read);
    return read;
  };

  return async (data) => {
    if (data === null) return null;
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
    if (bytes.length < HEADER_BYTES || bytes[0] !== MAGIC) {
      const found = bytes.length < HEADER_BYTES ? `${bytes.length} bytes` : `first byte ${bytes[0]}`;
      throw undecodable(`expected Confluent's wire format, a zero byte and a schema id; found ${found}`);
    }
    const id = bytes.readUInt32BE(1);
    try {
      const { type, resolver } = await schemaOf(id);
      return type.fromBuffer(bytes.subarray(HEADER_BYTES), resolver);
    } catch (error) {
      if (error instanceof KafkaError) throw error;
      throw undecodable(`schema ${id}: ${error instanceof Error ? error.message : String(error)}`, error);
    }
  };
}

async function parseStored(registry: SchemaRegistry, stored: StoredSchema): Promise<AvroType> {
  const { schemaType = AVRO, schema, references } = stored;
  if (schemaType !== AVRO) throw new SchemaRegistryError(`expected an Avro schema, found ${schemaType}`);
  return parseAvroSchema(schema, await registry.resolve(references));
}

function undecodable(message: string, cause?: unknown): KafkaError {
  return new KafkaError("SERIALIZATION_FAILED", `avro: ${message}`, { cause });
}
