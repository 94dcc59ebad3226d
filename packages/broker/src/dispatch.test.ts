import assert from "node:assert/strict";
import { test } from "node:test";
import { apiVersionsApi, encodeRequest, errorByCode, FrameSplitter, Reader } from "@millrace/protocol";
import { startBroker, WireClient } from "@millrace/testing";
import { handlers } from "./handlers/index.ts";

/** What real clients need, and no more than is served. */
const ADVERTISED: Readonly<Record<string, readonly [min: number, max: number]>> = {
  Produce: [0, 11],
  Fetch: [4, 17],
  ListOffsets: [1, 10],
  Metadata: [0, 12],
  OffsetCommit: [2, 9],
  OffsetFetch: [1, 9],
  FindCoordinator: [0, 6],
  JoinGroup: [0, 9],
  Heartbeat: [0, 4],
  LeaveGroup: [0, 5],
  SyncGroup: [0, 5],
  DescribeGroups: [0, 5],
  ListGroups: [0, 5],
  SaslHandshake: [0, 1],
  ApiVersions: [0, 4],
  CreateTopics: [0, 7],
  DeleteTopics: [0, 6],
  DeleteRecords: [0, 2],
  InitProducerId: [0, 5],
  OffsetForLeaderEpoch: [2, 4],
  DescribeAcls: [1, 3],
  CreateAcls: [1, 3],
  DeleteAcls: [1, 3],
  DescribeConfigs: [1, 4],
  AlterConfigs: [0, 2],
  DescribeLogDirs: [1, 4],
  SaslAuthenticate: [0, 2],
  CreatePartitions: [0, 3],
  DeleteGroups: [0, 2],
  IncrementalAlterConfigs: [0, 1],
  OffsetDelete: [0, 0],
  DescribeClientQuotas: [0, 1],
  AlterClientQuotas: [0, 1],
  DescribeUserScramCredentials: [0, 0],
  DescribeCluster: [0, 1],
  DescribeProducers: [0, 0],
  DescribeTopicPartitions: [0, 0],
};

test("the versions of each API that clients are told of are those that real clients need", () => {
  const served = Object.fromEntries(handlers.map(({ name, versions }) => [name, [versions.min, versions.max]]));

  assert.deepEqual(served, ADVERTISED);
});

test("ApiVersions tells all that is served, in every version", async () => {
  await using started = await startBroker();
  using client = await WireClient.connect(started.broker.address);

  for (const version of [0, 1, 2, 3, 4]) {
    const software = { clientSoftwareName: "test", clientSoftwareVersion: "1.0" };
    const response = await client.request(apiVersionsApi, version, version >= 3 ? software : {});
    assert.equal(response.errorCode, 0);
    assert.equal(response.apiKeys.length, handlers.length);
  }
});

test("ApiVersions in a version of the future is answered in v0, with the range of ApiVersions alone", async () => {
  await using started = await startBroker();
  const answered = new Promise<Buffer>((resolve, reject) => {
    const splitter = new FrameSplitter(1 << 20);
    const stream = started.broker.network.connect(started.broker.address);
    stream.start({ onData: (bytes) => splitter.push(bytes, resolve), onClose: () => reject(new Error("closed")) });
    const [frame = Buffer.alloc(0)] = encodeRequest(apiVersionsApi, 4, { correlationId: 7, clientId: null }, {});
    const future = Buffer.from(frame);
    future.writeInt16BE(99, 6);
    stream.write([future]);
  });

  const reader = new Reader(await answered);
  const correlationId = reader.int32();
  const response = apiVersionsApi.response.decode(reader, 0);
  reader.expectEnd();

  assert.equal(correlationId, 7);
  assert.equal(response.errorCode, errorByCode("UNSUPPORTED_VERSION").number);
  assert.deepEqual(
    response.apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, minVersion, maxVersion]),
    [[18, 0, 4]],
  );
});

test("ApiVersions refuses a client software name that is none", async () => {
  await using started = await startBroker();
  using client = await WireClient.connect(started.broker.address);

  const response = await client.request(apiVersionsApi, 3, { clientSoftwareName: "a b" });

  assert.equal(response.errorCode, errorByCode("INVALID_REQUEST").number);
});
