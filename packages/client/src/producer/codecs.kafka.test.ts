import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { inspect } from "node:util";
import { compressionTypes } from "@millrace/protocol";
import {
  findKcat,
  readWithKafka,
  readWithKcat,
  runKafkaTool,
  SchemaRegistryServer,
  uniqueTopic,
} from "@millrace/testing";
import { Admin } from "../admin.ts";
import { avroSerializer, SchemaRegistry } from "../avro/index.ts";
import { type ConsumedRecord, Reader } from "../reader.ts";
import type { SerializerName } from "./options.ts";
import { Producer } from "./producer.ts";
import type { ProducerRecord } from "./record.ts";
import type { Serializer } from "./serializers.ts";

const bootstrap = process.env.KAFKA_BOOTSTRAP ?? "";
const jars = process.env.KAFKA_JARS;
const kcat = findKcat();
const skip = bootstrap === "" ? "KAFKA_BOOTSTRAP is not set" : false;

/** Written so that any change of a byte shows: what JSON, UTF-8 and C strings make trouble of. */
const texts = ["", "null", "zero \u0000 inside", "Grüße, 世界 🌍", "line\nbreak", "x".repeat(20_000)];
const bytes = [
  Buffer.alloc(0),
  Buffer.from(Array.from({ length: 256 }, (_, index) => index)),
  Buffer.from("c328", "hex"),
  Buffer.alloc(50_000, 7),
];
const documents = [{ id: 1, name: "Grüße", tags: [], nested: { price: 0.1, none: null } }, [1, "two", null], "text", 0];

const orders = [
  { id: 1n, name: "Grüße", prices: [0.1, -1e300] },
  { id: -(2n ** 63n), name: "", prices: [] },
];
const orderSchema = {
  type: "record",
  name: "Order",
  fields: [
    { name: "id", type: "long" },
    { name: "name", type: "string" },
    { name: "prices", type: { type: "array", items: "double" } },
  ],
};

interface Format {
  readonly serializer: SerializerName | Serializer;
  readonly samples: readonly unknown[];
  readonly toBytes: (data: unknown) => Buffer | Promise<Buffer>;
}

const formats: Record<string, Format> = {
  text: {
    serializer: "string",
    samples: texts,
    toBytes: (data) => Buffer.from(String(data)),
  },
  bytes: {
    serializer: "bytes",
    samples: bytes,
    toBytes: (data) => (data instanceof Uint8Array ? Buffer.from(data) : assert.fail("not bytes")),
  },
  json: {
    serializer: "json",
    samples: documents,
    toBytes: (data) => Buffer.from(JSON.stringify(data)),
  },
};

suite("records of every codec and format on Apache Kafka", { skip }, () => {
  const topics = new Map(compressionTypes.map((type) => [type, uniqueTopic(`codec-${type}`)]));
  const expected = new Map<string, ExpectedRecord[]>();
  let admin: Admin;
  let registry: SchemaRegistryServer;

  before(async () => {
    registry = await SchemaRegistryServer.start();
    formats.avro = avroFormat(registry.url);
    admin = new Admin({ bootstrapServers: bootstrap });
    // Their timestamps are years ago: Kafka would delete them when it gets to it.
    const settings = { partitions: 1, replicationFactor: 1, config: { "retention.ms": "-1" } };
    await admin.createTopics([...topics.values()].map((name) => ({ name, ...settings })));
  });

  after(async () => {
    await admin?.deleteTopics([...topics.values()]);
    await admin?.close();
    await registry?.close();
  });

  for (const [compressionType, topic] of topics) {
    test(`${compressionType}: our Reader reads back what was sent, byte for byte`, async () => {
      for (const { serializer, samples, toBytes } of Object.values(formats)) {
        await using producer = new Producer({
          bootstrapServers: bootstrap,
          compressionType,
          keySerializer: serializer,
          valueSerializer: serializer,
        });
        const records = pairsOf(samples).map(([key, value], index) => recordOf(topic, key, value, index));
        const sent = await producer.sendBatch(records);
        const list = expected.get(topic) ?? [];
        assert.equal(sent[0]?.offset, BigInt(list.length));
        expected.set(topic, [...list, ...(await Promise.all(records.map((record) => expectedOf(record, toBytes))))]);
      }

      const read = await readAll(topic, expected.get(topic)?.length ?? 0);

      assert.deepEqual(read.map(comparable), expected.get(topic));
    });

    test(`${compressionType}: kcat reads back what was sent, byte for byte`, {
      skip: kcat === null ? "there is no kcat, and KCAT is not set" : false,
    }, async () => {
      const read = await readWithKcat(kcat ?? "", { bootstrapServers: bootstrap, topic, partition: 0 });

      assert.deepEqual(
        read.map(({ key, value, timestamp }) => ({ key, value, timestamp })),
        expected.get(topic)?.map(({ key, value, timestamp }) => ({ key, value, timestamp })),
      );
      assert.equal(read[0]?.headers, "trace=a-1,twice=1,twice=2,none=NULL,empty=");
    });

    test(`${compressionType}: Kafka's own consumer reads back what was sent, byte for byte`, {
      skip: jars === undefined ? "KAFKA_JARS is not set" : false,
    }, async () => {
      const sent = expected.get(topic) ?? [];

      const read = await readWithKafka(jars ?? "", { bootstrapServers: bootstrap, topic, partition: 0 }, sent.length);

      assert.deepEqual(
        read.map(({ key, value, timestamp }) => ({ key, value, timestamp })),
        sent.map(({ key, value, timestamp }) => ({ key, value, timestamp })),
      );
      assert.equal(read[0]?.headers, "trace:a-1,twice:1,twice:2,none:<|null|>,empty:");
      assert.equal(read[1]?.headers, "NO_HEADERS");
    });

    test(`${compressionType}: Kafka's own tool finds valid batches of that codec in its log`, {
      skip: jars === undefined ? "KAFKA_JARS is not set" : false,
    }, async () => {
      const log = join(await logDirOf(topic), `${topic}-0`, "00000000000000000000.log");

      const dump = await runKafkaTool(jars ?? "", "org.apache.kafka.tools.DumpLogSegments", ["--files", log]);

      const batches = dump.split("\n").filter((line) => line.startsWith("baseOffset:"));
      assert.ok(batches.length > 0, dump);
      for (const batch of batches) {
        assert.match(batch, new RegExp(`compresscodec: ${compressionType} .*isvalid: true`), batch);
      }
    });
  }
});

