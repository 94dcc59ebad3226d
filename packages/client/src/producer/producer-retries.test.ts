import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ErrorCode,
  errorByCode,
  initProducerIdApi,
  KafkaError,
  metadataApi,
  produceApi,
} from "@millrace/protocol";
import { type Fault, ScriptedBroker } from "@millrace/testing";
import { DeliveryError } from "../errors.ts";
import type { ProducerConfig } from "./options.ts";
import {
  assertFailure,
  broker,
  clock,
  create,
  failureOf,
  log,
  network,
  producer,
  sendAll,
  serveTopic,
  soon,
  useProducerFixture,
  warm,
} from "./producer-fixture.test-support.ts";

useProducerFixture();

for (const fault of [
  { kind: "refuse", code: "NOT_LEADER_OR_FOLLOWER" },
  { kind: "refuse", code: "KAFKA_STORAGE_ERROR" },
  { kind: "takeAndFail", code: "REQUEST_TIMED_OUT" },
  { kind: "takeAndFail", code: "NOT_ENOUGH_REPLICAS_AFTER_APPEND" },
  { kind: "loseAnswer" },
  { kind: "cut" },
] satisfies Fault[]) {
  const name = `${fault.kind} ${"code" in fault ? fault.code : ""}`.trim();

  test(`every record is in the log once and in order after: ${name}`, async () => {
    await warm();
    log.plan({ kind: "take" }, fault, { kind: "take" }, fault);

    const sent: Promise<unknown>[] = [];
    for (let turn = 0; turn < 8; turn++) {
      sent.push(...sendAll(3, (index) => `${turn}.${index}`));
      await clock.advance(1);
    }
    await soon(Promise.all(sent));

    const expected = Array.from({ length: 8 }, (_, turn) => [0, 1, 2].map((index) => `${turn}.${index}`)).flat();
    assert.deepEqual(log.values("orders-0"), ["first", ...expected]);
  });
}

test("a broker that forgot the producer gets the rest under a new epoch, in order", async () => {
  await warm();
  log.plan({ kind: "refuse", code: "UNKNOWN_PRODUCER_ID" });

  await soon(Promise.all(sendAll(3)));
  await soon(Promise.all(sendAll(2, (index) => `w${index}`)));

  assert.deepEqual(log.values("orders-0"), ["first", "v0", "v1", "v2", "w0", "w1"]);
});

test("after a batch is refused for good, those behind it are written once, in order", async () => {
  await warm();
  log.plan({ kind: "refuse", code: "TOPIC_AUTHORIZATION_FAILED" });

  const refused = sendAll(1, () => "refused");
  await clock.advance(0);
  const behind: Promise<unknown>[] = [];
  for (let turn = 0; turn < 4; turn++) {
    behind.push(...sendAll(1, () => `b${turn}`));
    await clock.advance(0);
  }

  await assertFailure(refused[0] ?? Promise.resolve(), "TOPIC_AUTHORIZATION_FAILED", "no");
  await soon(Promise.all(behind));
  assert.deepEqual(log.values("orders-0"), ["first", "b0", "b1", "b2", "b3"]);
});

test("when a batch in doubt is given up, one behind it that is in the log already is not written again", async () => {
  await warm({ deliveryTimeoutMs: 1000, requestTimeoutMs: 600, retryBackoffMs: 100 });
  // Both are appended, and neither answer arrives; from then on nothing gets through until the first one's time is up.
  log.plan({ kind: "hold" }, { kind: "loseAnswer" }, { kind: "cut" }, { kind: "cut" });

  const first = sendAll(1, () => "a");
  await clock.advance(400);
  const second = sendAll(1, () => "b");
  await assertFailure(first[0] ?? Promise.resolve(), "DELIVERY_TIMEOUT", "maybe");
  await soon(Promise.all(second));
  await soon(Promise.all(sendAll(1, () => "c")));

  assert.deepEqual(log.values("orders-0"), ["first", "a", "b", "c"]);
});

