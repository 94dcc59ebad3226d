/** All options of the Producer, declared once. */

import {
  choice,
  code,
  count,
  defineOptions,
  flag,
  millis,
  type Option,
  type OptionsOf,
  sizeBytes,
} from "@millrace/base";
import { compressionTypes } from "@millrace/protocol";
import { type ConfigOf, commonOptions } from "../common-options.ts";
import type { CircuitBreakerConfig } from "./circuit-breaker.ts";
import {
  type Partitioner,
  type PartitionerAlias,
  type PartitionerFunction,
  type PartitionerType,
  partitionerAliases,
  partitionerTypes,
} from "./partitioners.ts";
import { bytesSerializer, jsonSerializer, type Serializer, stringSerializer } from "./serializers.ts";

/** As Kafka writes them on the wire. */
export type Acks = -1 | 0 | 1;

const acks: Option<Acks> = {
  default: -1,
  kafka: "acks",
  typeName: "all | 1 | 0",
  doc: "Who must have a record before it counts as sent: all in-sync replicas (and on an embedded broker the disk), the leader alone, or nobody. With 1 or 0 records can be lost without an error.",
  check(value) {
    const text = String(value);
    if (text === "all" || text === "-1") return -1;
    if (text === "1") return 1;
    if (text === "0") return 0;
    throw new Error("must be all, 1 or 0");
  },
  parse: (text) => text,
};

const serializersByName = { string: stringSerializer, json: jsonSerializer, bytes: bytesSerializer } as const;
export type SerializerName = keyof typeof serializersByName;

function serializer(part: "key" | "value"): Option<Serializer | null> {
  return {
    default: null,
    kafka: `${part}.serializer`,
    typeName: "string | json | bytes | a function",
    isCodeOnly: true,
    doc: `Turns the ${part} of a record into bytes; may be async. Without one, text and bytes pass and anything else is an error.`,
    check(value) {
      if (value === null) return null;
      if (typeof value === "string" && Object.hasOwn(serializersByName, value)) {
        // What a string serializer gets is checked by the serializer itself.
        return serializersByName[value as SerializerName] as Serializer;
      }
      if (typeof value === "function") return value as Serializer; // a function's parameters cannot be seen
      throw new Error("must be string, json, bytes or a function");
    },
    parse: (text) => text,
  };
}

type PartitionerOption = PartitionerType | PartitionerFunction | Partitioner;

const partitionerType: Option<PartitionerOption> = {
  default: "default",
  kafka: "partitioner.class",
  aliases: ["partitioner"],
  typeName: `${partitionerTypes.join(" | ")} | a function or an object with partition()`,
  doc: "Chooses the partition of a record that names none. default: as Java does, murmur2 of the key, and without a key the uniform sticky choice of KIP-794.",
  check(value) {
    const type = partitionerTypes.find((name) => name === value) ?? partitionerAliases.get(value);
    if (type !== undefined) return type;
    if (typeof value === "function") return value as PartitionerFunction; // a function's parameters cannot be seen
    if (isPartitioner(value)) return value;
    throw new Error(`must be one of ${partitionerTypes.join(", ")}, a function, or an object with partition()`);
  },
  parse: (text) => text,
};

function isPartitioner(value: unknown): value is Partitioner {
  return typeof value === "object" && value !== null && "partition" in value && typeof value.partition === "function";
}

const MEBIBYTE = 1024 * 1024;
/** Java's: as often as deliveryTimeoutMs allows. */
const UNLIMITED_RETRIES = 2 ** 31 - 1;

