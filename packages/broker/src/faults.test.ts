import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { OptionError } from "@millrace/base";
import {
  createTopicsApi,
  errorByNumber,
  fetchApi,
  heartbeatApi,
  initProducerIdApi,
  listOffsetsApi,
  metadataApi,
  produceApi,
} from "@millrace/protocol";
import { recordBatch, type StartedBroker, startBroker, WireClient } from "@millrace/testing";
import type { FaultSpec } from "./faults.ts";

let started: StartedBroker;
let client: WireClient;

before(async () => {
  started = await startBroker({ dataDir: "memory" });
  client = await WireClient.connect(started.broker.address);
  const topic = { name: "t", numPartitions: 2, replicationFactor: 1, assignments: [], configs: [] };
  await client.request(createTopicsApi, 7, { topics: [topic] });
});
afterEach(() => started.broker.faults.clear());
after(async () => {
  client.close();
  await started.close();
});

async function produce(...partitions: number[]) {
  const records = () => [recordBatch([{ value: "v" }], { baseOffset: 0n })];
  const partitionData = partitions.map((index) => ({ index, records: records() }));
  const request = { transactionalId: null, acks: -1, timeoutMs: 1000, topicData: [{ name: "t", partitionData }] };
  const { responses } = await client.request(produceApi, 9, request);
  const results = responses.flatMap(({ partitionResponses }) => partitionResponses);
  return Object.fromEntries(results.map(({ index, errorCode }) => [index, errorByNumber(errorCode).code]));
}

async function endOf(partitionIndex: number): Promise<bigint> {
  const request = { replicaId: -1, topics: [{ name: "t", partitions: [{ partitionIndex, timestamp: -1n }] }] };
  const { topics } = await client.request(listOffsetsApi, 7, request);
  return topics[0]?.partitions[0]?.offset ?? -1n;
}

test("an error hits the partition it was injected for, as often as asked, and no other", async () => {
  const error = "NOT_LEADER_OR_FOLLOWER";
  const fault = started.broker.faults.inject({ api: "Produce", topic: "t", partition: 1, error, times: 1 });
  const [before0, before1] = [await endOf(0), await endOf(1)];

  assert.deepEqual(await produce(0), { 0: "NONE" });
  assert.deepEqual(await produce(0, 1), { 0: "NONE", 1: error });
  assert.deepEqual(await produce(0, 1), { 0: "NONE", 1: "NONE" });

  assert.equal(fault.hitCount, 1);
  assert.equal((await endOf(0)) - before0, 3n);
  assert.equal((await endOf(1)) - before1, 1n);
});

test("a request that is carried out although it fails leaves its records in the log", async () => {
  const error = "NOT_ENOUGH_REPLICAS_AFTER_APPEND";
  started.broker.faults.inject({ api: "Produce", error, isCarriedOut: true });
  const before = await endOf(0);

  assert.deepEqual(await produce(0), { 0: error });

  assert.equal((await endOf(0)) - before, 1n);
});

test("a connection is closed before the request does anything, or after it did its work", async () => {
  for (const isCarriedOut of [false, true]) {
    started.broker.faults.inject({ api: "Produce", disconnect: true, isCarriedOut, times: 1 });
    const before = await endOf(0);

    await assert.rejects(produce(0), /closed the connection/);

    client = await WireClient.connect(started.broker.address);
    assert.equal((await endOf(0)) - before, isCarriedOut ? 1n : 0n);
  }
});

test("a delayed answer comes as late as asked, with its work done", async () => {
  started.broker.faults.inject({ api: "Produce", delayMs: 30 });
  const startedAt = performance.now();

  assert.deepEqual(await produce(0), { 0: "NONE" });

  assert.ok(performance.now() - startedAt >= 29);
});

test("a fetch that has an error to tell does not wait for records of its other partitions", async () => {
  const { topics } = await client.request(metadataApi, 12, { topics: [{ name: "t" }] });
  const topicId = topics[0]?.topicId ?? "";
  const error = "OFFSET_OUT_OF_RANGE";
  started.broker.faults.inject({ api: "Fetch", topic: "t", partition: 0, error });
  const end = await endOf(1);
  const partitions = [0, 1].map((partition) => ({ partition, fetchOffset: end, partitionMaxBytes: 1000 }));
  const request = { maxWaitMs: 60_000, minBytes: 1, maxBytes: 1000, topics: [{ topicId, partitions }] };

  const { responses } = await client.request(fetchApi, 13, request);

  const results = responses.flatMap((topic) => topic.partitions);
  const codes = results.map(({ partitionIndex, errorCode }) => [partitionIndex, errorByNumber(errorCode).code]);
  assert.deepEqual(Object.fromEntries(codes), { 0: error, 1: "NONE" });
});