/** Confluent's wire format: a zero byte, the schema's id, Avro's binary encoding. */
function avroFormat(url: string): Format {
  const serializer = avroSerializer({
    registry: new SchemaRegistry({ url }),
    schema: orderSchema,
    subject: () => "orders",
  });
  const toBytes = async (data: unknown) => {
    const encoded = await serializer(data, { topic: "orders", part: "value" });
    assert.ok(encoded instanceof Uint8Array);
    return Buffer.from(encoded);
  };
  return { serializer, samples: orders, toBytes };
}

interface ExpectedRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly timestamp: number;
  readonly headers: readonly (readonly [string, Buffer | null])[];
}

/** Each of them as a value, and as the key of another; null keys and null values as well. */
function pairsOf(samples: readonly unknown[]): [unknown, unknown][] {
  const small = samples.filter((sample) => inspect(sample, { maxStringLength: null }).length < 5_000);
  // Enough of it that each codec has something to make smaller.
  const repeated = Array.from({ length: 20 }, () => samples.at(1));
  return [
    ...samples.map((value, index): [unknown, unknown] => [small[index % small.length], value]),
    ...small.map((key): [unknown, unknown] => [key, null]),
    ...repeated.map((value): [unknown, unknown] => [null, value]),
  ];
}

function recordOf(topic: string, key: unknown, value: unknown, index: number): ProducerRecord {
  const headers = [
    ["trace", "a-1"],
    ["twice", "1"],
    ["twice", Buffer.from("2")],
    ["none", null],
    ["empty", ""],
  ] as const;
  return { topic, key, value, timestamp: 1_500_000_000_000 + index * 1_000, ...(index % 2 === 0 ? { headers } : {}) };
}

async function expectedOf(record: ProducerRecord, toBytes: Format["toBytes"]): Promise<ExpectedRecord> {
  const { key, value, timestamp, headers } = record;
  return {
    key: key === null ? null : await toBytes(key),
    value: value === null ? null : await toBytes(value),
    timestamp: Number(timestamp),
    headers: Array.isArray(headers)
      ? headers.map(([name, data]) => [name, data === null ? null : Buffer.from(data)])
      : [],
  };
}

function comparable({ key, value, timestamp, headers }: ConsumedRecord): ExpectedRecord {
  return { key, value, timestamp, headers };
}

async function readAll(topic: string, count: number): Promise<ConsumedRecord[]> {
  await using reader = new Reader({ bootstrapServers: bootstrap, topic, from: "earliest" });
  const records: ConsumedRecord[] = [];
  while (records.length < count) {
    const more = await reader.read();
    if (more.length === 0) break;
    records.push(...more);
  }
  return records;
}

/** Where the broker keeps the topic's only partition. */
async function logDirOf(topic: string): Promise<string> {
  const words = ["--describe", "--bootstrap-server", bootstrap, "--topic-list", topic];
  const output = await runKafkaTool(jars ?? "", "org.apache.kafka.tools.LogDirsCommand", words);
  const { brokers } = JSON.parse(output.slice(output.indexOf("{")));
  for (const { logDirs } of brokers)
    for (const { logDir, partitions } of logDirs) if (partitions.length > 0) return logDir;
  return assert.fail(`no broker has a log of ${topic}: ${output}`);
}
