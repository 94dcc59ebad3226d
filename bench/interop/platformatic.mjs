/** @platformatic/kafka: node platformatic.mjs host:port (version 2 needs Node 22.22 or 24.6) */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { check, finish, run, waitUntil } from "./checks.mjs";

const require = createRequire(process.env.INTEROP_MODULES ? `${process.env.INTEROP_MODULES}/` : import.meta.url);
const { Admin, Consumer, ListOffsetTimestamps, Producer, ProduceAcks, stringDeserializers, stringSerializers } =
  await import(pathToFileURL(require.resolve("@platformatic/kafka")));
const manifest = JSON.parse(
  readFileSync(join(dirname(require.resolve("@platformatic/kafka")), "../package.json"), "utf8"),
);
console.log(`@platformatic/kafka ${manifest.version}, Node ${process.versions.node}`);

const topic = `platformatic-${run}`;
const base = { clientId: "interop", bootstrapBrokers: [process.argv[2]], strict: true };
const admin = new Admin(base);

async function produce({ count = 20, ...settings }) {
  const producer = new Producer({ ...base, serializers: stringSerializers, ...settings });
  const messages = Array.from({ length: count }, (_, i) => ({
    topic,
    key: String(i),
    value: "x".repeat(200),
    partition: i % 3,
  }));
  const { offsets } = await producer.send({ messages, acks: ProduceAcks.ALL });
  assert.equal(offsets.length, 3);
  await producer.close();
}

const consumerOf = (groupId, settings = {}) =>
  new Consumer({
    ...base,
    groupId,
    deserializers: stringDeserializers,
    sessionTimeout: 6000,
    heartbeatInterval: 500,
    maxWaitTime: 200,
    autocommit: false,
    ...settings,
  });

async function read(stream, count) {
  const seen = [];
  if (count === 0) return seen;
  for await (const message of stream) if (seen.push(message) >= count) break;
  return seen;
}

await check("create a topic", async () => {
  await admin.createTopics({ topics: [topic], partitions: 3, replicas: 1 });
  await admin.createTopics({ topics: [`${topic}-time`], partitions: 1, replicas: 1 });
});
for (const compression of ["none", "gzip", "snappy", "lz4", "zstd"]) {
  await check(`produce with ${compression}`, () => produce({ compression }));
}
await check("produce idempotently", () => produce({ count: 2000, idempotent: true }));

await check("headers, and consume from an offset", async () => {
  const producer = new Producer({ ...base, serializers: stringSerializers });
  const headers = new Map([
    ["a", "1"],
    ["empty", ""],
    ["none", null],
  ]);
  const { offsets } = await producer.send({ messages: [{ topic, value: "with headers", headers, partition: 0 }] });
  await producer.close();
  const consumer = consumerOf(`headers-${run}`);
  const stream = await consumer.consume({
    topics: [topic],
    mode: "manual",
    offsets: [0, 1, 2].map((partition) => ({ topic, partition, offset: partition === 0 ? offsets[0].offset : 0n })),
  });
  let found;
  for await (const message of stream) {
    if (message.value !== "with headers") continue;
    found = message;
    break;
  }
  assert.deepEqual(
    [...found.headers],
    [
      ["a", "1"],
      ["empty", ""],
      ["none", undefined],
    ],
  );
  await consumer.close(true);
});

await check("find an offset by time", async () => {
  const producer = new Producer({ ...base, serializers: stringSerializers });
  const messages = [1000n, 2000n, 3000n].map((timestamp) => ({
    topic: `${topic}-time`,
    value: String(timestamp),
    timestamp,
    partition: 0,
  }));
  await producer.send({ messages });
  await producer.close();
  const consumer = consumerOf(`time-${run}`);
  const found = await consumer.listOffsetsWithTimestamps({ topics: [`${topic}-time`], timestamp: 1500n });
  assert.equal(found.get(`${topic}-time`).get(0).offset, 1n);
  const latest = await consumer.listOffsets({ topics: [`${topic}-time`], timestamp: ListOffsetTimestamps.LATEST });
  assert.equal(latest.get(`${topic}-time`)[0], 3n);
  await consumer.close(true);
});

await check("a group of two, joined and left", async () => {
  const groupId = `group-${run}`;
  const held = (consumer) => consumer.assignments?.find((assigned) => assigned.topic === topic)?.partitions.length ?? 0;
  const member = async () => {
    const consumer = consumerOf(groupId);
    const stream = await consumer.consume({ topics: [topic], mode: "earliest" });
    stream.on("data", () => {});
    stream.on("error", () => {});
    return consumer;
  };
  const first = await member();
  await waitUntil("the first member has all", () => held(first) === 3);
  const second = await member();
  await waitUntil("both have some", () => held(first) + held(second) === 3 && held(second) > 0);
  await second.close(true);
  await waitUntil("the first has all again", () => held(first) === 3);
  await first.close(true);
});

await check("commit and resume", async () => {
  const groupId = `resume-${run}`;
  const source = consumerOf(groupId);
  const stream = await source.consume({ topics: [topic], mode: "earliest" });
  const seen = await read(stream, 10);
  const next = new Map();
  for (const { partition, offset } of seen) next.set(partition, offset + 1n);
  await source.commit({
    offsets: [...next].map(([partition, offset]) => ({ topic, partition, offset, leaderEpoch: 0 })),
  });
  await source.close(true);
  const again = consumerOf(groupId);
  const ends = (await again.listOffsets({ topics: [topic] })).get(topic);
  const left = ends.reduce((sum, end, partition) => sum + Number(end - (next.get(partition) ?? 0n)), 0);
  const rest = await read(await again.consume({ topics: [topic], mode: "committed", fallbackMode: "earliest" }), left);
  assert.equal(rest.length, left);
  await again.close(true);
  assert.equal((await admin.describeGroups({ groups: [groupId] })).get(groupId).state.toUpperCase(), "EMPTY");
  await admin.deleteGroups({ groups: [groupId] });
});

await check("delete topics", async () => {
  await admin.deleteTopics({ topics: [topic, `${topic}-time`] });
  assert.equal((await admin.listTopics()).includes(topic), false);
});
await admin.close();
finish();
