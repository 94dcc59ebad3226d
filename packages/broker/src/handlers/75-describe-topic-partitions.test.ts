import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createTopicsApi, describeAclsApi, describeTopicPartitionsApi, errorByNumber } from "@millrace/protocol";
import { type StartedBroker, startBroker, WireClient } from "@millrace/testing";

let started: StartedBroker;
let client: WireClient;

before(async () => {
  started = await startBroker({ dataDir: "memory" });
  client = await WireClient.connect(started.broker.address);
  const topics = ["b", "a", "c"].map((name) => ({
    name,
    numPartitions: 3,
    replicationFactor: 1,
    assignments: [],
    configs: [],
  }));
  await client.request(createTopicsApi, 7, { topics });
});
after(async () => {
  client.close();
  await started.close();
});

async function page(
  asked: readonly string[],
  cursor: { topicName: string; partitionIndex: number } | null,
  limit: number,
) {
  const topics = asked.map((name) => ({ name }));
  const request = { topics, responsePartitionLimit: limit, cursor };
  const response = await client.request(describeTopicPartitionsApi, 0, request);
  const found = response.topics.map(({ name, partitions, errorCode }) =>
    errorCode === 0
      ? `${name}:${partitions.map(({ partitionIndex }) => partitionIndex)}`
      : errorByNumber(errorCode).code,
  );
  return { found, nextCursor: response.nextCursor };
}

test("topics come in the order of their names, with all partitions", async () => {
  assert.deepEqual(await page([], null, 2000), { found: ["a:0,1,2", "b:0,1,2", "c:0,1,2"], nextCursor: null });
  assert.deepEqual((await page(["c", "nowhere"], null, 2000)).found, ["c:0,1,2", "UNKNOWN_TOPIC_OR_PARTITION"]);
});

test("pages go on where the last one ended, also in the middle of a topic", async () => {
  const first = await page([], null, 4);
  const second = await page([], first.nextCursor, 2);
  const third = await page([], second.nextCursor, 2000);

  assert.deepEqual(first, { found: ["a:0,1,2", "b:0"], nextCursor: { topicName: "b", partitionIndex: 1 } });
  assert.deepEqual(second, { found: ["b:1,2"], nextCursor: { topicName: "c", partitionIndex: 0 } });
  assert.deepEqual(third, { found: ["c:0,1,2"], nextCursor: null });
});

test("tools that ask for access control lists are told that there are none", async () => {
  const filter = {
    resourceTypeFilter: 1,
    resourceNameFilter: null,
    patternTypeFilter: 1,
    principalFilter: null,
    hostFilter: null,
    operation: 1,
    permissionType: 1,
  };

  const { errorCode } = await client.request(describeAclsApi, 3, filter);

  assert.equal(errorByNumber(errorCode).code, "SECURITY_DISABLED");
});
