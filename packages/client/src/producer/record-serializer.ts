/** Makes a caller's record ready to be encoded: key and value as bytes or text, headers in a list, a timestamp. */

import type { Clock } from "@millrace/base";
import { type RecordHeader, writeText } from "@millrace/protocol";
import { SerializationError, toKafkaError } from "../errors.ts";
import type { RecordCompletion } from "./completion.ts";
import type { BoundPartitioner } from "./partitioners.ts";
import { normalizeHeaders, type ProducerRecord } from "./record.ts";
import { passTextOrBytes, type SerializationContext, type Serializer } from "./serializers.ts";

/** A serialized record, ready to be encoded. */
export interface SerializedRecord {
  /** Null: the partitioner chooses. */
  readonly partition: number | null;
  readonly timestampMs: number;
  /** The first keySizeBytes bytes; the memory may be used again once the record is encoded or has to wait. */
  readonly key: Uint8Array | null;
  readonly keySizeBytes: number;
  readonly value: Uint8Array | string | null;
  readonly headers: readonly RecordHeader[] | null;
  readonly codecId: number;
  readonly completion: RecordCompletion;
  readonly slot: number;
  /** Told once the record has its place in a batch. */
  readonly onBuffered: (() => void) | null;
  /** Instead of the producer's own; null leaves it to that. */
  readonly partitioner: BoundPartitioner | null;
}

export interface RecordSerializerOptions {
  readonly clock: Clock;
  readonly keySerializer: Serializer | null;
  readonly valueSerializer: Serializer | null;
}

type Bytes = Uint8Array | string | null;

const FIRST_KEY_BYTES = 256;
const UTF8_BYTES_PER_UNIT = 3;
const NO_BYTES = new Uint8Array(0);
/** A caller that sends without ever yielding gets a fresh time after so many records. */
const READING_USES = 64;

export class RecordSerializer {
  readonly #options: RecordSerializerOptions;
  readonly #timestamps: TurnTimestamps;
  /** Where text keys become bytes: the partitioner hashes them there, the batch copies them from there. */
  #keyBytes = Buffer.allocUnsafeSlow(FIRST_KEY_BYTES);

  constructor(options: RecordSerializerOptions) {
    this.#options = options;
    this.#timestamps = new TurnTimestamps(options.clock);
  }

  /**
   * The record, serialized; a promise only where a serializer gave one. Throws (or rejects with) SerializationError.
   *
   * A text key is in memory that the next call uses again: append the record, or copy the key, before that.
   * completion, slot, codecId and onBuffered are passed through; they stand in a row because an object for them would
   * be one more a record.
   */
  serialize(
    record: ProducerRecord,
    completion: RecordCompletion,
    slot: number,
    codecId: number,
    onBuffered: (() => void) | null,
  ): SerializedRecord | Promise<SerializedRecord> {
    const key = this.#toBytes(record, "key", record.key, this.#options.keySerializer);
    const value = this.#toBytes(record, "value", record.value, this.#options.valueSerializer);
    if (key instanceof Promise || value instanceof Promise) {
      return this.#whenSerialized(record, completion, slot, codecId, onBuffered, key, value);
    }
    return this.#assemble(record, completion, slot, codecId, onBuffered, key, value);
  }

