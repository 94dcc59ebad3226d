import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { after, before, test } from "node:test";
import { MemoryFileSystem, VirtualClock } from "@millrace/base";
import {
  createTopicsApi,
  deleteGroupsApi,
  deleteTopicsApi,
  describeGroupsApi,
  errorByNumber,
  findCoordinatorApi,
  heartbeatApi,
  joinGroupApi,
  leaveGroupApi,
  listGroupsApi,
  offsetCommitApi,
  offsetDeleteApi,
  offsetFetchApi,
  syncGroupApi,
} from "@millrace/protocol";
import { FaultyFileSystem, type StartedBroker, startBroker, WireClient } from "@millrace/testing";

let started: StartedBroker;
let client: WireClient;
let groupCount = 0;

before(async () => {
  started = await startBroker();
  client = await connect(started);
  await createTopic(client);
});
after(async () => {
  client.close();
  await started.close();
});

const connect = ({ broker }: StartedBroker) => WireClient.connect(broker.address);
const newGroup = () => `g${groupCount++}`;
const codeOf = (errorCode: number | undefined) => errorByNumber(errorCode ?? -1).code;

async function createTopic(by: WireClient, name = "t"): Promise<void> {
  const topic = { name, numPartitions: 2, replicationFactor: 1, assignments: [], configs: [] };
  await by.request(createTopicsApi, 7, { topics: [topic] });
}

interface Commit {
  readonly generationId?: number;
  readonly memberId?: string;
  readonly topic?: string;
  readonly partition?: number;
  readonly offset?: bigint;
  readonly metadata?: string | null;
}

async function commit(groupId: string, asked: Commit = {}, by = client): Promise<string> {
  const { generationId = -1, memberId = "", topic = "t", partition = 0, offset = 5n, metadata = null } = asked;
  const partitions = [
    { partitionIndex: partition, committedOffset: offset, committedLeaderEpoch: 3, committedMetadata: metadata },
  ];
  const response = await by.request(offsetCommitApi, 8, {
    groupId,
    memberId,
    generationIdOrMemberEpoch: generationId,
    topics: [{ name: topic, partitions }],
  });
  return codeOf(response.topics[0]?.partitions[0]?.errorCode);
}

async function committed(groupId: string, by = client) {
  const { topics } = await by.request(offsetFetchApi, 7, {
    groupId,
    topics: [{ name: "t", partitionIndexes: [0] }],
  });
  const { committedOffset, committedLeaderEpoch, metadata } = topics[0]?.partitions[0] ?? {};
  return [committedOffset, committedLeaderEpoch, metadata];
}

async function join(groupId: string, by = client, memberId = ""): Promise<{ memberId: string; generationId: number }> {
  const request = {
    groupId,
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    memberId,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: Buffer.from([0, 0, 0, 0, 0, 1, 0, 1, 0x74, 0xff, 0xff, 0xff, 0xff]) }],
  };
  const response = await by.request(joinGroupApi, 7, request);
  if (codeOf(response.errorCode) === "MEMBER_ID_REQUIRED") return join(groupId, by, response.memberId);
  assert.equal(codeOf(response.errorCode), "NONE");
  return response;
}

async function sync(groupId: string, member: { memberId: string; generationId: number }, by = client) {
  const assignments = [{ memberId: member.memberId, assignment: Buffer.from("mine") }];
  const response = await by.request(syncGroupApi, 5, { groupId, ...pick(member), assignments });
  return [codeOf(response.errorCode), response.assignment.toString()];
}

const pick = ({ memberId, generationId }: { memberId: string; generationId: number }) => ({ memberId, generationId });

test("this broker coordinates every group, in the answers of all versions", async () => {
  const { port } = started.broker.address;
  for (const version of [0, 1, 2, 3]) {
    const found = await client.request(findCoordinatorApi, version, { key: "g" });
    assert.deepEqual([found.errorCode, found.nodeId, found.port], [0, 1, port]);
  }
  for (const version of [4, 5, 6]) {
    const { coordinators } = await client.request(findCoordinatorApi, version, { coordinatorKeys: ["g", "h"] });
    assert.deepEqual(
      coordinators.map(({ key, nodeId }) => [key, nodeId]),
      [
        ["g", 1],
        ["h", 1],
      ],
    );
  }
});

test("transactional ids have no coordinator, for good", async () => {
  const found = await client.request(findCoordinatorApi, 2, { key: "tx", keyType: 1 });

  assert.equal(codeOf(found.errorCode), "INVALID_REQUEST");
});

