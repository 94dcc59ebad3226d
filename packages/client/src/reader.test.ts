import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { InProcessNetwork, SeededRandom, VirtualClock } from "@millrace/base";
import { fetchApi, listOffsetsApi } from "@millrace/protocol";
import { recordBatch, rejectionOf, ScriptedBroker, type TestBatchOptions, transactionMarker } from "@millrace/testing";
import { Reader, type ReaderConfig } from "./reader.ts";

const NOT_LEADER = 6;
const OFFSET_OUT_OF_RANGE = 1;
const ABORTED_PRODUCER = { producerId: 7n, producerEpoch: 0, baseSequence: 0 };
const OTHER_PRODUCER = { producerId: 8n, producerEpoch: 0, baseSequence: 0 };

const network = new InProcessNetwork();
let clock: VirtualClock;
let broker: ScriptedBroker;
let reader: Reader | null;
/** What the broker has of orders-0. */
let log: { readonly end: bigint; readonly bytes: Buffer }[];
let aborted: { producerId: bigint; firstOffset: bigint }[];

beforeEach(async () => {
  clock = new VirtualClock();
  reader = null;
  log = [];
  aborted = [];
  broker = await ScriptedBroker.listen(network);
  broker.serveMetadata([{ nodeId: 1, address: broker.address }], { orders: [{ leaderId: 1, leaderEpoch: 3 }] });
  broker.on(listOffsetsApi, (request) => {
    const timestamp = request.topics[0]?.partitions[0]?.timestamp ?? 0n;
    const offset = timestamp === -1n ? logEnd() : timestamp === -2n ? 0n : timestamp > 5000n ? -1n : 2n;
    return {
      topics: [
        { name: "orders", partitions: [{ partitionIndex: 0, errorCode: 0, offset, timestamp, leaderEpoch: 3 }] },
      ],
    };
  });
  serveFetch();
});

afterEach(async () => {
  await reader?.close();
  await broker.close();
});

/** Answers Fetch from the log, after maxWaitMs if there is nothing. */
function serveFetch(): void {
  broker.on(fetchApi, async (request) => {
    const position = request.topics[0]?.partitions[0]?.fetchOffset ?? 0n;
    const batches = () => log.filter((batch) => batch.end > position).map((batch) => batch.bytes);
    if (batches().length === 0) await new Promise<void>((resolve) => clock.schedule(request.maxWaitMs, resolve));
    return fetched({ highWatermark: logEnd(), records: batches(), abortedTransactions: aborted });
  });
}

function fetched(partition: {
  readonly errorCode?: number;
  readonly highWatermark?: bigint;
  readonly records?: readonly Buffer[];
  readonly abortedTransactions?: typeof aborted;
}) {
  const defaults = { partitionIndex: 0, errorCode: 0, highWatermark: -1n, abortedTransactions: null, records: [] };
  return { responses: [{ topic: "orders", partitions: [{ ...defaults, ...partition }] }] };
}

function logEnd(): bigint {
  return log.at(-1)?.end ?? 0n;
}

function add(values: readonly string[], options: Partial<TestBatchOptions> = {}): void {
  const baseOffset = options.baseOffset ?? logEnd();
  const bytes = recordBatch(
    values.map((value) => ({ value })),
    { ...options, baseOffset },
  );
  log.push({ end: baseOffset + BigInt((options.lastOffsetDelta ?? values.length - 1) + 1), bytes });
}

function addMarker(type: "abort" | "commit", stamp: NonNullable<TestBatchOptions["stamp"]>): void {
  const baseOffset = logEnd();
  log.push({ end: baseOffset + 1n, bytes: transactionMarker(type, { baseOffset, stamp }) });
}

function open(config: Partial<ReaderConfig> = {}): Reader {
  reader = new Reader({
    topic: "orders",
    bootstrapServers: broker.server,
    network,
    clock,
    random: new SeededRandom(1),
    ...config,
  });
  return reader;
}

function run<T>(promise: Promise<T>): Promise<T> {
  return clock.runUntil(promise, 300_000);
}

async function read(from: Reader): Promise<[bigint, string | undefined][]> {
  const records = await run(from.read());
  return records.map((record) => [record.offset, record.value?.toString()]);
}