  async #whenSerialized(
    record: ProducerRecord,
    completion: RecordCompletion,
    slot: number,
    codecId: number,
    onBuffered: (() => void) | null,
    key: Bytes | Promise<Bytes>,
    value: Bytes | Promise<Bytes>,
  ): Promise<SerializedRecord> {
    try {
      const [keyBytes, valueBytes] = await Promise.all([key, value]);
      // Its turn to be appended comes later, when the memory of its key holds another's.
      return withOwnKey(this.#assemble(record, completion, slot, codecId, onBuffered, keyBytes, valueBytes));
    } catch (error) {
      throw toKafkaError(error, "SERIALIZATION_FAILED", `record for ${record.topic}`);
    }
  }

  #toBytes(
    record: ProducerRecord,
    part: SerializationContext["part"],
    data: unknown,
    serializer: Serializer | null,
  ): Bytes | Promise<Bytes> {
    if (data === null || data === undefined) return null;
    try {
      if (serializer === null) return passTextOrBytes(data);
      const bytes = serializer(data, { topic: record.topic, part });
      return bytes instanceof Promise ? bytes.then(passTextOrBytes) : passTextOrBytes(bytes);
    } catch (error) {
      throw serializationError(record, part, error);
    }
  }

  #assemble(
    record: ProducerRecord,
    completion: RecordCompletion,
    slot: number,
    codecId: number,
    onBuffered: (() => void) | null,
    key: Bytes,
    value: Bytes,
  ): SerializedRecord {
    let keyBytes: Uint8Array | null = null;
    let keySizeBytes = 0;
    if (typeof key === "string") {
      keySizeBytes = this.#writeKey(key);
      keyBytes = this.#keyBytes;
    } else if (key !== null) {
      keyBytes = key;
      keySizeBytes = key.length;
    }
    return {
      partition: partitionOf(record),
      timestampMs: this.#timestampMs(record),
      key: keySizeBytes === 0 && keyBytes !== null ? NO_BYTES : keyBytes,
      keySizeBytes,
      value,
      headers: record.headers === undefined ? null : headersOf(record),
      codecId,
      completion,
      slot,
      onBuffered,
      partitioner: null,
    };
  }

  #writeKey(key: string): number {
    if (key.length * UTF8_BYTES_PER_UNIT > this.#keyBytes.length) {
      this.#keyBytes = Buffer.allocUnsafeSlow(key.length * UTF8_BYTES_PER_UNIT);
    }
    return writeText(this.#keyBytes, 0, key);
  }

  #timestampMs(record: ProducerRecord): number {
    const { timestamp } = record;
    if (timestamp === undefined || timestamp === null) return this.#timestamps.now();
    const timestampMs = typeof timestamp === "number" ? timestamp : timestamp.getTime();
    if (Number.isSafeInteger(timestampMs) && timestampMs >= 0) return timestampMs;
    throw new SerializationError(record.topic, `timestamp is ${timestampMs}; it must be whole milliseconds since 1970`);
  }
}

/** The record as an object of its own, with memory of its own for its key, so that it can wait. */
export function withOwnKey(record: SerializedRecord): SerializedRecord {
  const { key, keySizeBytes } = record;
  return { ...record, key: key === null ? null : Uint8Array.prototype.slice.call(key, 0, keySizeBytes) };
}

/**
 * The time of day for the records of one turn of the event loop: read once for up to 64 of them.
 *
 * Reading it for each was 8 % of the producer's time at a million records a second.
 */
class TurnTimestamps {
  readonly #clock: Clock;
  #timestampMs = 0;
  #usesLeft = 0;
  #isTurnWatched = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    if (this.#usesLeft === 0) this.#read();
    this.#usesLeft -= 1;
    return this.#timestampMs;
  }

  #read(): void {
    this.#timestampMs = this.#clock.timestampMs();
    this.#usesLeft = READING_USES;
    if (this.#isTurnWatched) return;
    this.#isTurnWatched = true;
    this.#clock.defer(() => {
      this.#isTurnWatched = false;
      this.#usesLeft = 0;
    });
  }
}

function partitionOf(record: ProducerRecord): number | null {
  const { partition } = record;
  if (partition === undefined || partition === null) return null;
  if (Number.isInteger(partition) && partition >= 0) return partition;
  throw new SerializationError(record.topic, `partition is ${partition}; it must be a whole number from 0`);
}

function headersOf(record: ProducerRecord): SerializedRecord["headers"] {
  try {
    return normalizeHeaders(record.headers);
  } catch (error) {
    throw serializationError(record, "headers", error);
  }
}

function serializationError(record: ProducerRecord, part: string, error: unknown): SerializationError {
  const message = error instanceof Error ? error.message : String(error);
  return new SerializationError(record.topic, `${part}: ${message}`, { cause: error });
}