test("a member joins, gets its assignment, shows itself, and leaves", async () => {
  const groupId = newGroup();
  const member = await join(groupId);
  const synced = await sync(groupId, member);
  const alive = await client.request(heartbeatApi, 4, { groupId, ...pick(member) });
  const left = await client.request(leaveGroupApi, 4, { groupId, members: [{ memberId: member.memberId }] });
  const dead = await client.request(heartbeatApi, 4, { groupId, ...pick(member) });

  assert.deepEqual(synced, ["NONE", "mine"]);
  assert.equal(codeOf(alive.errorCode), "NONE");
  assert.equal(codeOf(left.members[0]?.errorCode), "NONE");
  assert.equal(codeOf(dead.errorCode), "UNKNOWN_MEMBER_ID");
});

test("what was committed comes back with its leader epoch and metadata", async () => {
  const groupId = newGroup();

  assert.equal(await commit(groupId, { offset: 42n, metadata: "note" }), "NONE");

  assert.deepEqual(await committed(groupId), [42n, 3, "note"]);
});

test("what was never committed is -1, without an error", async () => {
  assert.deepEqual(await committed("nobody"), [-1n, -1, ""]);
});

test("without a list of topics all that was committed comes back; several groups at once from version 8 on", async () => {
  const groupId = newGroup();
  await commit(groupId, { partition: 0 });
  await commit(groupId, { partition: 1 });

  const all = await client.request(offsetFetchApi, 7, { groupId, topics: null });
  const groups = [
    { groupId, topics: null },
    { groupId: "nobody", topics: null },
  ];
  const several = await client.request(offsetFetchApi, 8, { groups });

  assert.equal(all.topics[0]?.partitions.length, 2);
  assert.deepEqual(
    several.groups.map(({ topics }) => topics.length),
    [1, 0],
  );
});

test("a commit is refused from a wrong generation, for an unknown topic, and with too long a text", async () => {
  const groupId = newGroup();
  const member = await join(groupId);
  await sync(groupId, member);
  const { memberId, generationId } = member;

  assert.equal(await commit(groupId, { memberId, generationId }), "NONE");
  assert.equal(await commit(groupId, { memberId, generationId: generationId + 1 }), "ILLEGAL_GENERATION");
  assert.equal(await commit(groupId), "UNKNOWN_MEMBER_ID");
  assert.equal(await commit(groupId, { memberId, generationId, topic: "no" }), "UNKNOWN_TOPIC_OR_PARTITION");
  assert.equal(
    await commit(groupId, { memberId, generationId, metadata: "x".repeat(4097) }),
    "OFFSET_METADATA_TOO_LARGE",
  );
});

test("an empty group id and a session timeout out of bounds are refused", async () => {
  const request = {
    groupId: "",
    sessionTimeoutMs: 10_000,
    memberId: "",
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: Buffer.alloc(0) }],
  };

  const noId = await client.request(joinGroupApi, 5, request);
  const tooShort = await client.request(joinGroupApi, 5, { ...request, groupId: "g", sessionTimeoutMs: 10 });

  assert.equal(codeOf(noId.errorCode), "INVALID_GROUP_ID");
  assert.equal(codeOf(tooShort.errorCode), "INVALID_SESSION_TIMEOUT");
});

