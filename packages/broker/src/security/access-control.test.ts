import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import {
  alterClientQuotasApi,
  alterConfigsApi,
  createAclsApi,
  createPartitionsApi,
  createTopicsApi,
  deleteAclsApi,
  deleteGroupsApi,
  deleteRecordsApi,
  deleteTopicsApi,
  describeAclsApi,
  describeClientQuotasApi,
  describeClusterApi,
  describeConfigsApi,
  describeGroupsApi,
  describeLogDirsApi,
  describeProducersApi,
  describeTopicPartitionsApi,
  describeUserScramCredentialsApi,
  errorByNumber,
  fetchApi,
  findCoordinatorApi,
  heartbeatApi,
  incrementalAlterConfigsApi,
  initProducerIdApi,
  joinGroupApi,
  leaveGroupApi,
  listGroupsApi,
  listOffsetsApi,
  metadataApi,
  offsetCommitApi,
  offsetDeleteApi,
  offsetFetchApi,
  offsetForLeaderEpochApi,
  produceApi,
  saslAuthenticateApi,
  saslHandshakeApi,
  syncGroupApi,
} from "@millrace/protocol";
import { recordBatch, type StartedBroker, startBroker, WireClient } from "@millrace/testing";
import { Broker } from "../broker.ts";
import { operations, patternTypes, permissions, resourceTypes } from "./acl.ts";

const OPTIONS = {
  saslUsers: { admin: "admin-secret", alice: "alice-secret" },
  superUsers: ["User:admin"],
  saslFailureDelayMs: 1,
};
const ANY = 1;
const MATCH = 2;
const TOPIC = 2;
const BROKER = 4;

interface Rule {
  readonly resource?: readonly [type: keyof typeof resourceTypes, name: string];
  readonly isPrefixed?: boolean;
  readonly operation: keyof typeof operations;
  readonly permission?: keyof typeof permissions;
  readonly principal?: string;
  readonly host?: string;
}

const wire = ({ resource: [type, name] = ["TOPIC", "t"], isPrefixed = false, ...rule }: Rule) => ({
  resourceType: resourceTypes[type],
  resourceName: name,
  resourcePatternType: isPrefixed ? patternTypes.PREFIXED : patternTypes.LITERAL,
  principal: rule.principal ?? "User:alice",
  host: rule.host ?? "*",
  operation: operations[rule.operation],
  permissionType: permissions[rule.permission ?? "ALLOW"],
});
const EVERY_RULE = {
  resourceTypeFilter: ANY,
  resourceNameFilter: null,
  patternTypeFilter: ANY,
  principalFilter: null,
  hostFilter: null,
  operation: ANY,
  permissionType: ANY,
};

async function login(started: StartedBroker, name: keyof typeof OPTIONS.saslUsers): Promise<WireClient> {
  const client = await WireClient.connect(started.broker.address);
  await client.request(saslHandshakeApi, 1, { mechanism: "PLAIN" });
  const authBytes = Buffer.from(`\0${name}\0${OPTIONS.saslUsers[name]}`);
  const { errorCode } = await client.request(saslAuthenticateApi, 2, { authBytes });
  assert.equal(errorCode, 0);
  return client;
}

async function grant(admin: WireClient, ...rules: Rule[]): Promise<string[]> {
  const { results } = await admin.request(createAclsApi, 3, { creations: rules.map(wire) });
  return results.map(({ errorCode }) => errorByNumber(errorCode).code);
}

async function revokeAll(admin: WireClient): Promise<number> {
  const { filterResults } = await admin.request(deleteAclsApi, 3, { filters: [EVERY_RULE] });
  return filterResults[0]?.matchingAcls.length ?? 0;
}

async function createTopic(client: WireClient, name: string): Promise<string> {
  const topics = [{ name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }];
  const response = await client.request(createTopicsApi, 7, { topics });
  return errorByNumber(response.topics[0]?.errorCode ?? -1).code;
}

async function produce(client: WireClient, name: string): Promise<string> {
  const batch = recordBatch([{ value: "v" }], { baseOffset: 0n });
  const topicData = [{ name, partitionData: [{ index: 0, records: [batch] }] }];
  const request = { transactionalId: null, acks: -1, timeoutMs: 1000, topicData };
  const { responses } = await client.request(produceApi, 9, request);
  return codeOf(responses[0]?.partitionResponses[0]);
}

const codeOf = (found: { readonly errorCode: number } | undefined) => errorByNumber(found?.errorCode ?? -1).code;

