import assert from "node:assert/strict";
import { test } from "node:test";
import { KafkaError } from "@millrace/protocol";
import { SendBatchError } from "../errors.ts";
import type { ProducerConfig } from "./options.ts";
import { Producer } from "./producer.ts";
import {
  assertFailure,
  broker,
  clock,
  create,
  failureOf,
  inRealTime,
  LIMIT_MS,
  log,
  producer,
  sendAll,
  serveTopic,
  soon,
  useProducerFixture,
  warm,
} from "./producer-fixture.test-support.ts";

useProducerFixture();

test("a producer that nothing is sent with connects to nobody", async () => {
  create();

  await clock.advance(LIMIT_MS);

  assert.equal(broker.connectionCount, 0);
});

test("a record's metadata says where it landed", async () => {
  create();

  const metadata = await soon(producer.send({ topic: "orders", key: "user-1", value: "paid", timestamp: 1234 }));

  assert.deepEqual(metadata.toJSON(), { topic: "orders", partition: 0, offset: "0", timestamp: 1234 });
  const [record] = log.records("orders-0");
  assert.deepEqual([record?.key?.toString(), record?.value?.toString()], ["user-1", "paid"]);
});

test("records sent in one turn of the event loop leave in one request", async () => {
  await warm();

  await soon(Promise.all(sendAll(100)));

  assert.deepEqual(log.requests.at(-1), [{ partition: "orders-0", recordCount: 100 }]);
});

test("while a request is in flight, what comes in gathers in the next batch", async () => {
  await warm({ maxInFlight: 1 });
  log.plan({ kind: "hold" });

  const early = sendAll(1);
  await clock.advance(1);
  const late = [...sendAll(1), ...sendAll(1)];
  await clock.advance(1);
  log.release();
  await soon(Promise.all([...early, ...late]));

  assert.deepEqual(
    log.requests.slice(1).map((request) => request[0]?.recordCount),
    [1, 2],
  );
});

test("a trickle of records is sent lingerMs after the first, not the last", async () => {
  await warm({ lingerMs: 50 });
  const startMs = clock.nowMs();
  const trickle: Promise<unknown>[] = [];

  for (let index = 0; index < 5; index++) {
    trickle.push(...sendAll(1));
    await clock.advance(20);
  }

  assert.equal(log.requests.length, 2, `no request within ${clock.nowMs() - startMs} ms`);
  await soon(Promise.all(trickle));
});

test("flush sends a lingering batch at once and waits for its answer", async () => {
  await warm({ lingerMs: 60_000 - 1, requestTimeoutMs: 60_000 });
  const startMs = clock.nowMs();

  const sent = sendAll(3);
  await soon(producer.flush());

  assert.ok(clock.nowMs() - startMs < 1000);
  assert.equal(producer.pendingCount, 0);
  await Promise.all(sent);
});

test("null, empty and the text null are three values", async () => {
  create();

  await soon(
    producer.sendBatch([
      { topic: "orders", value: null },
      { topic: "orders", value: "" },
      { topic: "orders", value: "null" },
      { topic: "orders" },
    ]),
  );

  assert.deepEqual(
    log.records("orders-0").map((record) => record.value?.toString() ?? null),
    [null, "", "null", null],
  );
});

test("headers keep their order, duplicates and nulls", async () => {
  create();

  const headers = [
    ["b", "1"],
    ["a", null],
    ["b", Buffer.from([0xff])],
  ] as const;
  await soon(producer.send({ topic: "orders", value: "v", headers }));

  assert.deepEqual(log.records("orders-0")[0]?.headers, [
    ["b", Buffer.from("1")],
    ["a", null],
    ["b", Buffer.from([0xff])],
  ]);
});

test("a batch is compressed with the producer's codec, or with its own", async () => {
  create({ compressionType: "zstd" });
  const record = { topic: "orders", value: "x".repeat(1000) };

  await inRealTime(producer.sendBatch([record]));
  await soon(producer.sendBatch([record], { compressionType: "gzip" }));

  assert.deepEqual(log.codecs("orders-0"), ["zstd", "gzip"]);
});

test("a record that its serializer refuses fails alone", async () => {
  create({ valueSerializer: "json" });
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;

  const error = await failureOf(
    producer.sendBatch([
      { topic: "orders", value: { a: 1 } },
      { topic: "orders", value: cyclic },
      { topic: "orders", value: [2] },
    ]),
  );

  assert.ok(error instanceof SendBatchError);
  assert.equal(error.results[1] instanceof KafkaError && error.results[1].code, "SERIALIZATION_FAILED");
  assert.deepEqual(log.values("orders-0"), ['{"a":1}', "[2]"]);
});

test("an async serializer does not change the order of records", async () => {
  create({
    valueSerializer: async (value: number) => {
      await new Promise<void>((resolve) => clock.schedule(100 - value * 10, resolve));
      return String(value);
    },
  });

  await soon(Promise.all([0, 1, 2, 3].map((value) => producer.send({ topic: "orders", key: `key ${value}`, value }))));

  assert.deepEqual(log.values("orders-0"), ["0", "1", "2", "3"]);
  assert.deepEqual(
    log.records("orders-0").map((record) => record.key?.toString()),
    ["key 0", "key 1", "key 2", "key 3"],
  );
});

test("a record that an async serializer refuses lets none behind it pass the one before it", async () => {
  create({
    valueSerializer: async (value: string) => {
      if (value === "bad") throw new Error("unreadable");
      if (value === "slow") await new Promise<void>((resolve) => clock.schedule(100, resolve));
      return value;
    },
  });

  const sent = ["slow", "bad", "quick"].map((value) => producer.send({ topic: "orders", value }));
  await assertFailure(sent[1] ?? assert.fail(), "SERIALIZATION_FAILED", "no");
  await soon(Promise.all([sent[0], sent[2], producer.flush()]));

  assert.deepEqual(log.values("orders-0"), ["slow", "quick"]);
});

