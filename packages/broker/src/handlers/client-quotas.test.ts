import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  alterClientQuotasApi,
  createTopicsApi,
  describeClientQuotasApi,
  describeUserScramCredentialsApi,
  errorByNumber,
  fetchApi,
  metadataApi,
  produceApi,
  saslAuthenticateApi,
  saslHandshakeApi,
} from "@millrace/protocol";
import { recordBatch, type StartedBroker, startBroker, WireClient } from "@millrace/testing";

type Entity = readonly (readonly [type: string, name: string | null])[];

const IN_MEMORY = { dataDir: "memory" } as const;
/** What WireClient calls itself. */
const CLIENT: Entity = [["client-id", "wire-client"]];
const BURST = 10_000;

async function alter(client: WireClient, entity: Entity, values: Record<string, number | null>, validateOnly = false) {
  const { entries } = await client.request(alterClientQuotasApi, 1, {
    entries: [
      {
        entity: entity.map(([entityType, entityName]) => ({ entityType, entityName })),
        ops: Object.entries(values).map(([key, value]) => ({ key, value: value ?? 0, remove: value === null })),
      },
    ],
    validateOnly,
  });
  const { errorCode = -1, errorMessage } = entries[0] ?? {};
  return { code: errorCode === 0 ? "NONE" : errorByNumber(errorCode).code, errorMessage };
}

async function describeQuotas(
  client: WireClient,
  filter: readonly (readonly [type: string, matchType: number, match: string | null])[],
  strict = false,
) {
  const components = filter.map(([entityType, matchType, match]) => ({ entityType, matchType, match }));
  const { errorCode, entries } = await client.request(describeClientQuotasApi, 1, { components, strict });
  if (errorCode !== 0) return errorByNumber(errorCode).code;
  return (entries ?? []).map(({ entity, values }) => [
    entity.map(({ entityType, entityName }) => `${entityType}=${entityName}`).join(","),
    ...values.map(({ key, value }) => `${key}=${value}`),
  ]);
}

async function connectTo(started: StartedBroker): Promise<WireClient> {
  const client = await WireClient.connect(started.broker.address);
  const topic = { name: "t", numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] };
  await client.request(createTopicsApi, 7, { topics: [topic] });
  return client;
}

function produce(client: WireClient, sizeBytes: number) {
  const records = [recordBatch([{ value: Buffer.alloc(sizeBytes) }], { baseOffset: 0n })];
  const topicData = [{ name: "t", partitionData: [{ index: 0, records }] }];
  return client.request(produceApi, 9, { acks: -1, timeoutMs: 1000, topicData });
}

function fetch(client: WireClient) {
  const partitions = [{ partition: 0, fetchOffset: 0n, partitionMaxBytes: 1 << 20 }];
  return client.request(fetchApi, 11, {
    maxWaitMs: 0,
    minBytes: 1,
    maxBytes: 1 << 20,
    topics: [{ topic: "t", partitions }],
  });
}

/** How long until a request is answered that is sent now: never less than the connection is muted. */
async function silenceMs(client: WireClient): Promise<number> {
  const startedMs = performance.now();
  await client.request(metadataApi, 9, { topics: [] });
  return performance.now() - startedMs;
}

describe("a client that is over its quota", () => {
  test("is answered at once, told to pause, and not read for so long, when it writes", async () => {
    await using started = await startBroker(IN_MEMORY);
    using client = await connectTo(started);
    await alter(client, CLIENT, { producer_byte_rate: BURST });

    const within = await produce(client, BURST / 2);
    const beyond = await produce(client, BURST);

    assert.equal(within.throttleTimeMs, 0);
    assert.equal(beyond.responses[0]?.partitionResponses[0]?.errorCode, 0);
    assert.ok(beyond.throttleTimeMs > 100, `${beyond.throttleTimeMs}`);
    // The answer took a moment to come, in which the pause went on.
    assert.ok((await silenceMs(client)) > beyond.throttleTimeMs / 2);
  });

  test("is given less at a time, and told to pause, when it reads", async () => {
    await using started = await startBroker(IN_MEMORY);
    using client = await connectTo(started);
    for (let index = 0; index < 6; index++) await produce(client, BURST / 2);
    await alter(client, CLIENT, { consumer_byte_rate: BURST });

    const first = await fetch(client);
    const second = await fetch(client);

    const sizeOf = ({ responses }: typeof first) => responses[0]?.partitions[0]?.records?.length ?? 0;
    assert.ok(sizeOf(first) > 0 && sizeOf(first) <= BURST, `${sizeOf(first)}`);
    assert.equal(first.throttleTimeMs, 0);
    assert.ok(second.throttleTimeMs > 0);
    assert.ok((await silenceMs(client)) > second.throttleTimeMs / 2);
  });

  test("does not hold up others", async () => {
    await using started = await startBroker(IN_MEMORY);
    using client = await connectTo(started);
    await alter(client, CLIENT, { producer_byte_rate: 1 });
    using other = await WireClient.connect(started.broker.address);

    await produce(client, BURST);

    await other.request(metadataApi, 9, { topics: [] });
  });

  test("does not keep the broker from closing", async () => {
    const started = await startBroker(IN_MEMORY);
    using client = await connectTo(started);
    await alter(client, CLIENT, { producer_byte_rate: 1 });
    await produce(client, BURST);

    await started.close();
  });
});