test("after a batch in doubt was given up, what follows is written under a new epoch", async () => {
  await warm({ deliveryTimeoutMs: 1000, requestTimeoutMs: 600, retryBackoffMs: 100 });
  log.plan(...Array.from({ length: 5 }, () => ({ kind: "cut" }) as const));

  const lost = sendAll(1, () => "lost");
  await assertFailure(lost[0] ?? Promise.resolve(), "DELIVERY_TIMEOUT", "maybe");
  await soon(Promise.all(sendAll(1, () => "next")));

  assert.deepEqual(log.values("orders-0"), ["first", "next"]);
});

test("a record that failed in the broker's hands may be in the log", async () => {
  await warm({ maxRetries: 0 });
  for (const code of ["KAFKA_STORAGE_ERROR", "UNKNOWN_SERVER_ERROR"] as const) {
    log.plan({ kind: "takeAndFail", code });

    await assertFailure(producer.send({ topic: "orders", value: code }), code, "maybe");
  }

  assert.deepEqual(log.values("orders-0"), ["first", "KAFKA_STORAGE_ERROR", "UNKNOWN_SERVER_ERROR"]);
});

test("with maxRetries 3 a batch is sent four times, after waits that double, and then given up", async () => {
  await warm({ maxRetries: 3, retryBackoffMs: 100 });
  log.plan(...Array.from({ length: 10 }, () => ({ kind: "refuse", code: "NOT_ENOUGH_REPLICAS" }) as const));
  const startMs = clock.nowMs();

  const error = await failureOf(producer.send({ topic: "orders", value: "v" }));

  const waitedMs = clock.nowMs() - startMs;
  assert.equal(log.requests.length, 1 + 4);
  assert.ok(waitedMs >= 100 + 200 + 400 && waitedMs < 1.25 * (100 + 200 + 400), `${waitedMs} ms`);
  assert.ok(error instanceof DeliveryError);
  assert.deepEqual([error.attempts, error.retriable, error.persisted], [4, true, "no"]);
});

test("a batch that the broker finds too large is sent in parts, in order", async () => {
  await warm();
  log.maxBatchBytes = 1000;

  const sent = await soon(
    producer.sendBatch(Array.from({ length: 200 }, (_, index) => ({ topic: "orders", value: `value ${index}` }))),
  );

  assert.deepEqual(
    log.values("orders-0").slice(1),
    Array.from({ length: 200 }, (_, index) => `value ${index}`),
  );
  assert.deepEqual(
    sent.map((metadata) => metadata.offset),
    Array.from({ length: 200 }, (_, index) => BigInt(index + 1)),
  );
});

test("the parts of a batch keep their order when one of them has to be sent again", async () => {
  await warm();
  log.maxBatchBytes = 1000;
  log.plan({ kind: "take" }, { kind: "cut" });
  const values = Array.from({ length: 200 }, (_, index) => `value ${index}`);

  await soon(producer.sendBatch(values.map((value) => ({ topic: "orders", value }))));

  assert.deepEqual(log.values("orders-0").slice(1), values);
});

test("one record that the broker finds too large is refused", async () => {
  await warm();
  log.maxBatchBytes = 1000;

  await assertFailure(producer.send({ topic: "orders", value: "x".repeat(2000) }), "MESSAGE_TOO_LARGE", "no");
});

test("a broker that never answers: deadlines hold, and the outcome is told as unknown", async () => {
  await warm({ deliveryTimeoutMs: 5000, requestTimeoutMs: 2000 });
  log.plan(...Array.from({ length: 50 }, () => ({ kind: "hold" }) as const));
  const startMs = clock.nowMs();

  const sent = sendAll(1);
  await assertFailure(sent[0] ?? Promise.resolve(), "DELIVERY_TIMEOUT", "maybe");

  assert.ok(clock.nowMs() - startMs <= 5100, `took ${clock.nowMs() - startMs} ms`);
});

test("a broker that is away: a record that never left is surely not in the log", async () => {
  await warm({ deliveryTimeoutMs: 5000, requestTimeoutMs: 2000 });
  await broker.close();
  await clock.advance(10);

  await assertFailure(producer.send({ topic: "orders", value: "v" }), "DELIVERY_TIMEOUT", "no");
});

