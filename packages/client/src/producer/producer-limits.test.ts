import assert from "node:assert/strict";
import { test } from "node:test";
import { createDeferred } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { waitUntil } from "@millrace/testing";
import { FlushTimeoutError } from "../errors.ts";
import { sendRun } from "./producer.ts";
import {
  assertFailure,
  broker,
  clock,
  create,
  failureOf,
  inRealTime,
  log,
  producer,
  sendAll,
  serveTopic,
  soon,
  useProducerFixture,
  warm,
} from "./producer-fixture.test-support.ts";
import type { RunValues } from "./record-run.ts";

useProducerFixture();

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

test("a record larger than maxRequestSize is refused before it is buffered, with both sizes", async () => {
  await warm({ maxRequestSize: 2048 });

  const error = await failureOf(producer.send({ topic: "orders", value: "x".repeat(3000) }));

  assert.equal(error.code, "MESSAGE_TOO_LARGE");
  assert.match(error.message, /3\d\d\d bytes; maxRequestSize is 2048/);
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

test("a run of values is stored in order and told by slot, through batches that fill and a buffer without room", async () => {
  await warm({ bufferMemory: 32 * 1024, batchSize: 4096, maxInFlight: 1 });
  const stored = new Map<number, string>();
  const all = createDeferred<void>();
  const texts = Array.from({ length: 300 }, (_, index) => `${index} ${"x".repeat(index)}`);
  log.plan({ kind: "hold" });

  void sendRun(producer, {
    topic: "orders",
    recordCount: texts.length,
    partitionCount: 1,
    compressionType: "none",
    partitioner: null,
    completion: {
      succeed({ partition, baseOffset }, place, slot) {
        stored.set(slot, `${partition}@${baseOffset + BigInt(place)}`);
        if (stored.size === texts.length) all.resolve();
      },
      fail: (error) => all.reject(error),
    },
    values: slicesOf(texts),
    fill(index, record) {
      record.value = Buffer.from(texts[index] ?? "");
      return true;
    },
  });
  await clock.advance(1);
  assert.ok(producer.metrics().waitingRecords > 0);
  log.release();
  await soon(all.promise);

  const found = log.values("orders-0").slice(1);
  assert.deepEqual(found, texts);
  assert.deepEqual(
    [...stored].sort(([a], [b]) => a - b),
    texts.map((_, index) => [index, `0@${index + 1}`]),
  );
  assert.equal(producer.metrics().bufferBytes, 0);
});

/** With a byte between one and the next. */
function slicesOf(texts: readonly string[]): RunValues {
  const ends: number[] = [];
  const starts = texts.map(({ length }, index) => {
    const start = index === 0 ? 0 : (ends[index - 1] ?? 0) + 1;
    ends.push(start + length);
    return start;
  });
  return { bytes: Buffer.from(texts.join("|")), starts, ends, timestampMs: 0 };
}

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

  assert.ok(error instanceof FlushTimeoutError);
  assert.deepEqual([error.code, error.recordCount], ["TIMED_OUT", 3]);
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

test("close waits for no topic whose records were thrown away", async () => {
  create();
  broker.serveMetadata([{ nodeId: 1, address: broker.address }], {});
  const sent = Promise.allSettled(sendAll(1));
  await clock.advance(1000);
  producer.purge();
  await sent;
  const startMs = clock.nowMs();

  await soon(producer.close());

  assert.ok(clock.nowMs() - startMs < 1000, `${clock.nowMs() - startMs} ms`);
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

test("a record given to produce is taken back by its signal too, before and after it was buffered", async () => {
  await warm({ maxInFlight: 1 });
  log.plan({ kind: "hold" });
  const sent = sendAll(1, () => "in flight");
  await clock.advance(1);
  const abort = new AbortController();

  const delivery = await soon(producer.produce({ topic: "orders", value: "taken back" }, { signal: abort.signal }));
  abort.abort();
  await assertFailure(delivery.acknowledged, "ABORTED", "no");
  await assertFailure(producer.produce({ topic: "orders", value: "v" }, { signal: abort.signal }), "ABORTED", "no");
  log.release();
  await soon(Promise.all(sent));

  assert.deepEqual(log.values("orders-0"), ["first", "in flight"]);
});

test("a flush ends when its time is up or its signal says so, and what is under way goes on", async () => {
  await warm();
  log.plan({ kind: "hold" });
  const sent = sendAll(3);
  await clock.advance(1);

  const timedOut = await failureOf(producer.flush({ timeoutMs: 100 }));
  assert.ok(timedOut instanceof FlushTimeoutError && timedOut.recordCount === 3);
  await assertFailure(producer.flush({ signal: AbortSignal.abort() }), "ABORTED", "maybe");
  const abort = new AbortController();
  const flushed = assertFailure(producer.flush({ signal: abort.signal }), "ABORTED", "maybe");
  abort.abort();
  await flushed;

  log.release();
  await soon(Promise.all(sent));
});

test("the failure of a delivery that nobody looks at, and of a send with onError, is no unhandled rejection", async () => {
  await warm();
  log.plan(
    { kind: "refuse", code: "TOPIC_AUTHORIZATION_FAILED" },
    { kind: "refuse", code: "TOPIC_AUTHORIZATION_FAILED" },
  );
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown) => unhandled.push(reason);
  process.on("unhandledRejection", onUnhandled);

  const delivery = await soon(producer.produce({ topic: "orders", value: "v" }));
  void producer.send({ topic: "orders", value: "v" }, { onError: () => {} });
  await soon(producer.flush());
  await new Promise((resolve) => setImmediate(resolve));

  process.off("unhandledRejection", onUnhandled);
  assert.equal(delivery.status, "failed");
  assert.deepEqual(unhandled, []);
});
