import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { InProcessNetwork, SeededRandom, VirtualClock } from "@millrace/base";
import { type ErrorCode, KafkaError, type Persisted, produceApi } from "@millrace/protocol";
import { type Fault, ScriptedBroker, ScriptedLog, waitUntil } from "@millrace/testing";
import { DeliveryError, SendBatchError } from "../errors.ts";
import type { ProducerConfig } from "./options.ts";
import { Producer } from "./producer.ts";

/** Virtual time that no test reaches unless something hangs. */
const LIMIT_MS = 600_000;

let network: InProcessNetwork;
let clock: VirtualClock;
let broker: ScriptedBroker;
let log: ScriptedLog;
let producer: Producer;

beforeEach(async () => {
  network = new InProcessNetwork();
  clock = new VirtualClock();
  broker = await ScriptedBroker.listen(network);
  log = new ScriptedLog().serve(broker);
  serveTopic(1);
});

afterEach(async () => {
  log.release();
  await clock.runUntil(
    producer.close({ timeoutMs: 1 }).catch(() => {}),
    LIMIT_MS,
  );
  await broker.close();
});

function serveTopic(partitionCount: number): void {
  const partitions = Array.from({ length: partitionCount }, () => ({ leaderId: 1 }));
  broker.serveMetadata([{ nodeId: 1, address: broker.address }], { orders: partitions });
}

function create(config: ProducerConfig = {}): Producer {
  producer = new Producer({
    bootstrapServers: broker.server,
    network,
    clock,
    random: new SeededRandom(1),
    ...config,
  });
  return producer;
}

/** The promise's value, with virtual time running until it is there. */
function soon<T>(promise: Promise<T>): Promise<T> {
  return clock.runUntil(promise, LIMIT_MS);
}

/** As `soon`, where real time has to pass as well: while a codec is being loaded. */
async function inRealTime<T>(promise: Promise<T>): Promise<T> {
  let isSettled = false;
  const settled = () => {
    isSettled = true;
  };
  promise.then(settled, settled);
  await waitUntil("the promise settles", async () => {
    await clock.advance(1);
    return isSettled;
  });
  return promise;
}

/** A test looks at the promises when it is ready to: until then a rejection is not unhandled. */
function sendAll(count: number, value = (index: number) => `v${index}`): Promise<unknown>[] {
  return Array.from({ length: count }, (_, index) => {
    const sent = producer.send({ topic: "orders", value: value(index) });
    sent.catch(() => {});
    return sent;
  });
}

/** A producer whose connection, metadata and producer id are there, with one record, "first", acknowledged. */
async function warm(config: ProducerConfig = {}): Promise<void> {
  create(config);
  await soon(producer.send({ topic: "orders", value: "first" }));
}

async function failureOf(promise: Promise<unknown>): Promise<KafkaError> {
  const error = await soon(
    promise.then(
      () => assert.fail("expected a rejection"),
      (reason: unknown) => reason,
    ),
  );
  assert.ok(error instanceof KafkaError, `expected a KafkaError, found ${String(error)}`);
  return error;
}

async function assertFailure(promise: Promise<unknown>, code: ErrorCode, persisted: Persisted): Promise<void> {
  const error = await failureOf(promise);
  assert.equal(error.code, code, error.message);
  assert.equal(error.persisted, persisted, error.message);
}

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