test("with a circuit breaker, sends to a broker that is away fail at once, and go through when it is back", async () => {
  await warm({ circuitBreaker: { failureThreshold: 2, recoveryTimeoutMs: 5000 } });
  log.plan({ kind: "cut" }, { kind: "cut" });
  const waiting = sendAll(1, () => "waiting");
  await clock.advance(150);

  await assertFailure(producer.send({ topic: "orders", value: "refused" }), "CIRCUIT_OPEN", "no");
  await soon(Promise.all(waiting));
  await soon(Promise.all(sendAll(1, () => "back")));

  assert.deepEqual(log.values("orders-0"), ["first", "waiting", "back"]);
});

test("until a circuit has closed again, one request at a time goes to find out", async () => {
  serveTopic(2);
  await warm({ circuitBreaker: { failureThreshold: 1, recoveryTimeoutMs: 1000 } });
  log.plan({ kind: "cut" }, { kind: "hold" });
  const probe = producer.send({ topic: "orders", partition: 0, value: "probe" });
  await clock.advance(2000);
  const requestCount = log.requests.length;
  const next = producer.send({ topic: "orders", partition: 1, value: "next" });
  await clock.advance(10);

  assert.equal(log.heldCount, 1);
  assert.equal(log.requests.length, requestCount);
  log.release();
  await soon(Promise.all([probe, next]));
});

test("a leader that moves takes the partition's records with it", async () => {
  const other = await ScriptedBroker.listen(network);
  log.serve(other);
  await warm();
  const nodes = [
    { nodeId: 1, address: broker.address },
    { nodeId: 2, address: other.address },
  ];
  broker.serveMetadata(nodes, { orders: [{ leaderId: 2, leaderEpoch: 5 }] });
  other.serveMetadata(nodes, { orders: [{ leaderId: 2, leaderEpoch: 5 }] });
  log.plan({ kind: "refuse", code: "NOT_LEADER_OR_FOLLOWER" });

  await soon(Promise.all(sendAll(5)));

  assert.deepEqual(log.values("orders-0"), ["first", "v0", "v1", "v2", "v3", "v4"]);
  assert.ok(other.received.some((request) => request.apiName === "Produce"));
  await other.close();
});

test("a refusal that names the new leader sends the records there, whatever old metadata says", async () => {
  const other = await ScriptedBroker.listen(network);
  log.serve(other);
  const nodes = [
    { nodeId: 1, address: broker.address },
    { nodeId: 2, address: other.address },
  ];
  broker.serveMetadata(nodes, { orders: [{ leaderId: 1, leaderEpoch: 3 }] });
  await warm();
  log.plan({ kind: "moved", leaderId: 2, leaderEpoch: 9, ...other.address });

  await soon(Promise.all(sendAll(5)));

  assert.deepEqual(log.values("orders-0"), ["first", "v0", "v1", "v2", "v3", "v4"]);
  assert.equal(other.countOf(produceApi), 1);
  await other.close();
});

test("no more than five batches of a partition are in flight, whatever maxInFlight says", async () => {
  await warm({ maxInFlight: 10 });
  log.plan(...Array.from({ length: 20 }, () => ({ kind: "hold" }) as const));

  const sent: Promise<unknown>[] = [];
  for (let turn = 0; turn < 12; turn++) {
    sent.push(...sendAll(1));
    await clock.advance(0);
  }
  await clock.advance(1);

  assert.equal(producer.metrics().inFlightRequests, 5);
  for (let round = 0; round < 20; round++) {
    log.release();
    await clock.advance(1);
  }
  await soon(Promise.all(sent));
});

test("a record that is given up in flight sets no more timers while its answer is out", {
  timeout: 10_000,
}, async () => {
  await warm({ maxInFlight: 1, requestTimeoutMs: 1000, deliveryTimeoutMs: 1000 });
  log.plan({ kind: "hold" }, { kind: "hold" });
  const [first] = sendAll(1);
  await clock.advance(1);
  const [second] = sendAll(1);
  await clock.advance(500);
  log.release();
  await first;

  await clock.advance(700);

  assert.ok(second !== undefined);
  await assertFailure(second, "DELIVERY_TIMEOUT", "maybe");
});

