import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createDeferred, DAY_MS, MemoryFileSystem } from "@millrace/base";
import {
  createTopicsApi,
  errorByNumber,
  loadCodec,
  metadataApi,
  NO_PRODUCER,
  produceApi,
  Writer,
} from "@millrace/protocol";
import { FaultyFileSystem, recordBatch, type StartedBroker, startBroker, WireClient } from "@millrace/testing";

const VERSION = 9;

let started: StartedBroker;
let client: WireClient;

before(async () => {
  started = await startBroker();
  client = await WireClient.connect(started.broker.address);
  const configs = [{ name: "max.message.bytes", value: "1000" }];
  const topics = [
    { name: "t", numPartitions: 2, replicationFactor: 1, assignments: [], configs: [] },
    { name: "small", numPartitions: 1, replicationFactor: 1, assignments: [], configs },
  ];
  await client.request(createTopicsApi, 7, { topics });
});
after(async () => {
  client.close();
  await started.close();
});

const batchOf = (...values: string[]) =>
  recordBatch(
    values.map((value) => ({ value })),
    { baseOffset: 0n },
  );

interface Produced {
  readonly name?: string;
  readonly partitions: readonly { readonly index: number; readonly batch: Buffer | null }[];
  readonly acks?: number;
  readonly transactionalId?: string | null;
}

async function produce({ name = "t", partitions, acks = -1, transactionalId = null }: Produced, version = VERSION) {
  const partitionData = partitions.map(({ index, batch }) => ({ index, records: batch === null ? null : [batch] }));
  const request = { transactionalId, acks, timeoutMs: 1000, topicData: [{ name, partitionData }] };
  const { responses } = await client.request(produceApi, version, request);
  return (responses[0]?.partitionResponses ?? []).map(({ errorCode, baseOffset }) => ({
    error: errorByNumber(errorCode).code,
    baseOffset,
  }));
}

test("each partition of a request has its own result", async () => {
  const results = await produce({
    partitions: [
      { index: 0, batch: batchOf("a", "b") },
      { index: 7, batch: batchOf("c") },
      { index: 1, batch: batchOf("d") },
    ],
  });

  assert.deepEqual(
    results.map(({ error }) => error),
    ["NONE", "UNKNOWN_TOPIC_OR_PARTITION", "NONE"],
  );
  assert.equal(results[0]?.baseOffset, 0n);
});

test("acks=all is answered after its records are synced, and acks=1 does not wait for that", async () => {
  const disk = new FaultyFileSystem(new MemoryFileSystem());
  await using own = await startBroker({ dataDir: "/data", fileSystem: disk });
  using ownClient = await WireClient.connect(own.broker.address);
  const topic = { name: "t", numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] };
  await ownClient.request(createTopicsApi, 7, { topics: [topic] });
  const send = async (acks: number) => {
    const partitionData = [{ index: 0, records: [batchOf("v")] }];
    const request = { transactionalId: null, acks, timeoutMs: 1000, topicData: [{ name: "t", partitionData }] };
    await ownClient.request(produceApi, VERSION, request);
    events.push(`acks=${acks} is answered`);
  };
  const events: string[] = [];
  const { promise: released, resolve: release } = createDeferred<void>();
  disk.faults.onSync = async (path) => {
    if (!path.endsWith(".log")) return;
    await released;
    events.push("synced");
  };

  await send(1);
  const sent = send(-1);
  release();
  await sent;

  assert.equal(events[0], "acks=1 is answered");
  assert.equal(events.at(-1), "acks=-1 is answered");
  assert.ok(events.includes("synced"));
});

test("acks=1 is answered with offsets too", async () => {
  const [first] = await produce({ partitions: [{ index: 1, batch: batchOf("a") }], acks: 1 });
  const [second] = await produce({ partitions: [{ index: 1, batch: batchOf("b") }], acks: 1 });

  assert.equal((second?.baseOffset ?? 0n) - (first?.baseOffset ?? 0n), 1n);
});

test("the retry of an idempotent batch is answered with the offset it already has", async () => {
  const stamp = { producerId: 5000n, producerEpoch: 0, baseSequence: 0 };
  const batch = () => recordBatch([{ value: "once" }], { baseOffset: 0n, stamp });

  const [first] = await produce({ partitions: [{ index: 0, batch: batch() }] });
  const [retry] = await produce({ partitions: [{ index: 0, batch: batch() }] });
  const gap = recordBatch([{ value: "later" }], { baseOffset: 0n, stamp: { ...stamp, baseSequence: 9 } });
  const [outOfOrder] = await produce({ partitions: [{ index: 0, batch: gap }] });

  assert.equal(first?.error, "NONE");
  assert.deepEqual(retry, first);
  assert.equal(outOfOrder?.error, "OUT_OF_ORDER_SEQUENCE_NUMBER");
});