test("a record that is still being serialized when close has given up is told so", async () => {
  await warm({
    valueSerializer: async (value: string) => {
      if (value === "slow") await new Promise<void>((resolve) => clock.schedule(1000, resolve));
      return value;
    },
  });

  const sent = producer.send({ topic: "orders", value: "slow" });
  const closed = failureOf(producer.close({ timeoutMs: 10 }));

  await assertFailure(sent, "CLOSED", "no");
  assert.match((await closed).message, /1 record/);
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

test("a record larger than maxRequestSize is refused before it is buffered, with both sizes", async () => {
  await warm({ maxRequestSize: 2048 });

  const error = await failureOf(producer.send({ topic: "orders", value: "x".repeat(3000) }));

  assert.equal(error.code, "MESSAGE_TOO_LARGE");
  assert.match(error.message, /3\d\d\d bytes; maxRequestSize is 2048/);
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

test("when bufferMemory is full, sends wait first come, first served", async () => {
  await warm({ bufferMemory: 32 * 1024, maxInFlight: 1 });
  log.plan({ kind: "hold" });

  const sent = sendAll(40, (index) => `${index} ${"x".repeat(1000)}`);
  await clock.advance(1);
  assert.ok(producer.metrics().waitingRecords > 0);
  assert.ok(producer.metrics().bufferBytes <= 32 * 1024);
  assert.equal(producer.trySend({ topic: "orders", value: "no room" }), null);
  log.release();
  await soon(Promise.all(sent));

  assert.deepEqual(
    log
      .values("orders-0")
      .slice(1)
      .map((value) => Number.parseInt(value, 10)),
    Array.from({ length: 40 }, (_, index) => index),
  );
  assert.equal(producer.metrics().bufferBytes, 0);
});

test("who waits longer than maxBlockMs for room is told that the buffer is full", async () => {
  await warm({ bufferMemory: 32 * 1024, maxBlockMs: 100, maxInFlight: 1 });
  log.plan({ kind: "hold" });

  const sent = sendAll(60, () => "x".repeat(1000));
  const outcomes = Promise.allSettled(sent);
  await clock.advance(200);
  log.release();
  const results = await soon(outcomes);

  const errors = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
  assert.ok(errors.length > 0 && errors.length < 60);
  assert.ok(errors.every((error) => error instanceof KafkaError && error.code === "BUFFER_EXHAUSTED"));
});

test("those who wait for room are bounded too: beyond that, a send is told at once that the buffer is full", async () => {
  await warm({ bufferMemory: 32 * 1024, maxInFlight: 1 });
  log.plan({ kind: "hold" });
  const startMs = clock.nowMs();

  const sent = sendAll(2000, () => "x".repeat(1000));
  const outcomes = Promise.allSettled(sent);
  await assertFailure(sent.at(-1) ?? Promise.resolve(), "BUFFER_EXHAUSTED", "no");

  assert.ok(clock.nowMs() - startMs < 10);
  assert.ok(producer.metrics().waitingRecords < 1000);
  log.release();
  await soon(outcomes);
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

test("after close nothing is taken, and a second close is the same promise", async () => {
  await warm();

  const closing = producer.close();
  assert.equal(producer.close(), closing);
  await soon(closing);

  await assertFailure(producer.send({ topic: "orders", value: "v" }), "CLOSED", "no");
});

test("close sends what is buffered first", async () => {
  await warm({ lingerMs: 1000 });

  const sent = sendAll(3);
  await soon(producer.close());

  await Promise.all(sent);
  assert.equal(log.values("orders-0").length, 4);
});

test("close past its timeout says how many it gave up, and tells each of them", async () => {
  await warm();
  log.plan({ kind: "hold" });
  const sent = Promise.allSettled(sendAll(3));
  await clock.advance(1);

  const error = await failureOf(producer.close({ timeoutMs: 500 }));

  assert.equal(error.code, "TIMED_OUT");
  assert.match(error.message, /3 records/);
  for (const result of await soon(sent)) {
    assert.ok(result.status === "rejected" && result.reason instanceof KafkaError);
    assert.deepEqual([result.reason.code, result.reason.persisted], ["CLOSED", "maybe"]);
  }
});

test("purge throws away what has not left", async () => {
  await warm({ lingerMs: 1000 });

  const sent = Promise.allSettled(sendAll(3));
  assert.equal(producer.purge(), 3);

  for (const result of await soon(sent)) {
    assert.ok(result.status === "rejected" && result.reason instanceof KafkaError);
    assert.deepEqual([result.reason.code, result.reason.persisted], ["PURGED", "no"]);
  }
  await soon(Promise.all(sendAll(1)));
});

test("the memory of what was thrown away while it was being compressed is not given to two batches", async () => {
  serveTopic(2);
  await warm({ compressionType: "gzip", batchSize: 512 * 1024 });
  const longValue = (letter: string) => letter.repeat(100_000);

  const purged = producer.send({ topic: "orders", partition: 0, value: longValue("a") });
  const refused = assert.rejects(purged, { code: "PURGED", persisted: "no" });
  void producer.flush();
  await waitUntil("the batch is sealed", () => producer.createBatchesPreview().some(({ state }) => state === "sealed"));
  producer.purge();
  await refused;
  // The result of the compression that nobody waits for any more comes in real time.
  await inRealTime(producer.send({ topic: "orders", partition: 1, value: longValue("b") }));
  await inRealTime(
    Promise.all([
      producer.send({ topic: "orders", partition: 0, value: longValue("c") }),
      producer.send({ topic: "orders", partition: 1, value: longValue("d") }),
    ]),
  );

  const letters = ["orders-0", "orders-1"].map((partition) => log.values(partition).map((value) => value.charAt(0)));
  assert.deepEqual(letters.flat().sort(), ["b", "c", "d", "f"]);
  assert.ok(log.values("orders-0").includes(longValue("c")));
  assert.equal(producer.metrics().bufferBytes, 0);
});

test("a record is taken back by its signal before it leaves, and its neighbours are not", async () => {
  await warm({ maxInFlight: 1 });
  log.plan({ kind: "hold" });
  const abort = new AbortController();

  const sent = sendAll(1, () => "in flight");
  await clock.advance(1);
  sent.push(...sendAll(1, () => "before"));
  const taken = producer.send({ topic: "orders", value: "taken back" }, { signal: abort.signal });
  sent.push(...sendAll(1, () => "after"));
  abort.abort();
  await assertFailure(taken, "ABORTED", "no");
  log.release();
  await soon(Promise.all(sent));

  assert.deepEqual(log.values("orders-0"), ["first", "in flight", "before", "after"]);
  await soon(producer.flush());
  assert.equal(producer.metrics().bufferBytes, 0);
});

test("a record taken back while its batch lingers does not keep its neighbours from leaving", async () => {
  await warm({ lingerMs: 100 });
  const abort = new AbortController();

  const sent = sendAll(1, () => "before");
  const taken = producer.send({ topic: "orders", value: "taken back" }, { signal: abort.signal });
  abort.abort();
  await assertFailure(taken, "ABORTED", "no");
  await clock.advance(1_000);

  assert.deepEqual(log.values("orders-0"), ["first", "before"]);
  await soon(Promise.all(sent));
});

test("a record that is on its way is not taken back: its outcome is told as it is", async () => {
  await warm();
  log.plan({ kind: "hold" });
  const abort = new AbortController();

  const sent = producer.send({ topic: "orders", value: "v" }, { signal: abort.signal });
  await clock.advance(1);
  abort.abort();
  log.release();

  assert.equal((await soon(sent)).offset, 1n);
});

test("a batch whose records were all taken back is never sent", async () => {
  await warm({ lingerMs: 100 });
  const abort = new AbortController();
  const requestCount = log.requests.length;

  const taken = producer.send({ topic: "orders", value: "v" }, { signal: abort.signal });
  abort.abort();
  await assertFailure(taken, "ABORTED", "no");
  await soon(producer.flush());

  assert.equal(log.requests.length, requestCount);
  assert.equal(producer.metrics().bufferBytes, 0);
});

test("a signal that was aborted before refuses the record", async () => {
  create();
  await assertFailure(producer.send({ topic: "orders", value: "v" }, { signal: AbortSignal.abort() }), "ABORTED", "no");
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

test("batches of a topic that compresses well are filled for the size they will have", async () => {
  await warm({ compressionType: "gzip", batchSize: 4096, maxInFlight: 1 });

  for (let round = 0; round < 60; round++) await soon(Promise.all(sendAll(100, () => "the same again ".repeat(10))));

  const largest = Math.max(...log.requests.flat().map(({ recordCount }) => recordCount));
  assert.ok(largest * 150 > 3 * 4096, `at most ${largest} records of 150 bytes were in a batch`);
  assert.equal(producer.metrics().bufferBytes, 0);
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

test("options that contradict each other are refused by name", () => {
  create();
  assert.throws(() => new Producer({ acks: 1, enableIdempotence: true }), /enableIdempotence needs acks=all/);
  assert.throws(() => new Producer({ lingerMs: -1 }), /lingerMs is -1; it must be/);
  assert.throws(
    () => new Producer({ batchsize: 1 } as ProducerConfig),
    /no option batchsize; did you mean batchSize\?/,
  );
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

test("close in the middle of a backoff leaves no timer behind", async () => {
  await warm({ retryBackoffMs: 1000 });
  log.plan({ kind: "refuse", code: "NOT_ENOUGH_REPLICAS" });
  const [sent] = sendAll(1);
  await clock.advance(10);

  const closed = producer.close({ timeoutMs: 0 });
  closed.catch(() => {});
  await clock.advance(1);

  await assert.rejects(closed);
  assert.ok(sent !== undefined);
  await assertFailure(sent, "CLOSED", "no");
  assert.equal(clock.pendingCount, 0);
});