export const producerOptions = defineOptions(
  {
    ...commonOptions.entries,
    acks,
    enableIdempotence: flag({
      default: true,
      kafka: "enable.idempotence",
      doc: "A retry writes no record twice and changes no order. Needs acks=all; off by itself where acks is set to less.",
    }),
    batchSize: sizeBytes({
      // Kafka's is 16 KiB. With values of 1 KB that is 15 records a batch; 64 KiB doubles what one thread sends (docs/PERFORMANCE.md).
      default: 64 * 1024,
      min: 1024,
      kafka: "batch.size",
      doc: "Most bytes of one batch, as it is expected to be after compression. A bound, not an allocation: small batches take little memory. A larger record gets a batch of its own.",
    }),
    lingerMs: millis({
      default: 0,
      kafka: "linger.ms",
      doc: "How long a batch waits for more records, counted from its first. With 0 it leaves at the end of the event loop's turn, or as soon as a request may: batches grow under load by themselves.",
    }),
    bufferMemory: sizeBytes({
      default: 32 * MEBIBYTE,
      min: 16 * 1024,
      kafka: "buffer.memory",
      doc: "Most bytes of records that are not acknowledged. Beyond it, sends wait for up to maxBlockMs.",
    }),
    maxBlockMs: millis({
      default: 60_000,
      kafka: "max.block.ms",
      doc: "Longest that a send waits for room in bufferMemory, or for the first metadata of its topic.",
    }),
    maxRequestSize: sizeBytes({
      default: MEBIBYTE,
      min: 1024,
      kafka: "max.request.size",
      doc: "Most bytes of one produce request, and of one record before compression.",
    }),
    maxInFlight: count({
      default: 5,
      min: 1,
      kafka: "max.in.flight.requests.per.connection",
      aliases: ["maxInFlightRequestsPerConnection"],
      doc: "Most produce requests to one broker that wait for their answer. Order is kept at any number: an idempotent producer never has more than 5 batches of one partition under way.",
    }),
    retries: count({
      default: UNLIMITED_RETRIES,
      kafka: "retries",
      aliases: ["maxRetries"],
      doc: "Most times that a batch is sent again. Left alone, deliveryTimeoutMs ends the attempts.",
    }),
    deliveryTimeoutMs: millis({
      default: 120_000,
      min: 1,
      kafka: "delivery.timeout.ms",
      doc: "Longest from a record's send until its fate is known, retries included. At least lingerMs + requestTimeoutMs.",
    }),
    compressionType: choice(compressionTypes, {
      default: "none",
      kafka: "compression.type",
      doc: "How batches are compressed. One that does not become smaller is sent as it is.",
    }),
    compressionLevel: levelOption(),
    partitionerType,
    partitionerAvailabilityTimeoutMs: millis({
      default: 0,
      kafka: "partitioner.availability.timeout.ms",
      doc: "Records without a key are not given to partitions of a broker for which some have waited longer to be sent, as long as there are others. 0: no broker is left out, and a slow one only gets fewer.",
    }),
    keySerializer: serializer("key"),
    valueSerializer: serializer("value"),
    allowAutoTopicCreation: flag({
      default: true,
      kafka: "allow.auto.create.topics",
      doc: "Asks the brokers to create a topic that is missing, where their own setting allows it. With false, a send to a missing topic fails at once.",
    }),
    circuitBreaker: code<CircuitBreakerConfig | null>({
      default: null,
      typeName: "{ failureThreshold, recoveryTimeoutMs }",
      accepts: (value) => typeof value === "object" && value !== null,
      doc: "Fails sends at once with CIRCUIT_OPEN, instead of letting them wait, while a broker has not answered failureThreshold requests in a row; after recoveryTimeoutMs it is tried again. One circuit for each broker.",
    }),
    poolCallbacks: flag({
      default: true,
      doc: "Uses the objects that carry onSuccess and onError again for later records.",
    }),
  },
  [
    {
      option: "enableIdempotence",
      rule: "enableIdempotence needs acks=all",
      isKept: ({ enableIdempotence, acks }) => !enableIdempotence || acks === -1,
    },
    {
      option: "deliveryTimeoutMs",
      rule: "deliveryTimeoutMs must be at least lingerMs + requestTimeoutMs",
      isKept: ({ deliveryTimeoutMs, lingerMs, requestTimeoutMs }) => deliveryTimeoutMs >= lingerMs + requestTimeoutMs,
    },
  ],
);

function levelOption(): Option<number | null> {
  return {
    default: null,
    kafka: "compression.gzip.level, compression.lz4.level, compression.zstd.level",
    typeName: "number",
    doc: "The codec's own level: gzip 1 to 9, zstd 1 to 22, lz4 1 to 17. Left alone, the codec's default.",
    check(value) {
      if (value === null || (typeof value === "number" && Number.isInteger(value))) return value;
      throw new Error("must be a whole number");
    },
    parse: (text) => Number(text),
  };
}

export type ProducerOptions = OptionsOf<typeof producerOptions.entries>;

type Loosened = "acks" | "keySerializer" | "valueSerializer" | "partitionerType";

/** What a Producer is given: every option of docs/CONFIG.md, each with its default. */
export type ProducerConfig = Omit<ConfigOf<ProducerOptions>, Loosened> & {
  readonly acks?: "all" | Acks;
  // biome-ignore lint/suspicious/noExplicitAny: a serializer says itself what it takes, and checks it
  readonly keySerializer?: SerializerName | Serializer<any> | null;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly valueSerializer?: SerializerName | Serializer<any> | null;
  readonly partitionerType?: PartitionerOption | PartitionerAlias;
  /** Another name of partitionerType. */
  readonly partitioner?: PartitionerOption | PartitionerAlias;
  /** Another name of retries. */
  readonly maxRetries?: number;
  /** Another name of maxInFlight. */
  readonly maxInFlightRequestsPerConnection?: number;
};

/**
 * Fills in what depends on other options, then checks everything.
 *
 * Less than acks=all turns idempotence off, and a long lingerMs or requestTimeoutMs makes room in deliveryTimeoutMs,
 * unless they were set as well: then they contradict each other and throw OptionError.
 */
export function resolveProducerOptions(config: ProducerConfig): ProducerOptions {
  const given: Record<string, unknown> = { ...config };
  if (given.acks !== undefined && given.enableIdempotence === undefined) {
    given.enableIdempotence = acks.check(given.acks) === -1;
  }
  if (given.deliveryTimeoutMs === undefined) {
    const { lingerMs, requestTimeoutMs, deliveryTimeoutMs } = producerOptions.entries;
    const atLeastMs =
      numberOr(given.lingerMs, lingerMs.default) + numberOr(given.requestTimeoutMs, requestTimeoutMs.default);
    given.deliveryTimeoutMs = Math.max(deliveryTimeoutMs.default, atLeastMs);
  }
  return producerOptions.resolve(given);
}

function numberOr(value: unknown, fallback: number): number {
  return typeof value === "number" && value >= 0 ? value : fallback;
}
