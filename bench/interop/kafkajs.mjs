/** kafkajs: node kafkajs.mjs host:port */

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import zlib from "node:zlib";
import { check, finish, run, waitUntil } from "./checks.mjs";

const require = createRequire(process.env.INTEROP_MODULES ? `${process.env.INTEROP_MODULES}/` : import.meta.url);
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs");
console.log(`kafkajs ${require("kafkajs/package.json").version}, Node ${process.versions.node}`);

/** kafkajs has gzip; the others come from packages of other people, or from Node itself. */
const plugins = {
  Snappy: () => require("kafkajs-snappy"),
  LZ4: () => new (require("kafkajs-lz4"))().codec,
  ZSTD: () => () => {
    if (zlib.zstdCompressSync === undefined) throw new Error("this Node has no zstd");
    return {
      compress: async ({ buffer }) => zlib.zstdCompressSync(buffer),
      decompress: async (buffer) => zlib.zstdDecompressSync(buffer),
    };
  },
};
const codecs = ["None", "GZIP"];
for (const [codec, load] of Object.entries(plugins)) {
  try {
    CompressionCodecs[CompressionTypes[codec]] = load();
    CompressionCodecs[CompressionTypes[codec]]();
    codecs.push(codec);
  } catch (error) {
    console.log(`no ${codec} here: ${error.message.split("\n")[0]}`);
  }
}

const kafka = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.NOTHING });
const topic = `kafkajs-${run}`;
const admin = kafka.admin();
await admin.connect();

async function produce({ count = 20, compression = CompressionTypes.None, ...settings }) {
  const producer = kafka.producer({ allowAutoTopicCreation: false, ...settings });
  await producer.connect();
  const messages = Array.from({ length: count }, (_, i) => ({
    key: String(i),
    value: "x".repeat(200),
    partition: i % 3,
  }));
  const results = await producer.send({ topic, messages, compression });
  assert.deepEqual(
    results.map(({ errorCode }) => errorCode),
    [0, 0, 0],
  );
  await producer.disconnect();
}

async function read(consumer, count, start = () => {}) {
  const seen = [];
  const running = consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => void seen.push({ partition, ...message }),
  });
  start();
  await running;
  await waitUntil(`${count} messages came`, () => seen.length >= count);
  return seen;
}

const consumerOf = (groupId) =>
  kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 300, maxWaitTimeInMs: 200 });

await check("create a topic", () =>
  admin.createTopics({
    topics: [
      { topic, numPartitions: 3 },
      { topic: `${topic}-time`, numPartitions: 1 },
    ],
  }),
);
for (const codec of codecs) {
  await check(`produce with ${codec}`, () => produce({ compression: CompressionTypes[codec] }));
}
await check("produce idempotently", () => produce({ count: 2000, idempotent: true, maxInFlightRequests: 1 }));

await check("headers with duplicates and empty ones", async () => {
  const producer = kafka.producer();
  await producer.connect();
  const headers = { a: ["1", "2"], empty: "" };
  const [{ baseOffset }] = await producer.send({ topic, messages: [{ value: "h", headers, partition: 0 }] });
  await producer.disconnect();
  const consumer = consumerOf(`headers-${run}`);
  await consumer.connect();
  await consumer.subscribe({ topic });
  const seek = () => consumer.seek({ topic, partition: 0, offset: baseOffset });
  const seen = await read(consumer, 1, seek);
  const found = seen.find(({ partition, offset }) => partition === 0 && offset === baseOffset);
  assert.deepEqual(found.headers.a.map(String), ["1", "2"]);
  assert.equal(String(found.headers.empty), "");
  await consumer.disconnect();
});

await check("consume from an offset by time", async () => {
  const producer = kafka.producer();
  await producer.connect();
  const messages = ["1000", "2000", "3000"].map((timestamp) => ({ value: timestamp, timestamp, partition: 0 }));
  await producer.send({ topic: `${topic}-time`, messages });
  await producer.disconnect();
  const [{ offset }] = await admin.fetchTopicOffsetsByTimestamp(`${topic}-time`, 1500);
  assert.equal(offset, "1");
  const consumer = consumerOf(`time-${run}`);
  await consumer.connect();
  await consumer.subscribe({ topic: `${topic}-time` });
  const seen = await read(consumer, 2, () => consumer.seek({ topic: `${topic}-time`, partition: 0, offset }));
  assert.deepEqual(
    seen.map(({ value }) => String(value)),
    ["2000", "3000"],
  );
  await consumer.disconnect();
});

await check("a group of two, joined and left", async () => {
  const groupId = `group-${run}`;
  const held = new Map();
  const member = async (name) => {
    const consumer = consumerOf(groupId);
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) =>
      held.set(name, payload.memberAssignment[topic]?.length ?? 0),
    );
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({ eachMessage: async () => {} });
    return consumer;
  };
  const first = await member("first");
  await waitUntil("the first member has all", () => held.get("first") === 3);
  const second = await member("second");
  await waitUntil("both have some", () => held.get("first") + held.get("second") === 3);
  await second.disconnect();
  await waitUntil("the first has all again", () => held.get("first") === 3);
  await first.disconnect();
});

await check("commit and resume", async () => {
  const groupId = `resume-${run}`;
  const source = consumerOf(groupId);
  await source.connect();
  await source.subscribe({ topic, fromBeginning: true });
  const seen = await read(source, 10);
  const next = new Map();
  for (const { partition, offset } of seen) next.set(partition, String(BigInt(offset) + 1n));
  await source.commitOffsets([...next].map(([partition, offset]) => ({ topic, partition, offset, metadata: "note" })));
  await source.disconnect();
  const ends = await admin.fetchTopicOffsets(topic);
  const left = ends.reduce((sum, { partition, high }) => sum + Number(high) - Number(next.get(partition) ?? 0), 0);
  const committed = await admin.fetchOffsets({ groupId, topics: [topic] });
  assert.equal(committed[0].partitions.find(({ partition }) => next.has(partition)).metadata, "note");
  if (left > 0) {
    const again = consumerOf(groupId);
    await again.connect();
    await again.subscribe({ topic, fromBeginning: true });
    const rest = await read(again, left);
    assert.equal(rest.length, left);
    await again.disconnect();
  }
  await waitUntil(
    "the group is empty",
    async () => (await admin.describeGroups([groupId])).groups[0].state === "Empty",
  );
  await admin.deleteGroups([groupId]);
});

await check("partitions, configs, cluster, delete records", async () => {
  await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] });
  const configEntries = [{ name: "retention.ms", value: "1234567" }];
  await admin.alterConfigs({ validateOnly: false, resources: [{ type: 2, name: topic, configEntries }] });
  const { resources } = await admin.describeConfigs({ resources: [{ type: 2, name: topic }], includeSynonyms: false });
  assert.equal(
    resources[0].configEntries.find(({ configName }) => configName === "retention.ms").configValue,
    "1234567",
  );
  assert.equal((await admin.describeCluster()).brokers.length, 1);
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "5" }] });
  const offsets = await admin.fetchTopicOffsets(topic);
  assert.equal(offsets.find(({ partition }) => partition === 0).low, "5");
});

await check("delete topics", async () => {
  await admin.deleteTopics({ topics: [topic, `${topic}-time`] });
  assert.equal((await admin.listTopics()).includes(topic), false);
});
await admin.disconnect();
finish();
