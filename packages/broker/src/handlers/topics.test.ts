import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  createPartitionsApi,
  createTopicsApi,
  deleteRecordsApi,
  deleteTopicsApi,
  describeClusterApi,
  describeConfigsApi,
  describeLogDirsApi,
  errorByNumber,
  incrementalAlterConfigsApi,
  listOffsetsApi,
  metadataApi,
  NIL_UUID,
  offsetForLeaderEpochApi,
  produceApi,
} from "@millrace/protocol";
import { recordBatch, type StartedBroker, startBroker, WireClient } from "@millrace/testing";

const TOPIC = 2;
const BROKER = 4;

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

const newName = () => `t${topicCount++}`;

interface Asked {
  readonly name?: string;
  readonly numPartitions?: number;
  readonly replicationFactor?: number;
  readonly assignments?: readonly { partitionIndex: number; brokerIds: readonly number[] }[];
  readonly configs?: readonly { name: string; value: string | null }[];
}

async function create(asked: Asked, options: { validateOnly?: boolean; by?: WireClient } = {}) {
  const topic = { name: newName(), numPartitions: 1, replicationFactor: 1, assignments: [], configs: [], ...asked };
  const { validateOnly = false, by = client } = options;
  const { topics } = await by.request(createTopicsApi, 7, { topics: [topic], validateOnly });
  const result = topics[0];
  assert.ok(result);
  return { ...result, error: errorByNumber(result.errorCode).code };
}

async function partitionCountOf(name: string, by = client): Promise<number | string> {
  const { topics } = await by.request(metadataApi, 9, { topics: [{ name }], allowAutoTopicCreation: false });
  const topic = topics[0];
  return topic?.errorCode === 0 ? topic.partitions.length : errorByNumber(topic?.errorCode ?? -1).code;
}

test("a topic can be asked for with the broker's own number of partitions", async () => {
  const created = await create({ numPartitions: -1, replicationFactor: -1 });

  assert.equal(created.error, "NONE");
  assert.equal(created.numPartitions, 6);
  assert.equal(await partitionCountOf(created.name), 6);
});

test("more replicas than one are clamped to one, or refused where that is set", async () => {
  await using strict = await startBroker({ replicationFactorPolicy: "reject" });
  using by = await WireClient.connect(strict.broker.address);

  const clamped = await create({ replicationFactor: 3 });
  const refused = await create({ replicationFactor: 3 }, { by });

  assert.equal(clamped.error, "NONE");
  assert.equal(clamped.replicationFactor, 1);
  assert.equal(refused.error, "INVALID_REPLICATION_FACTOR");
});

test("a topic can be asked for by assignment", async () => {
  const assignments = [1, 0, 2].map((partitionIndex) => ({ partitionIndex, brokerIds: [1] }));
  const gap = [0, 2].map((partitionIndex) => ({ partitionIndex, brokerIds: [1] }));

  const created = await create({ numPartitions: -1, replicationFactor: -1, assignments });
  const refused = await create({ numPartitions: -1, replicationFactor: -1, assignments: gap });

  assert.equal(created.numPartitions, 3);
  assert.equal(refused.error, "INVALID_REPLICA_ASSIGNMENT");
});

const refusedTopics: readonly (readonly [what: string, asked: Asked, error: string])[] = [
  ["an empty name", { name: "" }, "INVALID_TOPIC_EXCEPTION"],
  ["the name ..", { name: ".." }, "INVALID_TOPIC_EXCEPTION"],
  ["a name with a slash", { name: "a/b" }, "INVALID_TOPIC_EXCEPTION"],
  ["a name of 250 characters", { name: "x".repeat(250) }, "INVALID_TOPIC_EXCEPTION"],
  ["no partitions", { numPartitions: 0 }, "INVALID_PARTITIONS"],
  ["too many partitions", { numPartitions: 1_000_000 }, "INVALID_PARTITIONS"],
  ["no replicas", { replicationFactor: 0 }, "INVALID_REPLICATION_FACTOR"],
  ["an unknown setting", { configs: [{ name: "no.such", value: "1" }] }, "INVALID_CONFIG"],
  ["a setting with a wrong value", { configs: [{ name: "retention.ms", value: "soon" }] }, "INVALID_CONFIG"],
];

for (const [what, asked, error] of refusedTopics) {
  test(`a topic with ${what} is refused with ${error}`, async () => {
    assert.equal((await create(asked)).error, error);
  });
}