test("a value that is neither text nor bytes is refused, not guessed", async () => {
  create();

  await assertFailure(producer.send({ topic: "orders", value: 42 }), "SERIALIZATION_FAILED", "no");
});

test("a topic that is missing and may not be created is refused at once", async () => {
  create({ allowAutoTopicCreation: false });
  const startMs = clock.nowMs();

  await assertFailure(producer.send({ topic: "missing", value: "v" }), "UNKNOWN_TOPIC_OR_PARTITION", "no");

  assert.ok(clock.nowMs() - startMs < 1000);
});

test("a partition that the topic does not have is refused", async () => {
  create();

  await assertFailure(producer.send({ topic: "orders", partition: 7, value: "v" }), "UNKNOWN_TOPIC_OR_PARTITION", "no");
});

test("sends to a topic that is not known yet keep their order", async () => {
  create();

  await soon(Promise.all(sendAll(50)));

  assert.deepEqual(
    log.values("orders-0"),
    Array.from({ length: 50 }, (_, index) => `v${index}`),
  );
});

test("a produce resolves once buffered, and its delivery tells the fate", async () => {
  await warm();
  log.plan({ kind: "hold" });

  const delivery = await soon(producer.produce({ topic: "orders", value: "v" }));
  assert.equal(delivery.status, "pending");
  await clock.advance(1);
  log.release();

  assert.equal((await soon(delivery.acknowledged)).offset, 1n);
  assert.equal(delivery.status, "acknowledged");
});

test("callbacks run beside the promise, and one that throws does no harm", async () => {
  await warm();
  log.plan({ kind: "take" }, { kind: "refuse", code: "TOPIC_AUTHORIZATION_FAILED" });
  const told: string[] = [];

  await soon(
    producer.send(
      { topic: "orders", value: "v" },
      {
        onSuccess: (metadata) => {
          told.push(`success ${metadata.offset}`);
          throw new Error("from the callback");
        },
      },
    ),
  );
  void producer.send({ topic: "orders", value: "v" }, { onError: (error) => void told.push(error.code) });
  await soon(producer.flush());

  assert.deepEqual(told, ["success 1", "TOPIC_AUTHORIZATION_FAILED"]);
  assert.equal(producer.getCallbackStats().reused, 1);
});

test("batches of a topic that compresses well are filled for the size they will have", async () => {
  await warm({ compressionType: "gzip", batchSize: 4096, maxInFlight: 1 });

  for (let round = 0; round < 60; round++) await soon(Promise.all(sendAll(100, () => "the same again ".repeat(10))));

  const largest = Math.max(...log.requests.flat().map(({ recordCount }) => recordCount));
  assert.ok(largest * 150 > 3 * 4096, `at most ${largest} records of 150 bytes were in a batch`);
  assert.equal(producer.metrics().bufferBytes, 0);
});

test("a topic that was deleted and has fewer partitions now gets what is sent next in those it has", async () => {
  serveTopic(6);
  await warm({ metadataMaxAgeMs: 1000 });
  serveTopic(1);
  await clock.advance(2000);

  await soon(Promise.all(sendAll(20).concat(producer.send({ topic: "orders", key: "user-1", value: "keyed" }))));

  assert.ok(log.requests.slice(1).every((request) => request.every(({ partition }) => partition === "orders-0")));
});

test("keys go to the partitions that Java's client chooses", async () => {
  serveTopic(32);
  create();

  const metadata = await soon(
    producer.send({ topic: "orders", key: "fd7af248-ce5c-46a5-93d7-1c0c9005b99d", value: "v" }),
  );

  assert.equal(metadata.partition, 26);
});

test("options that contradict each other are refused by name", () => {
  create();
  assert.throws(() => new Producer({ acks: 1, enableIdempotence: true }), /enableIdempotence needs acks=all/);
  assert.throws(() => new Producer({ lingerMs: -1 }), /lingerMs is -1; it must be/);
  assert.throws(
    () => new Producer({ batchsize: 1 } as ProducerConfig),
    /no option batchsize; did you mean batchSize\?/,
  );
});

test("records with different codecs keep their order in a partition", async () => {
  await warm({ maxInFlight: 1 });
  await inRealTime(producer.sendBatch([{ topic: "orders", value: "second" }], { compressionType: "gzip" }));
  log.plan({ kind: "hold" });
  const sent = sendAll(1, () => "in flight");
  await clock.advance(1);

  for (let turn = 0; turn < 3; turn++) {
    sent.push(producer.send({ topic: "orders", value: `plain ${turn}` }));
    sent.push(producer.sendBatch([{ topic: "orders", value: `gzip ${turn}` }], { compressionType: "gzip" }));
  }
  log.release();
  await soon(Promise.all(sent));

  assert.deepEqual(log.values("orders-0").slice(3), ["plain 0", "gzip 0", "plain 1", "gzip 1", "plain 2", "gzip 2"]);
});

test("each of many batches lingers by its own time, also behind one that left full", async () => {
  await warm({ lingerMs: 100, batchSize: 1024 });

  const full = [producer.send({ topic: "orders", value: "x".repeat(900) })];
  await clock.advance(60);
  full.push(producer.send({ topic: "orders", value: "y".repeat(900) }));
  await clock.advance(45);
  assert.equal(log.values("orders-0").length, 2, "the second batch is 45 ms old");
  await clock.advance(60);
  assert.equal(log.values("orders-0").length, 3);
  await soon(Promise.all(full));
});