test("the records for which a batch is refused are named by their places", async () => {
  const configs = [{ name: "cleanup.policy", value: "compact" }];
  const topics = [{ name: "compacted", numPartitions: 1, replicationFactor: 1, assignments: [], configs }];
  await client.request(createTopicsApi, 7, { topics });
  const refusedPlaces = async (batch: Buffer) => {
    const topicData = [{ name: "compacted", partitionData: [{ index: 0, records: [batch] }] }];
    const request = { transactionalId: null, acks: -1, timeoutMs: 1000, topicData };
    const { responses } = await client.request(produceApi, VERSION, request);
    const [partition] = responses[0]?.partitionResponses ?? [];
    return {
      error: errorByNumber(partition?.errorCode ?? 0).code,
      places: partition?.recordErrors.map(({ batchIndex }) => batchIndex),
    };
  };
  const key = Buffer.from("k");
  const value = "v";
  const keyless = recordBatch([{ key, value }, { value }, { key, value }, { value }], { baseOffset: 0n });
  const timestamp = Date.now() + 365 * DAY_MS;
  const ahead = recordBatch(
    [
      { key, value },
      { key, value, timestamp },
    ],
    { baseOffset: 0n },
  );

  assert.deepEqual(await refusedPlaces(keyless), { error: "INVALID_RECORD", places: [1, 3] });
  assert.deepEqual(await refusedPlaces(ahead), { error: "INVALID_TIMESTAMP", places: [1] });
});

const damaged = batchOf("x");
damaged[damaged.length - 1] = (damaged[damaged.length - 1] ?? 0) ^ 1;

const refused: readonly (readonly [what: string, produced: Produced, error: string])[] = [
  [
    "a topic that is not there",
    { name: "no", partitions: [{ index: 0, batch: batchOf("x") }] },
    "UNKNOWN_TOPIC_OR_PARTITION",
  ],
  ["an acks of 2", { partitions: [{ index: 0, batch: batchOf("x") }], acks: 2 }, "INVALID_REQUIRED_ACKS"],
  ["no batch at all", { partitions: [{ index: 0, batch: null }] }, "INVALID_RECORD"],
  ["two batches", { partitions: [{ index: 0, batch: Buffer.concat([batchOf("x"), batchOf("y")]) }] }, "INVALID_RECORD"],
  ["a damaged batch", { partitions: [{ index: 0, batch: damaged }] }, "CORRUPT_MESSAGE"],
  [
    "a batch above the topic's limit",
    { name: "small", partitions: [{ index: 0, batch: batchOf("x".repeat(2000)) }] },
    "MESSAGE_TOO_LARGE",
  ],
  ["a transaction", { partitions: [{ index: 0, batch: batchOf("x") }], transactionalId: "tx" }, "INVALID_TXN_STATE"],
];

for (const [what, produced, error] of refused) {
  test(`${what} is refused with ${error}`, async () => {
    assert.deepEqual(
      (await produce(produced)).map((result) => result.error),
      [error],
    );
  });
}

test("nobody writes to the topic that groups are kept in", async () => {
  await client.request(metadataApi, 9, { topics: [{ name: "__consumer_offsets" }] });

  const [result] = await produce({ name: "__consumer_offsets", partitions: [{ index: 0, batch: batchOf("x") }] });

  assert.equal(result?.error, "INVALID_TOPIC_EXCEPTION");
});

test("zstd needs a version that old clients do not speak", async () => {
  await loadCodec("zstd");
  const batch = () => recordBatch([{ value: "x" }], { baseOffset: 0n, compression: "zstd", stamp: NO_PRODUCER });

  const [old] = await produce({ partitions: [{ index: 0, batch: batch() }] }, 6);
  const [current] = await produce({ partitions: [{ index: 0, batch: batch() }] }, 7);

  assert.equal(old?.error, "UNSUPPORTED_COMPRESSION_TYPE");
  assert.equal(current?.error, "NONE");
});

test("version 0, which is advertised for librdkafka's sake, is answered with UNSUPPORTED_VERSION", async () => {
  using raw = await WireClient.connect(started.broker.address);
  const writer = new Writer();
  writer.beginFrame();
  writer.int16(0); // Produce
  writer.int16(0); // v0
  writer.int32(1);
  writer.int16(-1);
  writer.int16(1); // acks
  writer.int32(1000);
  writer.int32(1);
  writer.int16(1);
  writer.utf8("t", 1);
  writer.int32(1);
  writer.int32(0);
  writer.int32(0);

  const frame = await raw.exchange(Buffer.concat(writer.finishFrame()));

  // Correlation id, one topic "t", one partition 0, then its error.
  assert.equal(frame.readInt16BE(4 + 4 + 3 + 4 + 4), 35);
});
