import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  createTopicsApi,
  deleteTopicsApi,
  errorByNumber,
  fetchApi,
  metadataApi,
  NIL_UUID,
  produceApi,
  readRecords,
  splitBatches,
} from "@millrace/protocol";
import { recordBatch, type StartedBroker, startBroker, WireClient } from "@millrace/testing";

const VERSION = 11;
const LONG_WAIT_MS = 30_000;

let started: StartedBroker;
let client: WireClient;
let topicCount = 0;

before(async () => {
  started = await startBroker();
  client = await WireClient.connect(started.broker.address);
});
after(async () => {
  client.close();
  await started.close();
});

async function newTopic(numPartitions = 1): Promise<{ name: string; topicId: string }> {
  const name = `t${topicCount++}`;
  const topic = { name, numPartitions, replicationFactor: 1, assignments: [], configs: [] };
  const { topics } = await client.request(createTopicsApi, 7, { topics: [topic] });
  return { name, topicId: topics[0]?.topicId ?? "" };
}

async function produce(name: string, partition: number, ...values: string[]): Promise<void> {
  const batch = recordBatch(
    values.map((value) => ({ value })),
    { baseOffset: 0n },
  );
  const topicData = [{ name, partitionData: [{ index: partition, records: [batch] }] }];
  await client.request(produceApi, 9, { acks: -1, timeoutMs: 1000, topicData });
}

interface Asked {
  readonly partition?: number;
  readonly fetchOffset?: bigint;
  readonly currentLeaderEpoch?: number;
  readonly partitionMaxBytes?: number;
}

function requestOf(
  topic: { topic: string } | { topicId: string },
  asked: readonly Asked[],
  maxWaitMs = 0,
  minBytes = 1,
) {
  const partitions = asked.map((one) => ({ partition: 0, fetchOffset: 0n, partitionMaxBytes: 1 << 20, ...one }));
  return { maxWaitMs, minBytes, topics: [{ ...topic, partitions }] };
}

async function fetch(request: ReturnType<typeof requestOf>, version = VERSION, by = client) {
  const response = await by.request(fetchApi, version, request);
  const partitions = response.responses[0]?.partitions ?? [];
  return partitions.map((partition) => ({
    error: errorByNumber(partition.errorCode).code,
    highWatermark: partition.highWatermark,
    sizeBytes: partition.records?.length ?? -1,
    values: [...splitBatches(partition.records ?? Buffer.alloc(0))].flatMap(({ bytes }) =>
      readRecords(bytes).map(({ value }) => value?.toString()),
    ),
  }));
}

test("an offset inside a batch is answered with the whole batch", async () => {
  const { name } = await newTopic();
  await produce(name, 0, "a", "b", "c");

  const [result] = await fetch(requestOf({ topic: name }, [{ fetchOffset: 2n }]));

  assert.deepEqual(result?.values, ["a", "b", "c"]);
  assert.equal(result?.highWatermark, 3n);
});

test("the end of a log is an answer of no bytes, not of null", async () => {
  const { name } = await newTopic();

  const [result] = await fetch(requestOf({ topic: name }, [{}]));

  assert.equal(result?.error, "NONE");
  assert.equal(result?.sizeBytes, 0);
});

test("one batch is given whole even if it is larger than all limits, and no second one", async () => {
  const { name } = await newTopic(2);
  await produce(name, 0, "x".repeat(5000));
  await produce(name, 0, "y");
  await produce(name, 1, "z");

  const tiny = { partitionMaxBytes: 1 };
  const results = await fetch(requestOf({ topic: name }, [tiny, { partition: 1, ...tiny }]));

  assert.equal(results[0]?.values.length, 1);
  assert.equal(results[1]?.values.length, 0);
});

test("a fetch waits for records and is answered as soon as there are some", async () => {
  const { name } = await newTopic();
  using reader = await WireClient.connect(started.broker.address);
  const startMs = performance.now();
  const waiting = fetch(requestOf({ topic: name }, [{}], LONG_WAIT_MS), VERSION, reader);

  await produce(name, 0, "at last");

  assert.deepEqual((await waiting)[0]?.values, ["at last"]);
  assert.ok(performance.now() - startMs < LONG_WAIT_MS / 2);
});