test("without the right to a producer id, a send fails at once with that error, and works again once it is given", async () => {
  create();
  let code: ErrorCode = "CLUSTER_AUTHORIZATION_FAILED";
  broker.on(initProducerIdApi, () => ({ errorCode: errorByCode(code).number, producerId: 7n, producerEpoch: 0 }));
  const startMs = clock.nowMs();

  await assertFailure(producer.send({ topic: "orders", value: "v" }), code, "no");
  await assertFailure(producer.send({ topic: "orders", value: "v" }), code, "no");
  assert.ok(clock.nowMs() - startMs < 1000);
  assert.ok(broker.countOf(initProducerIdApi) <= 1 + 2, "asked with the topic, and once a record");

  code = "NONE";
  await soon(producer.send({ topic: "orders", value: "through" }));
  assert.deepEqual(log.values("orders-0"), ["through"]);
});

test("when no other producer id may be had, only the partition that needs one fails", async () => {
  serveTopic(2);
  await warm({ partitionerType: "round_robin" });
  log.plan({ kind: "refuse", code: "INVALID_PRODUCER_EPOCH" });
  broker.on(initProducerIdApi, () => ({
    errorCode: errorByCode("CLUSTER_AUTHORIZATION_FAILED").number,
    producerId: -1n,
    producerEpoch: -1,
  }));

  await assertFailure(
    producer.send({ topic: "orders", partition: 0, value: "v" }),
    "CLUSTER_AUTHORIZATION_FAILED",
    "no",
  );
  await soon(producer.send({ topic: "orders", partition: 1, value: "v" }));
});

test("a delivery timeout says why nothing could be sent: no producer id", async () => {
  create({ deliveryTimeoutMs: 5000, requestTimeoutMs: 2000 });
  broker.on(initProducerIdApi, () => ({
    errorCode: errorByCode("COORDINATOR_LOAD_IN_PROGRESS").number,
    producerId: -1n,
    producerEpoch: -1,
  }));

  const error = await failureOf(producer.send({ topic: "orders", value: "v" }));

  assert.equal(error.code, "DELIVERY_TIMEOUT");
  assert.ok(error.cause instanceof KafkaError && error.cause.code === "COORDINATOR_LOAD_IN_PROGRESS");
});

test("a delivery timeout says why nothing could be sent: the broker is away, or the partition has no leader", async () => {
  await warm({ deliveryTimeoutMs: 5000, requestTimeoutMs: 2000, metadataMaxAgeMs: 1000 });
  broker.serveMetadata([{ nodeId: 1, address: broker.address }], { orders: [{ leaderId: -1, leaderEpoch: 1 }] });
  await clock.advance(2000);

  const leaderless = await failureOf(producer.send({ topic: "orders", value: "v" }));
  assert.ok(leaderless.cause instanceof KafkaError && leaderless.cause.code === "LEADER_NOT_AVAILABLE");

  broker.serveMetadata([{ nodeId: 1, address: broker.address }], { orders: [{ leaderId: 1, leaderEpoch: 2 }] });
  await clock.advance(2000);
  await broker.close();
  const away = await failureOf(producer.send({ topic: "orders", value: "v" }));
  assert.ok(away.cause instanceof KafkaError && away.cause.code === "CONNECTION_FAILED", String(away.cause));
});

for (const pauseMs of [10_000, 1_000_000]) {
  const name = pauseMs < 300_000 ? "all the time" : "rarely";
  test(`after an hour of sending ${name}, a partition is followed to its new leader`, async () => {
    const other = await ScriptedBroker.listen(network);
    log.serve(other);
    await warm();
    for (let elapsedMs = 0; elapsedMs < 3_600_000; elapsedMs += pauseMs) {
      await clock.advance(pauseMs);
      await soon(producer.send({ topic: "orders", value: "v" }));
    }
    await clock.advance(pauseMs);
    const nodes = [
      { nodeId: 1, address: broker.address },
      { nodeId: 2, address: other.address },
    ];
    for (const each of [broker, other]) each.serveMetadata(nodes, { orders: [{ leaderId: 2, leaderEpoch: 5 }] });
    log.plan({ kind: "refuse", code: "NOT_LEADER_OR_FOLLOWER" });
    const startMs = clock.nowMs();

    await soon(producer.send({ topic: "orders", value: "moved" }));

    assert.ok(clock.nowMs() - startMs < 2_000);
    assert.ok(other.countOf(produceApi) > 0, "the new leader was not asked");
    await other.close();
  });
}