describe("a broker with users", () => {
  const saslUsers = { alice: "alice-secret", bob: "bob-secret" };

  async function logIn(started: StartedBroker, user: "alice" | "bob"): Promise<WireClient> {
    const client = await WireClient.connect(started.broker.address);
    await client.request(saslHandshakeApi, 1, { mechanism: "PLAIN" });
    const authBytes = Buffer.from(`\0${user}\0${saslUsers[user]}`);
    assert.equal((await client.request(saslAuthenticateApi, 2, { authBytes })).errorCode, 0);
    return client;
  }

  test("counts what a user does over all connections, and not what others do", async () => {
    await using started = await startBroker({ ...IN_MEMORY, saslUsers });
    using first = await logIn(started, "alice");
    const topic = { name: "t", numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] };
    await first.request(createTopicsApi, 7, { topics: [topic] });
    await alter(first, [["user", "alice"]], { producer_byte_rate: BURST });
    using second = await logIn(started, "alice");
    using other = await logIn(started, "bob");

    assert.equal((await produce(first, BURST - 1000)).throttleTimeMs, 0);

    assert.ok((await produce(second, BURST)).throttleTimeMs > 0);
    assert.equal((await produce(other, BURST)).throttleTimeMs, 0);
  });

  test("tells who may log in with SCRAM, which Kafka's tool asks with the quotas of users", async () => {
    await using started = await startBroker({ ...IN_MEMORY, saslUsers });
    using client = await logIn(started, "alice");
    const described = async (names: readonly string[] | null) => {
      const users = names === null ? null : names.map((name) => ({ name }));
      const { results } = await client.request(describeUserScramCredentialsApi, 0, { users });
      return results.map(({ user, errorCode, credentialInfos }) => [
        user,
        errorCode === 0 ? credentialInfos.map(({ mechanism }) => mechanism) : errorByNumber(errorCode).code,
      ]);
    };

    assert.deepEqual(await described(null), [
      ["alice", [1, 2]],
      ["bob", [1, 2]],
    ]);
    assert.deepEqual(await described(["bob", "eve", "bob"]), [
      ["bob", "DUPLICATE_RESOURCE"],
      ["eve", "RESOURCE_NOT_FOUND"],
    ]);
  });
});

test("quotas hold after a restart, and not in the same process", async () => {
  await using started = await startBroker();
  using client = await connectTo(started);
  await alter(client, [["client-id", null]], { producer_byte_rate: 1 });
  await started.broker.close();

  await using again = await startBroker({ dataDir: started.dataDir });
  using outside = await WireClient.connect(again.broker.address);
  using inside = await WireClient.connect({ host: "any", port: 1 }, again.broker.network);

  assert.ok((await produce(outside, BURST)).throttleTimeMs > 0);
  assert.equal((await produce(inside, BURST)).throttleTimeMs, 0);
});

test("quotas are described by exact names, by defaults, by any name, and strictly", async () => {
  await using started = await startBroker(IN_MEMORY);
  using client = await connectTo(started);
  await alter(client, [["user", "alice"]], { producer_byte_rate: 1000, consumer_byte_rate: 2000 });
  await alter(client, [["user", null]], { producer_byte_rate: 10 });
  const both: Entity = [
    ["user", "alice"],
    ["client-id", "app"],
  ];
  await alter(client, both, { producer_byte_rate: 30 });
  await alter(client, both, { producer_byte_rate: 40 });
  const alice = ["user=alice", "producer_byte_rate=1000", "consumer_byte_rate=2000"];
  const standard = ["user=null", "producer_byte_rate=10"];
  const app = ["user=alice,client-id=app", "producer_byte_rate=40"];

  assert.deepEqual(await describeQuotas(client, []), [alice, standard, app]);
  assert.deepEqual(await describeQuotas(client, [["user", 0, "alice"]]), [alice, app]);
  assert.deepEqual(await describeQuotas(client, [["user", 0, "alice"]], true), [alice]);
  assert.deepEqual(await describeQuotas(client, [["user", 1, null]]), [standard]);
  assert.deepEqual(await describeQuotas(client, [["user", 2, null]], true), [alice, standard]);
  assert.deepEqual(await describeQuotas(client, [["client-id", 2, null]]), [app]);
  assert.deepEqual(await describeQuotas(client, [["ip", 2, null]]), []);
  assert.equal(await describeQuotas(client, [["planet", 2, null]]), "INVALID_REQUEST");
  assert.equal(await describeQuotas(client, [["user", 0, null]]), "INVALID_REQUEST");
});

for (const [what, entity, values, message] of [
  ["request_percentage", [["user", "a"]], { request_percentage: 50 }, /request_percentage is not kept here: .* thread/],
  ["a quota of an address", [["ip", "127.0.0.1"]], { connection_creation_rate: 5 }, /maxConnectionsPerIp/],
  ["a quota that there is not", [["user", "a"]], { wishes: 3 }, /there is no quota wishes; there are producer_byte_/],
  ["a rate of nothing", [["user", "a"]], { producer_byte_rate: 0 }, /producer_byte_rate is 0; it must be at least 1/],
  ["nobody", [], { producer_byte_rate: 1 }, /needs a user, a client-id, or both/],
  ["a name that is empty", [["user", ""]], { producer_byte_rate: 1 }, /the name of the user is empty/],
] satisfies [string, Entity, Record<string, number>, RegExp][]) {
  test(`${what} is refused, and the answer says why`, async () => {
    await using started = await startBroker(IN_MEMORY);
    using client = await connectTo(started);

    const { code, errorMessage } = await alter(client, entity, values);

    assert.equal(code, "INVALID_REQUEST");
    assert.match(errorMessage ?? "", message);
    assert.deepEqual(await describeQuotas(client, []), []);
  });
}

test("a change that is only to be checked changes nothing", async () => {
  await using started = await startBroker(IN_MEMORY);
  using client = await connectTo(started);

  assert.equal((await alter(client, CLIENT, { producer_byte_rate: 1 }, true)).code, "NONE");

  assert.deepEqual(await describeQuotas(client, []), []);
});