test("a fetch waits until there are as many bytes as it asks for", async () => {
  const { name } = await newTopic();
  using reader = await WireClient.connect(started.broker.address);
  const waiting = fetch(requestOf({ topic: name }, [{}], LONG_WAIT_MS, 2000), VERSION, reader);

  await produce(name, 0, "x".repeat(1000));
  await produce(name, 0, "y".repeat(1000));

  assert.equal((await waiting)[0]?.values.length, 2);
});

test("a fetch that finds nothing is answered when its time is up", async () => {
  const { name } = await newTopic();

  const [result] = await fetch(requestOf({ topic: name }, [{}], 20));

  assert.equal(result?.error, "NONE");
});

test("a fetch that waits for a topic is told when the topic is deleted", async () => {
  const { name, topicId } = await newTopic();
  using reader = await WireClient.connect(started.broker.address);
  const byName = fetch(requestOf({ topic: name }, [{}], LONG_WAIT_MS), VERSION, reader);
  using other = await WireClient.connect(started.broker.address);
  const byId = fetch(requestOf({ topicId }, [{}], LONG_WAIT_MS), 13, other);
  await Promise.all([reader, other].map(() => client.request(metadataApi, 9, { topics: [] })));

  await client.request(deleteTopicsApi, 3, { topicNames: [name], timeoutMs: 1000 });

  assert.equal((await byName)[0]?.error, "UNKNOWN_TOPIC_OR_PARTITION");
  assert.equal((await byId)[0]?.error, "UNKNOWN_TOPIC_ID");
});

test("from version 13 on topics go by their ids", async () => {
  const { name, topicId } = await newTopic();
  await produce(name, 0, "a");

  for (const version of [13, 14, 15, 16, 17]) {
    const [found] = await fetch(requestOf({ topicId }, [{}]), version);
    const [unknown] = await fetch(requestOf({ topicId: NIL_UUID }, [{}]), version);
    assert.deepEqual(found?.values, ["a"]);
    assert.equal(unknown?.error, "UNKNOWN_TOPIC_ID");
  }
});

test("an offset outside the log, an unknown partition and a wrong leader epoch are told apart", async () => {
  const { name } = await newTopic();
  const metadata = await client.request(metadataApi, 9, { topics: [{ name }] });
  const leaderEpoch = metadata.topics[0]?.partitions[0]?.leaderEpoch ?? -1;

  const results = await fetch(
    requestOf({ topic: name }, [
      { fetchOffset: 5n },
      { partition: 3 },
      { currentLeaderEpoch: leaderEpoch },
      { currentLeaderEpoch: leaderEpoch + 1 },
    ]),
  );

  assert.deepEqual(
    results.map(({ error }) => error),
    ["OFFSET_OUT_OF_RANGE", "UNKNOWN_TOPIC_OR_PARTITION", "NONE", "UNKNOWN_LEADER_EPOCH"],
  );
});

test("an error in one partition is answered at once, with what the others have", async () => {
  const { name } = await newTopic();
  await produce(name, 0, "a");

  const results = await fetch(requestOf({ topic: name }, [{}, { partition: 9 }], LONG_WAIT_MS, 1 << 20));

  assert.deepEqual(results[0]?.values, ["a"]);
  assert.equal(results[1]?.error, "UNKNOWN_TOPIC_OR_PARTITION");
});

test("no fetch session is ever opened, and one from elsewhere is not known", async () => {
  const { name } = await newTopic();
  const request = requestOf({ topic: name }, [{}]);

  const opened = await client.request(fetchApi, VERSION, { ...request, sessionId: 0, sessionEpoch: 0 });
  const foreign = await client.request(fetchApi, VERSION, { ...request, sessionId: 42, sessionEpoch: 1 });

  assert.equal(opened.sessionId, 0);
  assert.equal(errorByNumber(foreign.errorCode).code, "FETCH_SESSION_ID_NOT_FOUND");
});

test("a reader of committed records gets an empty list of aborted transactions, any other one null", async () => {
  const { name } = await newTopic();
  const request = requestOf({ topic: name }, [{}]);

  const committed = await client.request(fetchApi, VERSION, { ...request, isolationLevel: 1 });
  const uncommitted = await client.request(fetchApi, VERSION, request);

  assert.deepEqual(committed.responses[0]?.partitions[0]?.abortedTransactions, []);
  assert.equal(uncommitted.responses[0]?.partitions[0]?.abortedTransactions, null);
});