test("a name of 249 characters is fine, and its topic can be deleted", async () => {
  const name = "x".repeat(249);

  const created = await create({ name });
  const { responses } = await client.request(deleteTopicsApi, 5, { topicNames: [name], timeoutMs: 1000 });

  assert.equal(created.error, "NONE");
  assert.equal(responses[0]?.errorCode, 0);
});

test("names that differ only in . and _ collide", async () => {
  await create({ name: "a.b" });

  assert.equal((await create({ name: "a_b" })).error, "INVALID_TOPIC_EXCEPTION");
});

test("a topic that is there is not created again, even when two ask at once", async () => {
  const name = newName();

  const results = await Promise.all([
    create({ name }),
    WireClient.connect(started.broker.address).then((by) => create({ name }, { by }).finally(() => by.close())),
  ]);

  assert.deepEqual(results.map(({ error }) => error).sort(), ["NONE", "TOPIC_ALREADY_EXISTS"]);
});

test("a topic named twice in one request is created in neither way, and answered once", async () => {
  const topic = { name: newName(), numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] };

  const { topics } = await client.request(createTopicsApi, 7, { topics: [topic, topic] });

  assert.deepEqual(
    topics.map(({ errorCode }) => errorByNumber(errorCode).code),
    ["INVALID_REQUEST"],
  );
});

test("a request that only validates creates nothing", async () => {
  const checked = await create({}, { validateOnly: true });
  const refused = await create({ name: "a b" }, { validateOnly: true });

  assert.equal(checked.error, "NONE");
  assert.equal(refused.error, "INVALID_TOPIC_EXCEPTION");
  assert.equal(await partitionCountOf(checked.name), "UNKNOWN_TOPIC_OR_PARTITION");
});

test("asking for metadata creates a topic: always in old versions, where the client allows it in new ones", async () => {
  const [old, allowed, forbidden] = [newName(), newName(), newName()];

  const v1 = await client.request(metadataApi, 1, { topics: [{ name: old }] });
  const v9 = await client.request(metadataApi, 9, { topics: [{ name: allowed }], allowAutoTopicCreation: true });

  assert.equal(v1.topics[0]?.errorCode, 0);
  assert.equal(v9.topics[0]?.partitions.length, 6);
  assert.equal(await partitionCountOf(forbidden), "UNKNOWN_TOPIC_OR_PARTITION");
});

test("a broker that may not create topics creates none", async () => {
  await using strict = await startBroker({ autoCreateTopics: false });
  using by = await WireClient.connect(strict.broker.address);

  const { topics } = await by.request(metadataApi, 1, { topics: [{ name: "t" }] });

  assert.equal(errorByNumber(topics[0]?.errorCode ?? 0).code, "UNKNOWN_TOPIC_OR_PARTITION");
});

test("no list of topics means all in version 0 if it is empty, later if it is null", async () => {
  await create({});

  const counts = [
    await client.request(metadataApi, 0, { topics: [] }),
    await client.request(metadataApi, 1, { topics: [] }),
    await client.request(metadataApi, 1, { topics: null }),
  ].map(({ topics }) => topics.length > 0);

  assert.deepEqual(counts, [true, false, true]);
});

test("a topic can be asked for by its id", async () => {
  const { name, topicId } = await create({});

  const known = await client.request(metadataApi, 12, { topics: [{ topicId, name: null }] });
  const unknown = await client.request(metadataApi, 12, { topics: [{ topicId: NIL_UUID, name: null }] });

  assert.equal(known.topics[0]?.name, name);
  assert.equal(errorByNumber(unknown.topics[0]?.errorCode ?? 0).code, "UNKNOWN_TOPIC_ID");
});

test("a deleted topic is gone, by name or by id, and another one of its name is another topic", async () => {
  const first = await create({});
  const byId = await client.request(deleteTopicsApi, 6, { topics: [{ topicId: first.topicId }], timeoutMs: 1000 });
  const gone = await partitionCountOf(first.name);
  const second = await create({ name: first.name, numPartitions: 2 });
  const again = await client.request(deleteTopicsApi, 6, { topics: [{ topicId: first.topicId }], timeoutMs: 1000 });

  assert.equal(byId.responses[0]?.name, first.name);
  assert.equal(gone, "UNKNOWN_TOPIC_OR_PARTITION");
  assert.notEqual(second.topicId, first.topicId);
  assert.equal(errorByNumber(again.responses[0]?.errorCode ?? 0).code, "UNKNOWN_TOPIC_ID");
  assert.equal(await partitionCountOf(second.name), 2);
});