test("records come in order, batch after batch, as they were sent", async () => {
  add(["a", "b"]);
  add(["c"], { compression: "gzip" });

  const orders = open();

  assert.deepEqual(await read(orders), [
    [0n, "a"],
    [1n, "b"],
    [2n, "c"],
  ]);
  assert.equal(orders.position, 3n);
  assert.equal(orders.highWatermark, 3n);
});

test("a read with nothing to come gives an empty list after maxWaitMs", async () => {
  const orders = open({ maxWaitMs: 200 });
  const startMs = clock.nowMs();

  assert.deepEqual(await read(orders), []);

  assert.equal(clock.nowMs() - startMs, 200);
});

for (const [name, from, expected] of [
  ["an offset inside a batch", 1n, ["b", "c"]],
  ["the earliest", "earliest", ["a", "b", "c"]],
  ["the latest", "latest", []],
  ["a time", new Date(4000), ["c"]],
  ["a time after the last record: the end", new Date(9000), []],
] as const) {
  test(`reading begins at ${name}`, async () => {
    add(["a", "b", "c"]);

    const records = await read(open({ from }));

    assert.deepEqual(
      records.map(([, value]) => value),
      expected,
    );
  });
}

test("the position goes beyond what compaction has taken out of a batch", async () => {
  add(["a"], { lastOffsetDelta: 9 });
  add(["b"]);

  const orders = open();

  assert.deepEqual(await read(orders), [
    [0n, "a"],
    [10n, "b"],
  ]);
  assert.equal(orders.position, 11n);
});

test("markers of transactions are never records", async () => {
  add(["a"], { isTransactional: true, stamp: OTHER_PRODUCER });
  addMarker("commit", OTHER_PRODUCER);

  const orders = open();

  assert.deepEqual(await read(orders), [[0n, "a"]]);
  assert.equal(orders.position, 2n);
});

test("a reader of committed records sees none of an aborted transaction, and all of the others", async () => {
  add(["before"]);
  add(["aborted"], { isTransactional: true, stamp: ABORTED_PRODUCER });
  add(["committed"], { isTransactional: true, stamp: OTHER_PRODUCER });
  addMarker("abort", ABORTED_PRODUCER);
  addMarker("commit", OTHER_PRODUCER);
  add(["next"], { isTransactional: true, stamp: ABORTED_PRODUCER });
  aborted = [{ producerId: 7n, firstOffset: 1n }];

  const values = async (isolationLevel: "read_committed" | "read_uncommitted") => {
    const records = await read(open({ isolationLevel }));
    await reader?.close();
    return records.map(([, value]) => value);
  };

  assert.deepEqual(await values("read_committed"), ["before", "committed", "next"]);
  assert.deepEqual(await values("read_uncommitted"), ["before", "aborted", "committed", "next"]);
});

test("a batch whose checksum is wrong is an error, and the position stays before it", async () => {
  add(["a"]);
  const bytes = log[0]?.bytes;
  assert.ok(bytes !== undefined);
  bytes[bytes.length - 2] = 0x7a;
  const orders = open({ from: 0n });

  const error = await rejectionOf(run(orders.read()));

  assert.equal(error.code, "CORRUPT_MESSAGE");
  assert.equal(error.retriable, false);
  assert.match(error.message, /orders-0: checksum of the record batch at offset 0/);
  assert.equal(orders.position, 0n);
});

test("a batch that decompresses to more than maxBatchBytes is an error", async () => {
  add(["x".repeat(100_000)], { compression: "gzip" });

  const error = await rejectionOf(run(open({ maxBatchBytes: 1000 }).read()));

  assert.equal(error.code, "MESSAGE_TOO_LARGE");
});

test("an offset that is not in the log says which are", async () => {
  add(["a", "b"]);
  broker.on(fetchApi, () => fetched({ errorCode: OFFSET_OUT_OF_RANGE }));

  const error = await rejectionOf(run(open({ from: 77n }).read()));

  assert.equal(error.code, "OFFSET_OUT_OF_RANGE");
  assert.match(error.message, /offset 77 is not in the log, which has 0 up to 2/);
});

test("an unknown topic, and a partition that the topic has not, are errors at once", async () => {
  const topic = await rejectionOf(run(open({ topic: "nope" }).read()));
  await reader?.close();
  const partition = await rejectionOf(run(open({ partition: 4 }).read()));

  assert.equal(topic.code, "UNKNOWN_TOPIC_OR_PARTITION");
  assert.equal(partition.code, "UNKNOWN_TOPIC_OR_PARTITION");
  assert.match(partition.message, /orders-4.*it has 1 partitions/);
  assert.equal(clock.nowMs(), 0);
});