test("a topic that was deleted is created again by what is sent to it, after a time in which brokers may just not know it", async () => {
  await warm();
  let isThere = false;
  const partitions = [
    { errorCode: 0, partitionIndex: 0, leaderId: 1, leaderEpoch: 0, replicaNodes: [1], isrNodes: [1] },
  ];
  broker.on(metadataApi, (request) => {
    if (request.allowAutoTopicCreation && (request.topics?.length ?? 0) > 0) isThere = true;
    return {
      brokers: [{ nodeId: 1, ...broker.address }],
      controllerId: 1,
      topics: [{ name: "orders", errorCode: isThere ? 0 : 3, partitions: isThere ? partitions : [] }],
    };
  });
  broker.on(produceApi, (request) => ({
    responses: request.topicData.map(({ name }) => ({
      name,
      partitionResponses: [{ index: 0, errorCode: isThere ? 0 : 3, baseOffset: 0n }],
    })),
  }));
  const startMs = clock.nowMs();

  const { offset } = await soon(producer.send({ topic: "orders", value: "v" }));

  assert.equal(offset, 0n);
  assert.ok(clock.nowMs() - startMs > 5_000 && clock.nowMs() - startMs < 60_000, `${clock.nowMs() - startMs} ms`);
});

test("a partition that the topic has got since is asked for and written to, behind what waits for it already", async () => {
  await warm();
  serveTopic(3);

  const sent = ["a", "b", "c"].map((value) => producer.send({ topic: "orders", partition: 2, value }));
  const other = producer.send({ topic: "orders", partition: 0, value: "other" });
  await soon(Promise.all([...sent, other]));

  assert.deepEqual(log.values("orders-2"), ["a", "b", "c"]);
  assert.deepEqual(log.values("orders-0"), ["first", "other"]);
});

test("a partition that is not there fails its record, and is not asked for over and over", async () => {
  await warm();
  let askedCount = 0;
  const partitions = [{ errorCode: 0, partitionIndex: 0, leaderId: 1, replicaNodes: [1], isrNodes: [1] }];
  broker.on(metadataApi, () => {
    askedCount += 1;
    return {
      brokers: [{ nodeId: 1, ...broker.address }],
      controllerId: 1,
      topics: [{ name: "orders", errorCode: 0, partitions }],
    };
  });

  for (let count = 0; count < 5; count++) {
    const sent = producer.send({ topic: "orders", partition: 7, value: "v" });
    await assertFailure(sent, "UNKNOWN_TOPIC_OR_PARTITION", "no");
  }
  const { offset } = await soon(producer.send({ topic: "orders", value: "good" }));

  assert.equal(offset, 1n);
  assert.equal(askedCount, 1);
});

for (const config of [{}, { enableIdempotence: false }, { compressionType: "gzip" }] satisfies ProducerConfig[]) {
  test(`a record that the broker refuses fails alone, and those around it are written in order: ${JSON.stringify(config)}`, async () => {
    await warm(config);
    log.isRefused = ({ value }) => value?.toString().startsWith("bad") === true;

    const sent = sendAll(6, (index) => (index % 3 === 1 ? `bad${index}` : `v${index}`));
    await clock.advance(0);
    const behind = sendAll(2, (index) => `behind${index}`);
    const results = await soon(Promise.allSettled([...sent, ...behind]));

    assert.deepEqual(
      results.map(({ status }) => status === "fulfilled"),
      [true, false, true, true, false, true, true, true],
    );
    const refused = await failureOf(sent[4] ?? Promise.resolve());
    assert.match(refused.message, /bad4 is not wanted/);
    assert.deepEqual([refused.code, refused.retriable, refused.persisted], ["INVALID_RECORD", false, "no"]);
    assert.deepEqual(log.values("orders-0"), ["first", "v0", "v2", "v3", "v5", "behind0", "behind1"]);
  });
}

test("a batch of nothing but refused records is not sent again", async () => {
  await warm();
  log.isRefused = ({ value }) => value?.toString() !== "first";

  const sent = sendAll(3);

  for (const promise of sent) await assertFailure(promise, "INVALID_RECORD", "no");
  assert.equal(log.requests.length, 2);
});