test("an API that knows no topics fails as a whole, for one client if one is named", async () => {
  const { faults } = started.broker;
  faults.inject({ api: "InitProducerId", error: "COORDINATOR_LOAD_IN_PROGRESS", clientId: "somebody else" });
  faults.inject({ api: "Heartbeat", error: "REBALANCE_IN_PROGRESS", clientId: "wire-client" });

  const made = await client.request(initProducerIdApi, 4, { transactionalId: null, transactionTimeoutMs: 0 });
  const beat = await client.request(heartbeatApi, 4, { groupId: "g", generationId: 1, memberId: "m" });

  assert.equal(made.errorCode, 0);
  assert.equal(errorByNumber(beat.errorCode).code, "REBALANCE_IN_PROGRESS");
});

test("metadata tells of one topic what it is told to, and of the others the truth", async () => {
  started.broker.faults.inject({ api: "Metadata", topic: "t", error: "LEADER_NOT_AVAILABLE", times: 1 });
  const ask = async () => {
    const { topics } = await client.request(metadataApi, 12, { topics: [{ name: "t" }, { name: "other" }] });
    return Object.fromEntries(topics.map(({ name, errorCode }) => [name, errorByNumber(errorCode).code]));
  };

  assert.deepEqual(await ask(), { t: "LEADER_NOT_AVAILABLE", other: "NONE" });
  assert.deepEqual(await ask(), { t: "NONE", other: "NONE" });
});

test("a fault that was removed hits nobody", async () => {
  const fault = started.broker.faults.inject({ api: "Produce", error: "MESSAGE_TOO_LARGE" });
  fault.remove();
  fault.remove();

  assert.deepEqual(await produce(0), { 0: "NONE" });
});

test("closing all connections leaves the broker open for new ones", async () => {
  started.broker.faults.disconnectAll();
  await client.closed;

  client = await WireClient.connect(started.broker.address);
  assert.deepEqual(await produce(0), { 0: "NONE" });
});

test("a fault that could never hit is refused, and the message says why", () => {
  const { faults } = started.broker;
  const refused = (spec: Parameters<typeof faults.inject>[0], reason: RegExp) =>
    assert.throws(() => faults.inject(spec), reason);

  refused({ api: "Prodcue", error: "NOT_LEADER_OR_FOLLOWER" }, /did you mean Produce\?/);
  refused({ api: "Produce" }, /needs an error, a delayMs or disconnect/);
  refused({ api: "Heartbeat", topic: "t", error: "REBALANCE_IN_PROGRESS" }, /hit whole requests/);
  refused({ api: "Metadata", topic: "t", partition: 0, delayMs: 1 }, /together with its topic/);
  refused({ api: "Produce", partition: 0, delayMs: 1 }, /together with its topic/);
  refused({ api: "Produce", error: "BUFFER_EXHAUSTED" }, /not in Kafka's error table/);
  refused({ api: "Produce", error: "INVALID_RECORD", disconnect: true }, /carries no error/);
  refused({ api: "Produce", delayMs: -1 }, /delayMs is -1/);
});

test("a fault whose fields are misspelt or of another type is refused, and the message names the field", () => {
  const refusal = (spec: object) => {
    try {
      // What plain JavaScript may hand over.
      started.broker.faults.inject(spec as FaultSpec);
    } catch (error) {
      return error instanceof OptionError ? error.message : assert.fail(String(error));
    }
    return assert.fail(`${JSON.stringify(spec)} was taken`);
  };

  assert.match(refusal({}), /needs the name of an API/);
  assert.match(refusal({ error: "NOT_LEADER_OR_FOLLOWER" }), /needs the name of an API/);
  assert.match(refusal({ api: 0, delayMs: 1 }), /^api is 0; it must be a string/);
  assert.match(refusal({ api: "Produce", delay: 5 }), /no delay; did you mean delayMs\?/);
  assert.match(refusal({ api: "Produce", delayMs: "5" }), /^delayMs is "5"; it must be a number/);
  assert.match(refusal({ api: "Produce", topic: 7, delayMs: 5 }), /^topic is 7; it must be a string/);
  assert.match(refusal({ api: "Produce", delayMs: 5, times: 0 }), /^times is 0; .* at least 1/);
});