test("a reader follows its partition to a new leader", async () => {
  add(["a"]);
  const orders = open();
  await read(orders);
  const next = await ScriptedBroker.listen(network);
  next.on(fetchApi, () => fetched({ highWatermark: 2n, records: [recordBatch([{ value: "b" }], { baseOffset: 1n })] }));
  const nodes = [
    { nodeId: 1, address: broker.address },
    { nodeId: 2, address: next.address },
  ];
  for (const one of [broker, next]) one.serveMetadata(nodes, { orders: [{ leaderId: 2, leaderEpoch: 4 }] });
  broker.on(fetchApi, () => fetched({ errorCode: NOT_LEADER }));

  assert.deepEqual(await read(orders), [[1n, "b"]]);

  await next.close();
});

test("a reader outlives its broker's restart, and gives up after apiTimeoutMs", async () => {
  add(["a"]);
  const orders = open({ apiTimeoutMs: 5_000 });
  await read(orders);
  const { address } = broker;
  await broker.close();

  const error = await rejectionOf(run(orders.read()));
  assert.equal(error.code, "CONNECTION_FAILED");
  assert.ok(clock.nowMs() > 3_000 && clock.nowMs() < 7_000, `gave up after ${clock.nowMs()} ms`);

  const pending = orders.read();
  await clock.advance(1_000);
  broker = await ScriptedBroker.listen(network, address);
  broker.serveMetadata([{ nodeId: 1, address }], { orders: [{ leaderId: 1, leaderEpoch: 4 }] });
  add(["b"]);
  serveFetch();
  const records = await run(pending);

  assert.deepEqual(
    records.map((record) => record.value?.toString()),
    ["b"],
  );
});

test("close ends a read that waits, at once", async () => {
  const orders = open({ maxWaitMs: 60_000 });
  const pending = rejectionOf(run(orders.read()));
  await clock.advance(1_000);

  await orders.close();
  await orders.close();

  assert.equal((await pending).code, "CLOSED");
  assert.equal((await rejectionOf(run(orders.read()))).code, "CLOSED");
  assert.equal(clock.nowMs(), 1_000);
});

test("close ends a read that is about to try again, and leaves no timer", async () => {
  await broker.close();
  const orders = open({
    reconnectBackoffMs: 60_000,
    reconnectBackoffMaxMs: 60_000,
    retryBackoffMs: 60_000,
    retryBackoffMaxMs: 60_000,
    apiTimeoutMs: 600_000,
  });
  const pending = rejectionOf(run(orders.read()));
  await clock.advance(1_000);

  await orders.close();

  assert.equal((await pending).code, "CLOSED");
  assert.equal(clock.nowMs(), 1_000);
  assert.equal(clock.pendingCount, 0);
});

test("an aborted read leaves the position where it was, and the next read gives the records", async () => {
  add(["a"]);
  const orders = open({ from: 1n, maxWaitMs: 100 });
  const abort = new AbortController();
  const pending = orders.read({ signal: abort.signal });
  const outcome = pending.then(
    () => "read",
    (reason: unknown) => reason,
  );
  await clock.advance(10);

  abort.abort("enough");
  add(["b"]);

  assert.equal(await outcome, "enough");
  assert.equal(orders.position, 1n);
  assert.deepEqual(await read(orders), [[1n, "b"]]);
});

test("iteration gives record after record and ends with close", async () => {
  add(["a", "b"]);
  const orders = open();
  const values: string[] = [];

  const iteration = (async () => {
    for await (const record of orders) {
      values.push(String(record.value));
      if (values.length === 2) add(["c"]);
      if (values.length === 3) await orders.close();
    }
  })();
  await run(iteration);

  assert.deepEqual(values, ["a", "b", "c"]);
});

test("two reads at once give every record once", async () => {
  add(["a"]);
  const orders = open();

  const first = orders.read();
  const second = orders.read();
  await run(first);
  add(["b"]);
  const records = [...(await first), ...(await run(second))];

  assert.deepEqual(
    records.map((record) => record.value?.toString()),
    ["a", "b"],
  );
});