test("offsets and members outlive a restart", async () => {
  const dataDir = await mkdtemp(joinPath(tmpdir(), "millrace-groups-"));
  try {
    const first = await startBroker({ dataDir });
    using before = await connect(first);
    await createTopic(before);
    const member = await join("g", before);
    await sync("g", member, before);
    await commit("g", { ...pick(member), offset: 7n, metadata: "kept" }, before);
    await first.close();

    await using second = await startBroker({ dataDir });
    using after = await connect(second);
    const alive = await after.request(heartbeatApi, 4, { groupId: "g", ...pick(member) });

    assert.deepEqual(await committed("g", after), [7n, 3, "kept"]);
    assert.equal(codeOf(alive.errorCode), "NONE");
    assert.deepEqual(await sync("g", member, after), ["NONE", "mine"]);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});

test("groups are listed by state and described with their members", async () => {
  const groupId = newGroup();
  const member = await join(groupId);
  await sync(groupId, member);

  const all = await client.request(listGroupsApi, 5, {});
  const stable = await client.request(listGroupsApi, 5, { statesFilter: ["stable"], typesFilter: ["classic"] });
  const none = await client.request(listGroupsApi, 5, { typesFilter: ["consumer"] });
  const { groups } = await client.request(describeGroupsApi, 5, { groups: [groupId, "nobody"] });

  assert.ok(all.groups.some((group) => group.groupId === groupId && group.groupState === "Stable"));
  assert.ok(stable.groups.some((group) => group.groupId === groupId));
  assert.deepEqual(none.groups, []);
  assert.deepEqual(
    groups.map(({ groupState }) => groupState),
    ["Stable", "Dead"],
  );
  assert.equal(groups[0]?.members[0]?.clientHost, "/127.0.0.1");
  assert.equal(groups[0]?.members[0]?.memberAssignment.toString(), "mine");
});

test("a group is deleted with its offsets once nobody is in it", async () => {
  const groupId = newGroup();
  const member = await join(groupId);
  await sync(groupId, member);
  await commit(groupId, pick(member));
  const remove = async () => {
    const { results } = await client.request(deleteGroupsApi, 2, { groupsNames: [groupId] });
    return codeOf(results[0]?.errorCode);
  };

  assert.equal(await remove(), "NON_EMPTY_GROUP");
  await client.request(leaveGroupApi, 0, { groupId, memberId: member.memberId });
  assert.equal(await remove(), "NONE");
  assert.equal(await remove(), "GROUP_ID_NOT_FOUND");
  assert.deepEqual(await committed(groupId), [-1n, -1, ""]);
});

test("single offsets are forgotten, but not of topics that the group reads", async () => {
  const [reading, idle] = [newGroup(), newGroup()];
  const member = await join(reading);
  await sync(reading, member);
  await commit(reading, pick(member));
  await commit(idle);
  const forget = async (groupId: string) => {
    const topics = [{ name: "t", partitions: [{ partitionIndex: 0 }] }];
    const response = await client.request(offsetDeleteApi, 0, { groupId, topics });
    return response.errorCode === 0 ? codeOf(response.topics[0]?.partitions[0]?.errorCode) : codeOf(response.errorCode);
  };

  assert.equal(await forget(reading), "GROUP_SUBSCRIBED_TO_TOPIC");
  assert.equal(await forget(idle), "NONE");
  assert.equal(await forget("nobody"), "GROUP_ID_NOT_FOUND");
  assert.deepEqual(await committed(idle), [-1n, -1, ""]);
});

test("offsets of a group whose members are no consumers, or do not say what they read, are not forgotten", async () => {
  const forget = async (groupId: string) => {
    const topics = [{ name: "t", partitions: [{ partitionIndex: 0 }] }];
    const response = await client.request(offsetDeleteApi, 0, { groupId, topics });
    return response.errorCode === 0 ? codeOf(response.topics[0]?.partitions[0]?.errorCode) : codeOf(response.errorCode);
  };
  const [workers, mute] = [newGroup(), newGroup()];
  const request = { sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, memberId: "" };
  const protocols = [{ name: "any", metadata: Buffer.from([1]) }];

  await client.request(joinGroupApi, 3, { ...request, groupId: workers, protocolType: "connect", protocols });
  await client.request(joinGroupApi, 3, { ...request, groupId: mute, protocolType: "consumer", protocols });

  assert.equal(await forget(workers), "NON_EMPTY_GROUP");
  assert.equal(await forget(mute), "GROUP_SUBSCRIBED_TO_TOPIC");
});

test("a group is described without its last choice while its members agree on anew", async () => {
  const groupId = newGroup();
  await join(groupId);

  const { groups } = await client.request(describeGroupsApi, 4, { groups: [groupId] });

  const { groupState, protocolType, protocolData, members } = groups[0] ?? {};
  assert.deepEqual([groupState, protocolType, protocolData], ["CompletingRebalance", "consumer", ""]);
  assert.equal(members?.[0]?.memberMetadata.length, 0);
});

test("offsets of a deleted topic do not meet a new topic of its name", async () => {
  const groupId = newGroup();
  await createTopic(client, "short-lived");
  await commit(groupId, { topic: "short-lived" });

  await client.request(deleteTopicsApi, 3, { topicNames: ["short-lived"], timeoutMs: 1000 });
  await createTopic(client, "short-lived");

  const { topics } = await client.request(offsetFetchApi, 7, { groupId, topics: null });
  assert.deepEqual(topics, []);
});

test("a group that nobody came into is forgotten; offsets are kept for their time and no longer", async () => {
  const clock = new VirtualClock();
  await using aging = await startBroker({
    clock,
    dataDir: "memory",
    offsetsRetentionMs: 3_600_000,
    idleConnectionMs: 1e9,
  });
  const { network } = aging.broker;
  using by = await WireClient.connect(aging.broker.address, network);
  // The broker's clock stands: it is moved along until what was asked is answered.
  const run = <T>(promise: Promise<T>) => clock.runUntil(promise, 60_000);
  await run(createTopic(by));
  await run(commit("kept", {}, by));
  const request = { groupId: "left", sessionTimeoutMs: 10_000, memberId: "", protocolType: "consumer" };
  await run(by.request(joinGroupApi, 5, { ...request, protocols: [{ name: "range", metadata: Buffer.alloc(0) }] }));
  const groupIds = async () => (await run(by.request(listGroupsApi, 2, {}))).groups.map(({ groupId }) => groupId);

  const atFirst = await groupIds();
  await clock.advance(600_000);
  const later = await groupIds();
  const offset = await run(committed("kept", by));
  await clock.advance(2 * 3_600_000);

  assert.deepEqual(atFirst.sort(), ["kept", "left"]);
  assert.deepEqual(later, ["kept"]);
  assert.equal(offset[0], 5n);
  assert.deepEqual(await groupIds(), []);
  by.close();
});

test("what was committed without a group is kept for its time, not for its time since the last restart", async () => {
  const clock = new VirtualClock();
  const fileSystem = new MemoryFileSystem();
  const options = { clock, fileSystem, dataDir: "/data", offsetsRetentionMs: 3_600_000, idleConnectionMs: 1e9 };
  const run = <T>(promise: Promise<T>) => clock.runUntil(promise, 60_000);
  const withBroker = async (use: (by: WireClient) => Promise<void>) => {
    const aging = await run(startBroker(options));
    using by = await WireClient.connect(aging.broker.address, aging.broker.network);
    await use(by);
    by.close();
    await run(aging.close());
  };

  await withBroker(async (by) => {
    await run(createTopic(by));
    await run(commit("simple", {}, by));
    await clock.advance(3_000_000);
  });

  await withBroker(async (by) => {
    assert.deepEqual(await run(committed("simple", by)), [5n, 3, ""]);
    await clock.advance(1_300_000);
    assert.deepEqual(await run(committed("simple", by)), [-1n, -1, ""]);
  });
});

test("a group keeps what it reads, and forgets in time what it no longer does", async () => {
  const clock = new VirtualClock();
  await using aging = await startBroker({
    clock,
    dataDir: "memory",
    offsetsRetentionMs: 3_600_000,
    idleConnectionMs: 1e9,
  });
  using by = await WireClient.connect(aging.broker.address, aging.broker.network);
  const run = <T>(promise: Promise<T>) => clock.runUntil(promise, 60_000);
  await run(createTopic(by));
  await run(createTopic(by, "no-longer-read"));
  const member = await run(join("g", by));
  await run(sync("g", member, by));
  await run(commit("g", pick(member), by));
  await run(commit("g", { ...pick(member), topic: "no-longer-read" }, by));

  for (let passedMs = 0; passedMs < 4_300_000; passedMs += 5000) {
    await clock.advance(5000);
    await run(by.request(heartbeatApi, 3, { groupId: "g", ...pick(member) }));
  }

  const { topics } = await run(by.request(offsetFetchApi, 7, { groupId: "g", topics: null }));
  assert.deepEqual(
    topics.map(({ name }) => name),
    ["t"],
  );
  by.close();
});

test("a group that could not be deleted is still there", async () => {
  const disk = new FaultyFileSystem(new MemoryFileSystem());
  await using failing = await startBroker({ fileSystem: disk, dataDir: "/data" });
  using by = await WireClient.connect(failing.broker.address, failing.broker.network);
  await createTopic(by);
  await commit("g", {}, by);
  disk.faults.onWrite = () => {
    throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
  };

  const { results } = await by.request(deleteGroupsApi, 1, { groupsNames: ["g"] });

  assert.equal(codeOf(results[0]?.errorCode), "KAFKA_STORAGE_ERROR");
  assert.deepEqual(await committed("g", by), [5n, 3, ""]);
  disk.faults = {};
});
