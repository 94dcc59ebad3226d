import assert from "node:assert/strict";
import { test } from "node:test";
import { WireError } from "../../errors.ts";
import type { Message } from "../../schema.ts";
import {
  consumerProtocolAssignment,
  consumerProtocolSubscription,
  controlRecordKey,
  decodeForwardCompatible,
  decodeVersioned,
  encodeVersioned,
  endTxnMarker,
  groupMetadataKey,
  groupMetadataValue,
  offsetCommitKey,
  offsetCommitValue,
  peekVersion,
  transactionLogKey,
  transactionLogValue,
} from "./index.ts";

const member = {
  memberId: "m-1",
  groupInstanceId: null,
  clientId: "c",
  clientHost: "/127.0.0.1",
  rebalanceTimeout: 300_000,
  sessionTimeout: 45_000,
  subscription: Buffer.from([1]),
  assignment: Buffer.from([2]),
};

function expectRoundTrip<Input>(message: Message<unknown, Input>, value: Input): void {
  assert.deepEqual(decodeVersioned(message, encodeVersioned(message, message.versions.max, value)), value);
}

test("what is written in the newest version is read back", () => {
  expectRoundTrip(offsetCommitKey, { group: "g", topic: "orders", partition: 3 });
  expectRoundTrip(offsetCommitValue, {
    offset: 42n,
    leaderEpoch: 1,
    metadata: "",
    commitTimestamp: 1_700_000_000_000n,
    expireTimestamp: -1n,
    topicId: "ABEiM0RVZneImaq7zN3u_w",
  });
  expectRoundTrip(groupMetadataKey, { group: "g" });
  expectRoundTrip(groupMetadataValue, {
    protocolType: "consumer",
    generation: 5,
    protocol: "range",
    leader: "m-1",
    currentStateTimestamp: 1_700_000_000_000n,
    members: [member],
  });
  expectRoundTrip(transactionLogKey, { transactionalId: "t" });
  expectRoundTrip(transactionLogValue, {
    producerId: 7n,
    previousProducerId: -1n,
    nextProducerId: 8n,
    producerEpoch: 2,
    nextProducerEpoch: 0,
    transactionTimeoutMs: 60_000,
    transactionStatus: 1,
    transactionPartitions: [{ topic: "orders", partitionIds: [0, 1] }],
    transactionLastUpdateTimestampMs: 1_700_000_000_001n,
    transactionStartTimestampMs: 1_700_000_000_000n,
    clientTransactionVersion: 2,
  });
});

test("a commit marker has the bytes of Kafka's", () => {
  assert.equal(encodeVersioned(controlRecordKey, 0, { type: 1 }).toString("hex"), "0000" + "0001");
  assert.equal(encodeVersioned(endTxnMarker, 0, { coordinatorEpoch: 9 }).toString("hex"), "0000" + "00000009");
});

test("the version of a key tells a group from an offset", () => {
  const offset = encodeVersioned(offsetCommitKey, 1, { group: "g", topic: "orders", partition: 3 });
  const group = encodeVersioned(groupMetadataKey, 2, { group: "g" });

  assert.equal(peekVersion(offset), 1);
  assert.equal(peekVersion(group), 2);
});

test("a version that we do not know is refused, and so are bytes left over", () => {
  const key = encodeVersioned(groupMetadataKey, 2, { group: "g" });

  assert.throws(() => decodeVersioned(offsetCommitKey, key), /OffsetCommitKey: version 2; we read 0 to 1/);
  assert.throws(() => decodeVersioned(groupMetadataKey, Buffer.concat([key, Buffer.alloc(1)])), WireError);
});

test("a member of a newer release is understood as far as we know its subscription", () => {
  const known = { topics: ["orders"], userData: null, ownedPartitions: [], generationId: 4, rackId: "r" };
  const bytes = Buffer.concat([encodeVersioned(consumerProtocolSubscription, 3, known), Buffer.from("what is new")]);
  bytes.writeInt16BE(9, 0);

  assert.deepEqual(decodeForwardCompatible(consumerProtocolSubscription, bytes), known);
});

test("a subscription cut short is refused", () => {
  const value = { assignedPartitions: [{ topic: "orders", partitions: [0] }], userData: Buffer.from("u") };
  const bytes = encodeVersioned(consumerProtocolAssignment, 1, value);

  for (let sizeBytes = 0; sizeBytes < bytes.length; sizeBytes++) {
    assert.throws(() => decodeForwardCompatible(consumerProtocolAssignment, bytes.subarray(0, sizeBytes)), WireError);
  }
});