test("a topic gets more partitions, never fewer, and they can be written to", async () => {
  const { name } = await create({ numPartitions: 2 });
  const grow = async (count: number) => {
    const topics = [{ name, count, assignments: null }];
    const { results } = await client.request(createPartitionsApi, 3, { topics, timeoutMs: 1000, validateOnly: false });
    return errorByNumber(results[0]?.errorCode ?? -1).code;
  };

  assert.equal(await grow(4), "NONE");
  assert.equal(await grow(3), "INVALID_PARTITIONS");
  assert.equal(await partitionCountOf(name), 4);
  assert.equal(await produceOne(name, 3), "NONE");
});

async function produceOne(name: string, index: number): Promise<string> {
  const batch = recordBatch([{ value: "v", timestamp: 1000 }], { baseOffset: 0n });
  const topicData = [{ name, partitionData: [{ index, records: [batch] }] }];
  const { responses } = await client.request(produceApi, 9, { acks: -1, timeoutMs: 1000, topicData });
  return errorByNumber(responses[0]?.partitionResponses[0]?.errorCode ?? -1).code;
}

test("all settings of a topic are told, with where each comes from", async () => {
  const { name } = await create({ configs: [{ name: "retention.ms", value: "1234" }] });
  const resources = [{ resourceType: TOPIC, resourceName: name, configurationKeys: null }];

  const { results } = await client.request(describeConfigsApi, 4, { resources, includeSynonyms: true });
  const configs = new Map(results[0]?.configs.map((config) => [config.name, config]));

  assert.deepEqual([configs.get("retention.ms")?.value, configs.get("retention.ms")?.configSource], ["1234", 1]);
  assert.deepEqual([configs.get("segment.bytes")?.value, configs.get("segment.bytes")?.configSource], ["134217728", 5]);
  assert.deepEqual(configs.get("retention.ms")?.synonyms, [
    { name: "retention.ms", value: "1234", source: 1 },
    { name: "log.retention.ms", value: "604800000", source: 5 },
  ]);
  assert.ok(configs.has("min.insync.replicas"));
});

test("a topic's default that the broker was started with is told as the broker's setting", async () => {
  await using own = await startBroker({ retentionMs: 5000 });
  using ownClient = await WireClient.connect(own.broker.address);
  const { name } = await create({}, { by: ownClient });
  const resources = [{ resourceType: TOPIC, resourceName: name, configurationKeys: ["retention.ms"] }];

  const { results } = await ownClient.request(describeConfigsApi, 4, { resources, includeSynonyms: true });
  const [retention] = results[0]?.configs ?? [];

  assert.deepEqual([retention?.value, retention?.configSource], ["5000", 4]);
  assert.deepEqual(retention?.synonyms, [
    { name: "log.retention.ms", value: "5000", source: 4 },
    { name: "log.retention.ms", value: "604800000", source: 5 },
  ]);
});

test("the topic of the groups' offsets is nobody's to create", async () => {
  const { error } = await create({ name: "__consumer_offsets" });

  assert.equal(error, "INVALID_TOPIC_EXCEPTION");
  assert.equal(await partitionCountOf("__consumer_offsets"), "UNKNOWN_TOPIC_OR_PARTITION");
});

test("settings are set, unset and changed one by one, and take effect", async () => {
  const { name } = await create({ configs: [{ name: "retention.ms", value: "1234" }] });
  const alter = async (setting: string, configOperation: number, value: string | null) => {
    const configs = [{ name: setting, configOperation, value }];
    const resources = [{ resourceType: TOPIC, resourceName: name, configs }];
    const { responses } = await client.request(incrementalAlterConfigsApi, 1, { resources, validateOnly: false });
    return errorByNumber(responses[0]?.errorCode ?? -1).code;
  };
  const settingOf = async (setting: string) => {
    const resources = [{ resourceType: TOPIC, resourceName: name, configurationKeys: [setting] }];
    return (await client.request(describeConfigsApi, 1, { resources })).results[0]?.configs[0]?.value;
  };

  assert.equal(await alter("max.message.bytes", 0, "10"), "NONE");
  assert.equal(await produceOne(name, 0), "MESSAGE_TOO_LARGE");
  assert.equal(await alter("max.message.bytes", 1, null), "NONE");
  assert.equal(await produceOne(name, 0), "NONE");
  assert.equal(await alter("cleanup.policy", 2, "compact"), "NONE");
  assert.equal(await settingOf("cleanup.policy"), "delete,compact");
  assert.equal(await alter("cleanup.policy", 3, "delete"), "NONE");
  assert.equal(await settingOf("cleanup.policy"), "compact");
  assert.equal(await alter("retention.ms", 2, "1"), "INVALID_CONFIG");
  assert.equal(await settingOf("retention.ms"), "1234");
});

