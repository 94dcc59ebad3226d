/** The examples of the DistributedLog document's producer page, one by one and in its order, against the embedded broker. */

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { tcpNetwork } from "@millrace/base";
import { ScriptedBroker, ScriptedLog, type StartedBroker, startBroker } from "@millrace/testing";
import { Admin } from "../admin.ts";
import {
  CircuitBreaker,
  CompressionType,
  type ErrorCallback,
  isRetriable,
  KafkaError,
  type Partitioner,
  Producer,
  type ProducerConfig,
  type RecordMetadata,
} from "../index.ts";
import { Reader } from "../reader.ts";

/** What the document prints or logs goes here. */
let printed: string[] = [];
const print = (line: string) => printed.push(line);

suite("the DistributedLog document's examples", () => {
  let started: StartedBroker;
  let bootstrapServers: string;

  before(async () => {
    started = await startBroker({ defaultPartitions: 6 });
    bootstrapServers = started.server;
  });

  after(() => started.close());

  test("Quick Start", async () => {
    const producer = new Producer({ bootstrapServers: [bootstrapServers] });

    const metadata = await producer.send({ topic: "my-topic", key: "user123", value: "data" });
    print(`Sent to partition ${metadata.partition} offset ${metadata.offset}`);

    await producer.close();
    assert.match(lastPrinted(), /^Sent to partition [0-5] offset 0$/);
  });

  test("Feature 1, synchronous send: one waits for the acknowledgement, as long as one likes", async () => {
    // The document waits 5 s with result(timeout=5.0); here the producer is told how long a record may take.
    await withProducer({ deliveryTimeoutMs: 5_000, requestTimeoutMs: 4_000 }, async (producer) => {
      const metadata = await producer.send({ topic: "synchronous", value: "data" });
      print(`Offset: ${metadata.offset}`);
    });
    assert.equal(lastPrinted(), "Offset: 0");
  });

  test("Feature 2, asynchronous send: callbacks on success and error", async () => {
    await withProducer({}, async (producer) => {
      const onSuccess = (metadata: RecordMetadata) => void print(`Sent to partition ${metadata.partition}`);
      const onError = (error: KafkaError) => void print(`Failed: ${error.code}`);

      void producer.send({ topic: "my-topic", value: "data" }, { onSuccess, onError });
      await producer.flush();
      assert.match(lastPrinted(), /^Sent to partition/);

      void producer.send({ topic: "my-topic", partition: 99, value: "data" }, { onSuccess, onError });
      await producer.flush();
      assert.equal(lastPrinted(), "Failed: UNKNOWN_TOPIC_OR_PARTITION");
    });
  });

  test("Feature 3, message batching: a full batch, the linger time and flush each send", async () => {
    await withProducer({ batchSize: 16_384, lingerMs: 10 }, async (producer) => {
      await producer.send({ topic: "batching", value: "after linger" });
    });
    await withProducer({ batchSize: 16_384, lingerMs: 20_000 }, async (producer) => {
      const full = producer.send({ topic: "batching", partition: 0, value: "x".repeat(10_000) });
      void producer.send({ topic: "batching", partition: 0, value: "x".repeat(10_000) });
      await full;
      void producer.send({ topic: "batching", value: "flushed" });
      await producer.flush();
      assert.equal(producer.pendingCount, 0);
    });
  });

  for (const compressionType of [
    CompressionType.NONE,
    CompressionType.GZIP,
    CompressionType.SNAPPY,
    CompressionType.LZ4,
  ]) {
    test(`Feature 4, compression: ${compressionType}`, async () => {
      const topic = `compression-${compressionType}`;
      await withProducer({ compressionType }, async (producer) => {
        await producer.send({ topic, partition: 0, value: "data ".repeat(200) });
      });
      assert.deepEqual(await valuesOf(topic, 0), ["data ".repeat(200)]);
    });
  }

  test("Feature 5, the default partitioner: a key always goes to its partition", async () => {
    await withProducer({ partitionerType: "default" }, async (producer) => {
      const [first, second] = await producer.sendBatch([
        { topic: "topic", key: "key1", value: "data" },
        { topic: "topic", key: "key1", value: "data" },
        { topic: "topic", value: "data" },
      ]);
      assert.equal(first?.partition, second?.partition);
    });
  });

  test("Feature 5, the key hash partitioner: fails without a key", async () => {
    await withProducer({ partitionerType: "key_hash" }, async (producer) => {
      const { partition } = await producer.send({ topic: "topic", key: "user123", value: "data" });
      assert.equal((await producer.send({ topic: "topic", key: "user123", value: "data" })).partition, partition);
      await assert.rejects(producer.send({ topic: "topic", value: "data" }), /needs a key/);
    });
  });

  test("Feature 5, the round robin partitioner: as many in each partition", async () => {
    await withProducer({ partitionerType: "round_robin" }, async (producer) => {
      const sent = [];
      for (let i = 0; i < 96; i++) sent.push(producer.send({ topic: "round-robin", value: `msg-${i}` }));

      const perPartition = new Array(6).fill(0);
      for (const { partition } of await Promise.all(sent)) perPartition[partition] += 1;
      assert.deepEqual(perPartition, new Array(6).fill(16));
    });
  });

  test("Feature 5, the sticky partitioner: records gather in one partition's batch", async () => {
    await withProducer({ partitionerType: "sticky" }, async (producer) => {
      await producer.send({ topic: "sticky", value: "first" });
      const sent = await Promise.all([1, 2, 3].map((i) => producer.send({ topic: "sticky", value: `msg-${i}` })));
      assert.equal(new Set(sent.map(({ partition }) => partition)).size, 1);
    });
  });

  test("Feature 5, a custom partitioner", async () => {
    class CustomPartitioner implements Partitioner {
      partition(_topic: string, _key: Uint8Array | null, value: Uint8Array | null): number {
        return value !== null && Buffer.from(value).includes("premium") ? 0 : 1;
      }
    }
    const custom = new CustomPartitioner();

    // A function does as well.
    for (const partitionerType of [custom, custom.partition]) {
      await withProducer({ partitionerType }, async (producer) => {
        assert.equal((await producer.send({ topic: "custom", value: "a premium customer" })).partition, 0);
        assert.equal((await producer.send({ topic: "custom", value: "a customer" })).partition, 1);
      });
    }
  });

  test("Feature 6, retry logic: as many retries as asked for, then the record is given up", async () => {
    await using broker = await ScriptedBroker.listen(tcpNetwork);
    const log = new ScriptedLog().serve(broker);
    broker.serveMetadata([{ nodeId: 1, address: broker.address }], { "my-topic": [{ leaderId: 1 }] });
    log.plan(...Array.from({ length: 4 }, () => ({ kind: "refuse", code: "NOT_ENOUGH_REPLICAS" }) as const));
    const startMs = performance.now();

    await withProducer({ bootstrapServers: broker.server, maxRetries: 3, retryBackoffMs: 100 }, async (producer) => {
      await assert.rejects(producer.send({ topic: "my-topic", value: "data" }), {
        code: "NOT_ENOUGH_REPLICAS",
        attempts: 1 + 3,
      });
      assert.ok(performance.now() - startMs >= 100 + 200 + 400);
      await producer.send({ topic: "my-topic", value: "after the failure has passed" });
    });
    assert.deepEqual(log.values("my-topic-0"), ["after the failure has passed"]);
  });

  test("Feature 7, error handling: with try and catch", async () => {
    await withProducer({}, async (producer) => {
      try {
        const metadata = await producer.send({ topic: "not a valid topic name", value: "data" });
        print(`Offset: ${metadata.offset}`);
      } catch (error) {
        print(`Send failed: ${error instanceof KafkaError ? error.code : error}`);
      }
    });
    assert.equal(lastPrinted(), "Send failed: INVALID_TOPIC_EXCEPTION");
  });

  test("Feature 7, error handling: with an error callback that asks for the kind of error", async () => {
    // The document looks for "timeout" in the message; here errors say themselves whether another try may help.
    const onError: ErrorCallback = (error) => void print(isRetriable(error) ? "retry or log" : "alert the ops team");

    await withProducer({ maxRequestSize: 2_000 }, async (producer) => {
      void producer.send({ topic: "topic", value: "x".repeat(3_000) }, { onError });
      await producer.flush();
    });
    assert.equal(lastPrinted(), "alert the ops team");
  });

  test("Feature 7, a circuit breaker round sends", async () => {
    const breaker = new CircuitBreaker({ failureThreshold: 5, recoveryTimeoutMs: 60_000 });

    await withProducer({}, async (producer) => {
      const sendWithBreaker = (value: string) =>
        breaker.call(() => producer.send({ topic: "topic", partition: 0, value }));
      assert.equal((await sendWithBreaker("data")).partition, 0);

      const failing = () => breaker.call(() => producer.send({ topic: "topic", partition: 99, value: "data" }));
      for (let i = 0; i < 5; i++) await assert.rejects(failing());
      await assert.rejects(sendWithBreaker("data"), { code: "CIRCUIT_OPEN" });
    });
  });

  test("Feature 8, in-flight request management", async () => {
    for (const maxInFlight of [1, 5, 10]) {
      const topic = `in-flight-${maxInFlight}`;
      await withProducer({ maxInFlight }, async (producer) => {
        const sent = [];
        for (let i = 0; i < 200; i++) {
          sent.push(producer.send({ topic, partition: 0, value: String(i) }));
          assert.ok(producer.metrics().inFlightRequests <= maxInFlight);
          if (i % 10 === 0) await sent[i];
        }
        await Promise.all(sent);
      });
      assert.deepEqual(await valuesOf(topic, 0), numbered(200), "order is kept at any number");
    }
  });

  test("Configuration Reference: every option of the document is known by its name", async () => {
    const config: ProducerConfig = {
      bootstrapServers,
      batchSize: 16_384,
      lingerMs: 0,
      maxInFlight: 5,
      bufferMemory: 33_554_432,
      compressionType: CompressionType.GZIP,
      maxRetries: 3,
      retryBackoffMs: 100,
      requestTimeoutMs: 30_000,
      metadataMaxAgeMs: 300_000,
      partitionerType: "default",
      maxBlockMs: 60_000,
    };
    const producer = new Producer(config);
    await producer.send({ topic: "my-topic", value: "data" });
    await producer.close();
  });

  test("Best practice 1, always close: with `await using`, or in finally; what is buffered is sent first", async () => {
    {
      await using producer = new Producer({ bootstrapServers, lingerMs: 5_000 });
      void producer.send({ topic: "closed", partition: 0, value: "with using" });
    }
    const producer = new Producer({ bootstrapServers, lingerMs: 5_000 });
    try {
      void producer.send({ topic: "closed", partition: 0, value: "in finally" });
    } finally {
      await producer.close();
    }
    assert.deepEqual(await valuesOf("closed", 0), ["with using", "in finally"]);
  });

  test("Best practices 2 and 3, batching for throughput and a low latency configuration", async () => {
    await withProducer({ batchSize: 65_536, lingerMs: 100, compressionType: "lz4" }, async (producer) => {
      await producer.sendBatch(numbered(100).map((value) => ({ topic: "my-topic", value })));
    });
    await withProducer({ batchSize: 1_024, lingerMs: 0, compressionType: "none" }, async (producer) => {
      await producer.send({ topic: "my-topic", value: "data" });
    });
  });

  test("Best practice 4, handle errors gracefully", async () => {
    async function safeSend(producer: Producer, topic: string, value: string): Promise<RecordMetadata | null> {
      try {
        return await producer.send({ topic, value });
      } catch (error) {
        if (error instanceof KafkaError && error.code === "DELIVERY_TIMEOUT") print(`Send timeout: ${topic}`);
        else print(`Send failed: ${topic}`);
        return null;
      }
    }

    await withProducer({}, async (producer) => {
      assert.equal((await safeSend(producer, "my-topic", "data"))?.topic, "my-topic");
      assert.equal(await safeSend(producer, "not valid", "data"), null);
    });
    assert.equal(lastPrinted(), "Send failed: not valid");
  });

  test("Best practice 5, keys for ordering", async () => {
    const userEvents = numbered(50).map((step) => ({ userId: `user-${Number(step) % 3}`, step }));

    await withProducer({}, async (producer) => {
      for (const event of userEvents) {
        void producer.send({ topic: "user-events", key: event.userId, value: JSON.stringify(event) });
      }
    });

    const byUser = new Map<string, number[]>();
    for (const value of await allValuesOf("user-events")) {
      const { userId, step } = JSON.parse(value);
      byUser.set(userId, [...(byUser.get(userId) ?? []), Number(step)]);
    }
    assert.equal(byUser.size, 3);
    for (const steps of byUser.values())
      assert.deepEqual(
        steps,
        steps.toSorted((a, b) => a - b),
      );
  });

  test("Best practice 6, monitor metrics", async () => {
    const maxInFlight = 5;
    await withProducer({ maxInFlight }, async (producer) => {
      await producer.send({ topic: "my-topic", value: "data" });
      const metrics = producer.metrics();

      if (metrics.pendingBatches > 100) print(`High pending batches: ${metrics.pendingBatches}`);
      if (metrics.inFlightRequests === maxInFlight) print("Max in-flight reached");
      assert.equal(metrics.recordsAcknowledged, 1);
    });
  });

  test("Performance tuning: for throughput, for latency, for memory", async () => {
    const configs: ProducerConfig[] = [
      { batchSize: 131_072, lingerMs: 100, compressionType: "lz4", maxInFlight: 10 },
      { batchSize: 1_024, lingerMs: 0, compressionType: "none", maxInFlight: 1 },
      { batchSize: 4_096, bufferMemory: 10_485_760, maxInFlight: 3 },
    ];
    for (const config of configs) {
      await withProducer(config, async (producer) => {
        const sent = await producer.sendBatch(numbered(500).map((value) => ({ topic: "tuning", value })));
        assert.equal(sent.length, 500);
      });
    }
  });

  test("Example, basic producer", async () => {
    await withProducer({}, async (producer) => {
      const metadata = await producer.send({ topic: "my-topic", value: "hello" });
      print(`Sent to partition ${metadata.partition}`);
    });
    assert.match(lastPrinted(), /^Sent to partition/);
  });

  test("Example, async producer with callbacks", async () => {
    const results: RecordMetadata[] = [];
    const onSuccess = (metadata: RecordMetadata) => void results.push(metadata);

    await withProducer({}, async (producer) => {
      for (let i = 0; i < 100; i++) void producer.send({ topic: "my-topic", value: `message-${i}` }, { onSuccess });
      await producer.flush();
      print(`Sent ${results.length} messages`);
    });
    assert.equal(lastPrinted(), "Sent 100 messages");
  });

  test("Example, high-throughput producer: 100,000 records, flushed", async () => {
    const config = { batchSize: 131_072, lingerMs: 100, compressionType: "lz4", maxInFlight: 10 } as const;

    await withProducer(config, async (producer) => {
      for (let i = 0; i < 100_000; i++) void producer.send({ topic: "high-throughput", value: `message-${i}` });
      await producer.flush();
      assert.equal(producer.metrics().recordsAcknowledged, 100_000);
    });
  });

  test("Example, partitioning by user", async () => {
    await withProducer({}, async (producer) => {
      const userEvents = [
        { user_id: "user1", action: "login" },
        { user_id: "user1", action: "purchase" },
        { user_id: "user2", action: "login" },
      ];
      for (const event of userEvents) {
        void producer.send({ topic: "by-user", key: event.user_id, value: JSON.stringify(event) });
      }
      await producer.flush();
    });
    const actions = (await allValuesOf("by-user")).map((value) => JSON.parse(value));
    assert.deepEqual(
      actions.filter(({ user_id }) => user_id === "user1").map(({ action }) => action),
      ["login", "purchase"],
    );
  });

  async function withProducer(config: ProducerConfig, use: (producer: Producer) => Promise<void>): Promise<void> {
    printed = [];
    const producer = new Producer({ bootstrapServers, ...config });
    try {
      await use(producer);
    } finally {
      await producer.close();
    }
  }

  async function valuesOf(topic: string, partition: number): Promise<string[]> {
    await using reader = new Reader({ bootstrapServers, topic, partition, from: 0n, maxWaitMs: 10 });
    const values: string[] = [];
    for (let records = await reader.read(); records.length > 0; records = await reader.read()) {
      values.push(...records.map(({ value }) => value?.toString() ?? "null"));
    }
    return values;
  }

  /** Partition by partition. */
  async function allValuesOf(topic: string): Promise<string[]> {
    await using admin = new Admin({ bootstrapServers });
    const { partitions } = await admin.describeTopic(topic);
    const values = await Promise.all(partitions.map(({ partition }) => valuesOf(topic, partition)));
    return values.flat();
  }
});

function lastPrinted(): string {
  return printed.at(-1) ?? "";
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}
