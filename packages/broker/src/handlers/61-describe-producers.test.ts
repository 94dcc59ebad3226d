import assert from "node:assert/strict";
import { test } from "node:test";
import { createTopicsApi, describeProducersApi, errorByNumber, produceApi } from "@millrace/protocol";
import { recordBatch, startBroker, WireClient } from "@millrace/testing";

test("a partition tells which producers wrote to it, with their epoch and last sequence", async () => {
  await using started = await startBroker({ dataDir: "memory" });
  using client = await WireClient.connect(started.broker.address);
  const topic = { name: "t", numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] };
  await client.request(createTopicsApi, 7, { topics: [topic] });
  for (const baseSequence of [0, 2]) {
    const stamp = { producerId: 7n, producerEpoch: 3, baseSequence };
    const batch = recordBatch([{ value: "a" }, { value: "b" }], { baseOffset: 0n, stamp });
    const topicData = [{ name: "t", partitionData: [{ index: 0, records: [batch] }] }];
    await client.request(produceApi, 9, { transactionalId: null, acks: -1, timeoutMs: 1000, topicData });
  }

  const asked = [{ name: "t", partitionIndexes: [0, 1] }];
  const { topics } = await client.request(describeProducersApi, 0, { topics: asked });

  const [found, missing] = topics[0]?.partitions ?? [];
  assert.deepEqual(found?.activeProducers, [
    {
      producerId: 7n,
      producerEpoch: 3,
      lastSequence: 3,
      lastTimestamp: 1_700_000_000_000n,
      coordinatorEpoch: -1,
      currentTxnStartOffset: -1n,
    },
  ]);
  assert.equal(errorByNumber(missing?.errorCode ?? 0).code, "UNKNOWN_TOPIC_OR_PARTITION");
});
