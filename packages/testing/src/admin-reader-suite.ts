/** What Admin and Reader do on any broker: the embedded one, and Apache Kafka. */

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Admin, type ConsumedRecord, Reader, type ReaderConfig } from "@millrace/client";
import { Cluster, commonOptions } from "@millrace/client/internal";
import { BrokerError, loadCodec, produceApi } from "@millrace/protocol";
import { recordBatch, type TestBatchOptions } from "./record-batches.ts";
import { rejectionOf } from "./rejection-of.ts";

const ALL_REPLICAS = -1;
const PRODUCE_TIMEOUT_MS = 10_000;
/** The last version that names topics. */
const PRODUCE_MAX_VERSION = 12;
const COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"] as const;
let topicCount = 0;

/** A name that no other run has used. */
export function uniqueTopic(what: string): string {
  topicCount += 1;
  return `${what}-${process.pid}-${Date.now().toString(36)}-${topicCount}`;
}

/** server: asked when the tests run, where they listen on "host:port". */
export function adminReaderSuite(name: string, server: () => string): void {
  suite(name, { concurrency: false }, () => {
    let admin: Admin;
    let cluster: Cluster;
    const topics: string[] = [];

    before(() => {
      admin = new Admin({ bootstrapServers: server() });
      cluster = new Cluster(commonOptions.resolve({ bootstrapServers: server() }));
    });

    after(async () => {
      if (topics.length > 0) await admin.deleteTopics(topics);
      await admin.close();
      await cluster.close();
    });

    async function createTopic(what: string, partitions = 1, config: Record<string, string> = {}): Promise<string> {
      const topic = uniqueTopic(what);
      await admin.createTopics([{ name: topic, partitions, config }]);
      topics.push(topic);
      return topic;
    }

    async function produce(topic: string, values: readonly string[], options: Partial<TestBatchOptions> = {}) {
      const { partitions } = await admin.describeTopic(topic);
      const connection = await cluster.connectionTo(partitions[0]?.leaderId ?? -1);
      await loadCodec(options.compression ?? "none");
      const batch = recordBatch(
        values.map((value, index) => ({ value, timestamp: 1000 * (index + 1) })),
        { baseOffset: 0n, ...options },
      );
      const response = await connection.request(
        produceApi,
        {
          acks: ALL_REPLICAS,
          timeoutMs: PRODUCE_TIMEOUT_MS,
          topicData: [{ name: topic, partitionData: [{ index: 0, records: [batch] }] }],
        },
        { maxVersion: PRODUCE_MAX_VERSION },
      );
      const answer = response.responses[0]?.partitionResponses[0];
      assert.equal(answer?.errorCode, 0, `produce to ${topic} failed with ${answer?.errorCode}`);
    }

    async function readAll(
      topic: string,
      count: number,
      config: Partial<ReaderConfig> = {},
    ): Promise<ConsumedRecord[]> {
      await using reader = new Reader({ bootstrapServers: server(), topic, ...config });
      const records: ConsumedRecord[] = [];
      for (let round = 0; round < 50 && records.length < count; round++) records.push(...(await reader.read()));
      return records;
    }

    test("a topic that was created can be written to at once, again and again", async () => {
      for (let round = 0; round < 5; round++) {
        const topic = await createTopic("usable", 3);
        await cluster.metadata.fetchTopic(topic, {
          allowAutoTopicCreation: false,
          deadlineMs: performance.now() + 5000,
        });
        await produce(topic, ["first"]);
      }
    });

    test("topics are listed by name with their partitions, internal ones only when asked for", async () => {
      const topic = await createTopic("listed", 4);

      const listed = await admin.listTopics();
      const found = listed.find((one) => one.name === topic);

      assert.equal(found?.partitions.length, 4);
      assert.ok(listed.every((one) => !one.isInternal));
      assert.deepEqual(
        listed.map((one) => one.name),
        listed.map((one) => one.name).sort(),
      );
    });

    test("creating a topic that is there, or with a bad name or number, says which and why", async () => {
      const topic = await createTopic("taken");

      const taken = await rejectionOf(admin.createTopics([{ name: topic, partitions: 1 }]));
      const name = await rejectionOf(admin.createTopics([{ name: "a b", partitions: 1 }]));
      const partitions = await rejectionOf(admin.createTopics([{ name: uniqueTopic("none"), partitions: 0 }]));
      const config = await rejectionOf(
        admin.createTopics([{ name: uniqueTopic("config"), config: { "retention.ms": "long" } }]),
      );

      assert.ok(taken instanceof BrokerError);
      assert.equal(taken.code, "TOPIC_ALREADY_EXISTS");
      assert.match(taken.message, new RegExp(topic));
      assert.equal(name.code, "INVALID_TOPIC_EXCEPTION");
      assert.equal(partitions.code, "INVALID_PARTITIONS");
      assert.equal(config.code, "INVALID_CONFIG");
    });

    test("of several topics the good ones are created, and the error names the bad ones", async () => {
      const good = uniqueTopic("good");
      topics.push(good);

      const error = await rejectionOf(
        admin.createTopics([
          { name: "bad one", partitions: 1 },
          { name: good, partitions: 1 },
          { name: "..", partitions: 1 },
        ]),
      );

      assert.match(error.message, /2 topics failed.*bad one.*\.\./);
      assert.ok(error.cause instanceof AggregateError);
      assert.equal((await admin.describeTopic(good)).partitions.length, 1);
    });

    test("validateOnly checks and creates nothing", async () => {
      const topic = uniqueTopic("validated");

      await admin.createTopics([{ name: topic, partitions: 1 }], { validateOnly: true });

      assert.equal((await rejectionOf(admin.describeTopic(topic))).code, "UNKNOWN_TOPIC_OR_PARTITION");
    });

    test("a topic that was deleted is gone, and its name can be used again", async () => {
      const topic = await createTopic("recreated", 2);
      await produce(topic, ["old"]);

      await admin.deleteTopics([topic]);
      assert.equal((await rejectionOf(admin.describeTopic(topic))).code, "UNKNOWN_TOPIC_OR_PARTITION");
      assert.equal((await rejectionOf(admin.deleteTopics([topic]))).code, "UNKNOWN_TOPIC_OR_PARTITION");
      await admin.createTopics([{ name: topic, partitions: 1 }]);
      await produce(topic, ["new"]);

      const records = await readAll(topic, 1);
      assert.deepEqual(
        records.map((record) => record.value?.toString()),
        ["new"],
      );
    });

    test("a topic that is there is described, one that is not is an error at once", async () => {
      const topic = await createTopic("described", 2);

      const description = await admin.describeTopic(topic);
      const error = await rejectionOf(admin.describeTopic(uniqueTopic("missing")));

      assert.deepEqual(
        description.partitions.map((partition) => partition.partition),
        [0, 1],
      );
      assert.ok(description.partitions.every((partition) => partition.leaderId >= 0 && partition.isr.length > 0));
      assert.equal(error.code, "UNKNOWN_TOPIC_OR_PARTITION");
      assert.equal(error.retriable, false);
    });

    test("the cluster is described with its brokers", async () => {
      const description = await admin.describeCluster();

      assert.ok(description.brokers.length >= 1);
      assert.ok(description.brokers.some((broker) => broker.nodeId === description.controllerId));
      assert.equal(typeof description.clusterId, "string");
    });

    test("offsets are listed: where each partition begins, ends, and what is at or after a time", async () => {
      const topic = await createTopic("offsets", 2);
      await produce(topic, ["a", "b", "c"]);

      const earliest = await admin.listOffsets(topic, "earliest");
      const latest = await admin.listOffsets(topic, "latest");
      const since = await admin.listOffsets(topic, 1500);
      const after = await admin.listOffsets(topic, 99_000);

      assert.deepEqual([...earliest.keys()], [0, 1]);
      assert.equal(earliest.get(0)?.offset, 0n);
      assert.equal(latest.get(0)?.offset, 3n);
      assert.equal(latest.get(1)?.offset, 0n);
      assert.deepEqual(since.get(0), { offset: 1n, timestamp: 2000 });
      assert.deepEqual(after.get(0), { offset: -1n, timestamp: -1 });
    });

    test("records before an offset can be deleted", async () => {
      const topic = await createTopic("trimmed");
      await produce(topic, ["a", "b"]);
      await produce(topic, ["c"]);

      const startOffsets = await admin.deleteRecords(topic, new Map([[0, 2n]]));
      const records = await readAll(topic, 1);

      assert.deepEqual([...startOffsets], [[0, 2n]]);
      assert.deepEqual(
        records.map((record) => record.offset),
        [2n],
      );
    });

    test("a topic can get more partitions, never fewer", async () => {
      const topic = await createTopic("grown", 2);

      await admin.createPartitions(topic, 5);
      const error = await rejectionOf(admin.createPartitions(topic, 3));

      assert.equal((await admin.describeTopic(topic)).partitions.length, 5);
      assert.equal(error.code, "INVALID_PARTITIONS");
    });

    test("a topic's options can be read, set and put back", async () => {
      const topic = await createTopic("configured", 1, { "retention.ms": "60000" });
      const retention = async () =>
        (await admin.describeConfigs({ type: "topic", name: topic })).find((entry) => entry.name === "retention.ms");

      assert.equal((await retention())?.value, "60000");
      assert.equal((await retention())?.source, "topic");
      await admin.alterConfigs({ type: "topic", name: topic }, { "retention.ms": "120000" });
      assert.equal((await retention())?.value, "120000");
      await admin.alterConfigs({ type: "topic", name: topic }, { "retention.ms": null });

      assert.equal((await retention())?.value, "604800000");
      assert.notEqual((await retention())?.source, "topic");
    });

    for (const compression of COMPRESSIONS) {
      test(`records compressed with ${compression} are read back byte for byte`, async () => {
        const topic = await createTopic(`codec-${compression}`);
        const values = ["", "ü€😀", "x".repeat(10_000), "last"];
        await produce(topic, values, { compression });

        const records = await readAll(topic, values.length);

        assert.deepEqual(
          records.map((record) => record.value?.toString()),
          values,
        );
        assert.deepEqual(
          records.map((record) => [record.topic, record.partition, record.offset, record.timestamp, record.key]),
          values.map((_, index) => [topic, 0, BigInt(index), 1000 * (index + 1), null]),
        );
      });
    }

    test("reading begins where it is told to", async () => {
      const topic = await createTopic("positions");
      await produce(topic, ["a", "b", "c"]);
      const valuesFrom = async (from: NonNullable<ReaderConfig["from"]>) => {
        const records = await readAll(topic, 1, { from });
        return records.map((record) => record.value?.toString());
      };

      assert.deepEqual(await valuesFrom("earliest"), ["a", "b", "c"]);
      assert.deepEqual(await valuesFrom(1n), ["b", "c"]);
      assert.deepEqual(await valuesFrom(new Date(2500)), ["c"]);
    });

    test("a waiting read gets what is written meanwhile", async () => {
      const topic = await createTopic("waiting");
      await using reader = new Reader({ bootstrapServers: server(), topic, from: "latest", maxWaitMs: 10_000 });
      const pending = reader.read();

      // What is written before the reader has found the end is not for it: more follows.
      const records = await produceUntil(pending, () => produce(topic, ["now"]));

      assert.ok(records.length > 0);
    });

    test("close ends a waiting read at once", async () => {
      const topic = await createTopic("closing");
      const reader = new Reader({ bootstrapServers: server(), topic, from: 0n, maxWaitMs: 30_000 });
      const pending = rejectionOf(reader.read());
      const startMs = performance.now();

      await new Promise((resolve) => setTimeout(resolve, 50));
      await reader.close();

      assert.equal((await pending).code, "CLOSED");
      assert.ok(performance.now() - startMs < 5_000);
    });

    test("an offset beyond the end is refused with what the log has", async () => {
      const topic = await createTopic("range");
      await produce(topic, ["a", "b"]);

      const error = await rejectionOf(readAll(topic, 1, { from: 500n }));

      assert.equal(error.code, "OFFSET_OUT_OF_RANGE");
      assert.match(error.message, /offset 500 is not in the log, which has 0 up to 2/);
    });
  });
}

/** Produces again and again until the promise settles. */
async function produceUntil<T>(promise: Promise<T>, produce: () => Promise<void>): Promise<T> {
  let isSettled = false;
  const settled = () => {
    isSettled = true;
  };
  promise.then(settled, settled);
  while (!isSettled) {
    await produce();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return promise;
}