interface Guarded {
  readonly needs: readonly (Rule & { readonly resource?: Rule["resource"] })[];
  readonly refusal: string;
  call(client: WireClient): Promise<string>;
}

const GROUP = ["GROUP", "g"] as const;
const CLUSTER = ["CLUSTER", "kafka-cluster"] as const;
const member = { groupId: "g", generationId: 1, memberId: "m" };
const partitions = [{ partitionIndex: 0 }];

/** What each request needs, alone. Source: Kafka's documentation, "Protocols and ACLs". */
const guarded: Readonly<Record<string, Guarded>> = {
  Produce: {
    needs: [{ operation: "WRITE" }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    call: (client) => produce(client, "t"),
  },
  Fetch: {
    needs: [{ operation: "READ" }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    async call(client) {
      const asked = [{ partition: 0, fetchOffset: 0n, partitionMaxBytes: 1000 }];
      const topics = [{ topic: "t", partitions: asked }];
      const { responses } = await client.request(fetchApi, 11, { ...FETCH, topics });
      return codeOf(responses[0]?.partitions[0]);
    },
  },
  ListOffsets: {
    needs: [{ operation: "DESCRIBE" }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    async call(client) {
      const topics = [{ name: "t", partitions: [{ partitionIndex: 0, timestamp: -1n }] }];
      const answer = await client.request(listOffsetsApi, 7, { replicaId: -1, isolationLevel: 0, topics });
      return codeOf(answer.topics[0]?.partitions[0]);
    },
  },
  Metadata: {
    needs: [{ operation: "DESCRIBE" }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    call: async (client) => codeOf((await client.request(metadataApi, 9, { topics: [{ name: "t" }] })).topics[0]),
  },
  DescribeTopicPartitions: {
    needs: [{ operation: "DESCRIBE" }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    call: async (client) =>
      codeOf((await client.request(describeTopicPartitionsApi, 0, { topics: [{ name: "t" }] })).topics[0]),
  },
  OffsetForLeaderEpoch: {
    needs: [{ operation: "DESCRIBE" }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    async call(client) {
      const topics = [{ topic: "t", partitions: [{ partition: 0, currentLeaderEpoch: -1, leaderEpoch: 0 }] }];
      const answer = await client.request(offsetForLeaderEpochApi, 4, { topics });
      return codeOf(answer.topics[0]?.partitions[0]);
    },
  },
  DescribeProducers: {
    needs: [{ operation: "READ" }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    async call(client) {
      const topics = [{ name: "t", partitionIndexes: [0] }];
      return codeOf((await client.request(describeProducersApi, 0, { topics })).topics[0]?.partitions[0]);
    },
  },
  DeleteRecords: {
    needs: [{ operation: "DELETE" }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    async call(client) {
      const topics = [{ name: "t", partitions: [{ partitionIndex: 0, offset: 0n }] }];
      return codeOf((await client.request(deleteRecordsApi, 2, { topics, timeoutMs: 1000 })).topics[0]?.partitions[0]);
    },
  },
  DescribeConfigs: {
    needs: [{ operation: "DESCRIBE_CONFIGS" }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    async call(client) {
      const resources = [{ resourceType: TOPIC, resourceName: "t", configurationKeys: null }];
      return codeOf((await client.request(describeConfigsApi, 4, { resources })).results[0]);
    },
  },
  "DescribeConfigs of the broker": {
    needs: [{ operation: "DESCRIBE_CONFIGS", resource: CLUSTER }],
    refusal: "CLUSTER_AUTHORIZATION_FAILED",
    async call(client) {
      const resources = [{ resourceType: BROKER, resourceName: "1", configurationKeys: null }];
      return codeOf((await client.request(describeConfigsApi, 4, { resources })).results[0]);
    },
  },
  AlterConfigs: {
    needs: [{ operation: "ALTER_CONFIGS" }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    async call(client) {
      const resources = [{ resourceType: TOPIC, resourceName: "t", configs: [] }];
      return codeOf((await client.request(alterConfigsApi, 2, { resources, validateOnly: true })).responses[0]);
    },
  },
  IncrementalAlterConfigs: {
    needs: [{ operation: "ALTER_CONFIGS" }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    async call(client) {
      const resources = [{ resourceType: TOPIC, resourceName: "t", configs: [] }];
      return codeOf(
        (await client.request(incrementalAlterConfigsApi, 1, { resources, validateOnly: true })).responses[0],
      );
    },
  },
  CreatePartitions: {
    needs: [{ operation: "ALTER" }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    async call(client) {
      const topics = [{ name: "t", count: 2, assignments: null }];
      return codeOf(
        (await client.request(createPartitionsApi, 3, { topics, timeoutMs: 1000, validateOnly: true })).results[0],
      );
    },
  },
  "CreateTopics, of one": {
    needs: [{ operation: "CREATE", resource: ["TOPIC", "made-1"] }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    call: (client) => createTopic(client, "made-1"),
  },
  "CreateTopics, of any": {
    needs: [{ operation: "CREATE", resource: CLUSTER }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    call: (client) => createTopic(client, "made-2"),
  },
  "Metadata that creates a topic": {
    needs: [
      { operation: "DESCRIBE", resource: ["TOPIC", "made-3"] },
      { operation: "CREATE", resource: ["TOPIC", "made-3"] },
    ],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    call: async (client) => codeOf((await client.request(metadataApi, 9, { topics: [{ name: "made-3" }] })).topics[0]),
  },
  DeleteTopics: {
    needs: [{ operation: "DELETE", resource: ["TOPIC", "doomed"] }],
    refusal: "TOPIC_AUTHORIZATION_FAILED",
    call: async (client) =>
      codeOf((await client.request(deleteTopicsApi, 5, { topicNames: ["doomed"], timeoutMs: 1000 })).responses[0]),
  },
  DescribeLogDirs: {
    needs: [{ operation: "DESCRIBE", resource: CLUSTER }],
    refusal: "CLUSTER_AUTHORIZATION_FAILED",
    call: async (client) => codeOf(await client.request(describeLogDirsApi, 4, { topics: null })),
  },
  InitProducerId: {
    needs: [{ operation: "IDEMPOTENT_WRITE", resource: CLUSTER }],
    refusal: "CLUSTER_AUTHORIZATION_FAILED",
    call: async (client) => codeOf(await client.request(initProducerIdApi, 4, INIT)),
  },
  "InitProducerId of whoever may write somewhere": {
    needs: [{ operation: "WRITE" }],
    refusal: "CLUSTER_AUTHORIZATION_FAILED",
    call: async (client) => codeOf(await client.request(initProducerIdApi, 4, INIT)),
  },
  DescribeAcls: {
    needs: [{ operation: "DESCRIBE", resource: CLUSTER }],
    refusal: "CLUSTER_AUTHORIZATION_FAILED",
    call: async (client) => codeOf(await client.request(describeAclsApi, 3, EVERY_RULE)),
  },
  CreateAcls: {
    needs: [{ operation: "ALTER", resource: CLUSTER }],
    refusal: "CLUSTER_AUTHORIZATION_FAILED",
    async call(client) {
      const [code = "none"] = await grant(client, { operation: "ALTER", resource: CLUSTER });
      return code;
    },
  },
  DeleteAcls: {
    needs: [{ operation: "ALTER", resource: CLUSTER }],
    refusal: "CLUSTER_AUTHORIZATION_FAILED",
    async call(client) {
      const filters = [{ ...EVERY_RULE, resourceNameFilter: "no such rule" }];
      return codeOf((await client.request(deleteAclsApi, 3, { filters })).filterResults[0]);
    },
  },
  DescribeClientQuotas: {
    needs: [{ operation: "DESCRIBE_CONFIGS", resource: CLUSTER }],
    refusal: "CLUSTER_AUTHORIZATION_FAILED",
    call: async (client) => codeOf(await client.request(describeClientQuotasApi, 1, { components: [], strict: false })),
  },
  AlterClientQuotas: {
    needs: [{ operation: "ALTER_CONFIGS", resource: CLUSTER }],
    refusal: "CLUSTER_AUTHORIZATION_FAILED",
    async call(client) {
      const entries = [{ entity: [{ entityType: "user", entityName: "bob" }], ops: [] }];
      return codeOf((await client.request(alterClientQuotasApi, 1, { entries, validateOnly: true })).entries[0]);
    },
  },
  DescribeUserScramCredentials: {
    needs: [{ operation: "DESCRIBE", resource: CLUSTER }],
    refusal: "CLUSTER_AUTHORIZATION_FAILED",
    call: async (client) => codeOf(await client.request(describeUserScramCredentialsApi, 0, { users: null })),
  },
  FindCoordinator: {
    needs: [{ operation: "DESCRIBE", resource: GROUP }],
    refusal: "GROUP_AUTHORIZATION_FAILED",
    async call(client) {
      return codeOf((await client.request(findCoordinatorApi, 4, { coordinatorKeys: ["g"] })).coordinators[0]);
    },
  },
  JoinGroup: {
    needs: [{ operation: "READ", resource: GROUP }],
    refusal: "GROUP_AUTHORIZATION_FAILED",
    call: async (client) => {
      const request = { groupId: "g", sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, memberId: "" };
      const asked = { ...request, protocolType: "consumer", protocols: [{ name: "range", metadata: Buffer.alloc(0) }] };
      return codeOf(await client.request(joinGroupApi, 7, asked));
    },
  },
  Heartbeat: {
    needs: [{ operation: "READ", resource: GROUP }],
    refusal: "GROUP_AUTHORIZATION_FAILED",
    call: async (client) => codeOf(await client.request(heartbeatApi, 3, member)),
  },
  SyncGroup: {
    needs: [{ operation: "READ", resource: GROUP }],
    refusal: "GROUP_AUTHORIZATION_FAILED",
    call: async (client) => codeOf(await client.request(syncGroupApi, 3, { ...member, assignments: [] })),
  },
  LeaveGroup: {
    needs: [{ operation: "READ", resource: GROUP }],
    refusal: "GROUP_AUTHORIZATION_FAILED",
    call: async (client) => codeOf(await client.request(leaveGroupApi, 3, { groupId: "g", members: [] })),
  },
  DescribeGroups: {
    needs: [{ operation: "DESCRIBE", resource: GROUP }],
    refusal: "GROUP_AUTHORIZATION_FAILED",
    call: async (client) => codeOf((await client.request(describeGroupsApi, 5, { groups: ["g"] })).groups[0]),
  },
  DeleteGroups: {
    needs: [{ operation: "DELETE", resource: GROUP }],
    refusal: "GROUP_AUTHORIZATION_FAILED",
    call: async (client) => codeOf((await client.request(deleteGroupsApi, 2, { groupsNames: ["g"] })).results[0]),
  },
  "OffsetCommit, for the group": {
    needs: [{ operation: "READ", resource: GROUP }, { operation: "READ" }],
    refusal: "GROUP_AUTHORIZATION_FAILED",
    call: commit,
  },
  "OffsetFetch, for the group": {
    needs: [{ operation: "DESCRIBE", resource: GROUP }],
    refusal: "GROUP_AUTHORIZATION_FAILED",
    async call(client) {
      const groups = [{ groupId: "g", topics: null }];
      return codeOf((await client.request(offsetFetchApi, 8, { groups })).groups[0]);
    },
  },
  "OffsetFetch v1": {
    needs: [{ operation: "DESCRIBE", resource: GROUP }, { operation: "DESCRIBE" }],
    refusal: "GROUP_AUTHORIZATION_FAILED",
    async call(client) {
      const topics = [{ name: "t", partitionIndexes: [0] }];
      return codeOf((await client.request(offsetFetchApi, 1, { groupId: "g", topics })).topics[0]?.partitions[0]);
    },
  },
  OffsetDelete: {
    needs: [{ operation: "DELETE", resource: GROUP }],
    refusal: "GROUP_AUTHORIZATION_FAILED",
    call: async (client) =>
      codeOf(await client.request(offsetDeleteApi, 0, { groupId: "g", topics: [{ name: "t", partitions }] })),
  },
};

const FETCH = {
  replicaId: -1,
  maxWaitMs: 0,
  minBytes: 0,
  maxBytes: 10_000,
  isolationLevel: 0,
  forgottenTopicsData: [],
};
const INIT = { transactionalId: null, transactionTimeoutMs: 1000 };

async function commit(client: WireClient): Promise<string> {
  const asked = [{ partitionIndex: 0, committedOffset: 0n, committedMetadata: null }];
  const request = {
    groupId: "g",
    generationIdOrMemberEpoch: -1,
    memberId: "",
    topics: [{ name: "t", partitions: asked }],
  };
  return codeOf((await client.request(offsetCommitApi, 7, request)).topics[0]?.partitions[0]);
}

suite("a broker with super users", () => {
  let started: StartedBroker;
  let admin: WireClient;
  let alice: WireClient;

  before(async () => {
    started = await startBroker({ dataDir: "memory", ...OPTIONS });
    admin = await login(started, "admin");
    alice = await login(started, "alice");
    for (const name of ["t", "doomed"]) assert.equal(await createTopic(admin, name), "NONE");
  });
  after(async () => {
    admin.close();
    alice.close();
    await started.close();
  });

  for (const [name, { needs, refusal, call }] of Object.entries(guarded)) {
    test(`refuses ${name} without the right to it with ${refusal}, and serves it with that alone`, async () => {
      await revokeAll(admin);

      assert.equal(await call(alice), refusal);
      assert.deepEqual(new Set(await grant(admin, ...needs)), new Set(["NONE"]));

      assert.doesNotMatch(await call(alice), /AUTHORIZATION_FAILED/);
    });
  }

  test("lists of topics and of groups hold only those that the client may describe", async () => {
    await revokeAll(admin);
    await grant(admin, { operation: "DESCRIBE" }, { operation: "DESCRIBE", resource: ["GROUP", "mine"] });
    for (const groupId of ["mine", "other"]) {
      const asked = [{ partitionIndex: 0, committedOffset: 0n, committedMetadata: null }];
      const topics = [{ name: "t", partitions: asked }];
      await admin.request(offsetCommitApi, 7, { groupId, generationIdOrMemberEpoch: -1, memberId: "", topics });
    }

    const { topics } = await alice.request(metadataApi, 9, { topics: null });
    const pages = await alice.request(describeTopicPartitionsApi, 0, { topics: [] });
    const { groups } = await alice.request(listGroupsApi, 4, { statesFilter: [] });

    assert.deepEqual(
      topics.map(({ name }) => name),
      ["t"],
    );
    assert.deepEqual(
      pages.topics.map(({ name }) => name),
      ["t"],
    );
    assert.deepEqual(
      groups.map(({ groupId }) => groupId),
      ["mine"],
    );
  });

  test("an offset of a topic that the client may not read is not committed", async () => {
    await revokeAll(admin);
    await grant(admin, { operation: "READ", resource: GROUP });

    assert.equal(await commit(alice), "TOPIC_AUTHORIZATION_FAILED");
  });

  test("the right to read, write, delete or alter is the right to describe too", async () => {
    for (const operation of ["READ", "WRITE", "DELETE", "ALTER", "ALL"] as const) {
      await revokeAll(admin);
      await grant(admin, { operation });
      const described = await guarded.Metadata?.call(alice);
      assert.equal(described, "NONE", operation);
    }
  });

  test("a denial goes before what allows, whoever it names", async () => {
    await revokeAll(admin);
    await grant(admin, { operation: "ALL" }, { operation: "WRITE", permission: "DENY", principal: "User:*" });

    assert.equal(await produce(alice, "t"), "TOPIC_AUTHORIZATION_FAILED");
    assert.equal(await produce(admin, "t"), "NONE");
  });

  test("rules hold for names with a prefix, for all names, and for clients from one address", async () => {
    const cases: (readonly [Rule, string])[] = [
      [{ operation: "WRITE", resource: ["TOPIC", "t"], isPrefixed: true }, "NONE"],
      [{ operation: "WRITE", resource: ["TOPIC", "tt"], isPrefixed: true }, "TOPIC_AUTHORIZATION_FAILED"],
      [{ operation: "WRITE", resource: ["TOPIC", "*"] }, "NONE"],
      [{ operation: "WRITE", host: "127.0.0.1" }, "NONE"],
      [{ operation: "WRITE", host: "10.0.0.1" }, "TOPIC_AUTHORIZATION_FAILED"],
      [{ operation: "WRITE", principal: "User:*" }, "NONE"],
      [{ operation: "WRITE", principal: "User:bob" }, "TOPIC_AUTHORIZATION_FAILED"],
    ];
    for (const [rule, expected] of cases) {
      await revokeAll(admin);
      await grant(admin, rule);
      assert.equal(await produce(alice, "t"), expected, JSON.stringify(rule));
    }
  });

  test("a filter finds rules by the name they cover, and removes no others", async () => {
    await revokeAll(admin);
    await grant(
      admin,
      { operation: "READ", resource: ["TOPIC", "orders"] },
      { operation: "READ", resource: ["TOPIC", "ord"], isPrefixed: true },
      { operation: "READ", resource: ["TOPIC", "*"] },
      { operation: "READ", resource: ["TOPIC", "other"] },
    );
    const filter = { ...EVERY_RULE, resourceNameFilter: "orders", patternTypeFilter: MATCH };

    const { resources } = await admin.request(describeAclsApi, 3, filter);
    const { filterResults } = await admin.request(deleteAclsApi, 3, { filters: [filter] });

    assert.deepEqual(
      resources.map(({ resourceName }) => resourceName),
      ["orders", "ord", "*"],
    );
    assert.equal(filterResults[0]?.matchingAcls.length, 3);
    assert.equal(await revokeAll(admin), 1);
  });

  test("rules that make no sense are refused one by one, and the others are added", async () => {
    await revokeAll(admin);

    const codes = await grant(
      admin,
      { operation: "READ", principal: "alice" },
      { operation: "READ", resource: ["CLUSTER", "mine"] },
      { operation: "READ" },
      { operation: "READ" },
    );

    assert.deepEqual(codes, ["INVALID_REQUEST", "INVALID_REQUEST", "NONE", "NONE"]);
    assert.equal(await revokeAll(admin), 1);
  });

  test("a client that asks is told what it may do with a topic, a group and the cluster", async () => {
    await revokeAll(admin);
    await grant(admin, { operation: "READ" }, { operation: "ALL", resource: GROUP });

    const { topics } = await alice.request(metadataApi, 9, {
      topics: [{ name: "t" }],
      includeTopicAuthorizedOperations: true,
    });
    const { groups } = await alice.request(describeGroupsApi, 5, { groups: ["g"], includeAuthorizedOperations: true });
    const ofAlice = await alice.request(describeClusterApi, 0, { includeClusterAuthorizedOperations: true });
    const ofAdmin = await admin.request(describeClusterApi, 0, { includeClusterAuthorizedOperations: true });

    const bits = (...names: (keyof typeof operations)[]) =>
      names.reduce((sum, name) => sum | (1 << operations[name]), 0);
    assert.equal(topics[0]?.topicAuthorizedOperations, bits("READ", "DESCRIBE"));
    assert.equal(groups[0]?.authorizedOperations, bits("READ", "DESCRIBE", "DELETE"));
    assert.equal(ofAlice.clusterAuthorizedOperations, 0);
    const all = bits(
      "CREATE",
      "CLUSTER_ACTION",
      "DESCRIBE_CONFIGS",
      "ALTER_CONFIGS",
      "IDEMPOTENT_WRITE",
      "ALTER",
      "DESCRIBE",
    );
    assert.equal(ofAdmin.clusterAuthorizedOperations, all);
  });

  test("whoever is in the same process may do everything", async () => {
    await revokeAll(admin);
    using inside = await WireClient.connect(started.broker.address, started.broker.network);

    assert.equal(await produce(inside, "t"), "NONE");
  });
});

test("rules outlive the broker, and one that was damaged keeps it from starting", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "millrace-acls-"));
  {
    await using started = await startBroker({ ...OPTIONS, dataDir });
    using admin = await login(started, "admin");
    await createTopic(admin, "t");
    await grant(admin, { operation: "WRITE" });
  }
  {
    await using started = await startBroker({ ...OPTIONS, dataDir });
    using alice = await login(started, "alice");
    assert.equal(await produce(alice, "t"), "NONE");
  }

  await writeFile(join(dataDir, "acls.json"), '{"version":1,"items":[{"resourceType":"TOPIC"}]}');

  await assert.rejects(Broker.open({ ...OPTIONS, dataDir, port: 0 }), /acls\.json is damaged/);
  await rm(dataDir, { recursive: true });
});

test("with allowEveryoneIfNoAclFound all may use what no rule is about", async () => {
  await using started = await startBroker({ dataDir: "memory", ...OPTIONS, allowEveryoneIfNoAclFound: true });
  using admin = await login(started, "admin");
  using alice = await login(started, "alice");
  await createTopic(admin, "t");

  assert.equal(await produce(alice, "t"), "NONE");
  await grant(admin, { operation: "READ", principal: "User:bob" });

  assert.equal(await produce(alice, "t"), "TOPIC_AUTHORIZATION_FAILED");
});

test("super users are given as Kafka has them, separated by semicolons", async () => {
  await using started = await startBroker({ dataDir: "memory", superUsers: "User:CN=a,O=b; User:ANONYMOUS" as never });
  using client = await WireClient.connect(started.broker.address);

  assert.equal(await createTopic(client, "t"), "NONE");
  await assert.rejects(Broker.open({ dataDir: "memory", port: 0, superUsers: ["admin"] }), /as User:admin/);
});