test("the broker tells its own options under Kafka's names", async () => {
  const resources = [{ resourceType: BROKER, resourceName: "1", configurationKeys: null }];

  const { results } = await client.request(describeConfigsApi, 4, { resources });

  const settingOf = (name: string) => results[0]?.configs.find((config) => config.name === name)?.value;
  const { host, port } = started.broker.address;
  assert.equal(settingOf("num.partitions"), "6");
  assert.equal(settingOf("log.cleanup.policy"), "delete");
  assert.equal(settingOf("default.replication.factor"), "1");
  assert.equal(settingOf("offsets.retention.minutes"), "10080");
  assert.equal(settingOf("quota.window.size.seconds"), "1");
  assert.equal(settingOf("advertised.listeners"), `PLAINTEXT://${host}:${port}`);
});

test("offsets are found by timestamp, and at both ends", async () => {
  const { name } = await create({});
  await produceOne(name, 0);
  const find = async (timestamp: bigint, version = 7) => {
    const topics = [{ name, partitions: [{ partitionIndex: 0, timestamp }] }];
    const found = await client.request(listOffsetsApi, version, { replicaId: -1, topics });
    return found.topics[0]?.partitions[0]?.offset;
  };

  assert.equal(await find(-1n), 1n);
  assert.equal(await find(-2n), 0n);
  assert.equal(await find(-3n), 0n);
  assert.equal(await find(1000n), 0n);
  assert.equal(await find(1001n), -1n);
  assert.equal(await find(-4n, 8), 0n);
});

test("records before an offset are deleted, but not on a compacted topic", async () => {
  const { name } = await create({});
  const compacted = await create({ configs: [{ name: "cleanup.policy", value: "compact" }] });
  await produceOne(name, 0);
  await produceOne(name, 0);
  const remove = async (topic: string, offset: bigint) => {
    const topics = [{ name: topic, partitions: [{ partitionIndex: 0, offset }] }];
    const response = await client.request(deleteRecordsApi, 2, { topics, timeoutMs: 1000 });
    const partition = response.topics[0]?.partitions[0];
    return [errorByNumber(partition?.errorCode ?? -1).code, partition?.lowWatermark];
  };

  assert.deepEqual(await remove(name, 1n), ["NONE", 1n]);
  assert.deepEqual(await remove(name, 9n), ["OFFSET_OUT_OF_RANGE", -1n]);
  assert.deepEqual(await remove(name, -1n), ["NONE", 2n]);
  assert.deepEqual(await remove(compacted.name, -1n), ["POLICY_VIOLATION", -1n]);
});

test("the end of the leader's epoch is the end of the log", async () => {
  const { name } = await create({});
  await produceOne(name, 0);
  const { topics } = await client.request(metadataApi, 9, { topics: [{ name }] });
  const leaderEpoch = topics[0]?.partitions[0]?.leaderEpoch ?? -1;

  const asked = [{ topic: name, partitions: [{ partition: 0, leaderEpoch }] }];
  const found = await client.request(offsetForLeaderEpochApi, 4, { topics: asked });

  assert.equal(found.topics[0]?.partitions[0]?.endOffset, 1n);
});

test("the data dir is described with the bytes of each partition", async () => {
  const { name } = await create({});
  await produceOne(name, 0);

  const { results } = await client.request(describeLogDirsApi, 4, { topics: [{ topic: name, partitions: [0] }] });

  assert.ok((results[0]?.topics[0]?.partitions[0]?.partitionSize ?? 0n) > 61n);
  assert.ok((results[0]?.usableBytes ?? 0n) > 0n);
});

test("the cluster is one broker that is its own controller", async () => {
  const cluster = await client.request(describeClusterApi, 1, { includeClusterAuthorizedOperations: false });

  assert.equal(cluster.clusterId, started.broker.clusterId);
  assert.deepEqual(
    cluster.brokers.map(({ brokerId, port }) => [brokerId, port]),
    [[cluster.controllerId, started.broker.address.port]],
  );
});
