/** Groups and their offsets on disk: records of the compacted topic __consumer_offsets, in Kafka's own format. */

import type { Clock, Logger } from "@millrace/base";
import {
  BATCH_HEADER_BYTES,
  decodeVersioned,
  encodeVersioned,
  groupMetadataKey,
  groupMetadataValue,
  NO_PRODUCER,
  offsetCommitKey,
  offsetCommitValue,
  peekVersion,
  RecordBatchBuilder,
  readRecords,
  recordSizeLimitBytes,
  splitBatches,
  stampBatch,
} from "@millrace/protocol";
import type { Topic } from "../topics/topic.ts";
import type { TopicManager } from "../topics/topic-manager.ts";
import type { GroupSnapshot } from "./group.ts";
import { metadataOf } from "./member-protocols.ts";

export const OFFSETS_TOPIC = "__consumer_offsets";
/** One broker needs no more, and one partition keeps all that happens to groups in one order. */
const OFFSETS_PARTITIONS = 1;
const OFFSETS_TOPIC_CONFIG = {
  "cleanup.policy": "compact",
  "segment.bytes": "104857600",
  // A group of thousands of members is one record.
  "max.message.bytes": "16777216",
};
/** Bytes read at a time when groups are loaded. */
const LOAD_CHUNK_BYTES = 1024 * 1024;
const APPEND = { acks: -1 };

/** Versions of Kafka's that any tool of the last years reads: leader epoch since 3, instance id since 3. */
const OFFSET_KEY_VERSION = 1;
const OFFSET_VALUE_VERSION = 3;
const GROUP_KEY_VERSION = 2;
const GROUP_VALUE_VERSION = 3;

/** How far a group has read a partition, with what the committer wanted to remember. */
export interface CommittedOffset {
  readonly offset: bigint;
  readonly leaderEpoch: number;
  readonly metadata: string;
  readonly commitTimestampMs: number;
}

/** One fact about a group. Null: it is no longer so. */
export type GroupRecord =
  | { readonly kind: "group"; readonly groupId: string; readonly snapshot: GroupSnapshot | null }
  | {
      readonly kind: "offset";
      readonly groupId: string;
      readonly topic: string;
      readonly partition: number;
      readonly committed: CommittedOffset | null;
    };

interface GroupLogParts {
  readonly topics: TopicManager;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class GroupLog {
  readonly #topics: TopicManager;
  readonly #clock: Clock;
  readonly #logger: Logger;

  constructor(parts: GroupLogParts) {
    this.#topics = parts.topics;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
  }

  /** Makes the topic, if this is the first group ever. */
  ensureTopic(): Promise<Topic> {
    return this.#topics.getOrCreate({
      name: OFFSETS_TOPIC,
      partitions: OFFSETS_PARTITIONS,
      config: OFFSETS_TOPIC_CONFIG,
      isInternal: true,
    });
  }

  /** Resolves once the records are on disk. Rejects with KafkaError. */
  async append(records: readonly GroupRecord[]): Promise<void> {
    if (records.length === 0) return;
    const topic = this.#topics.get(OFFSETS_TOPIC) ?? (await this.ensureTopic());
    await topic.append(0, encodeBatch(records, this.#clock.timestampMs()), APPEND).acknowledged;
  }

  /** Every fact that is written, oldest first; a later one about the same thing replaces it. */
  async *read(): AsyncGenerator<GroupRecord> {
    const log = this.#topics.get(OFFSETS_TOPIC)?.partition(0);
    if (log === undefined) return;
    let offset = log.logStartOffset;
    while (offset < log.highWatermark) {
      const chunks = await log.read(offset, LOAD_CHUNK_BYTES, { minOneBatch: true });
      const before = offset;
      for (const chunk of chunks) {
        for (const { header, bytes } of splitBatches(chunk)) {
          offset = header.baseOffset + BigInt(header.lastOffsetDelta) + 1n;
          if (header.isControl) continue;
          for (const { key, value } of readRecords(bytes)) {
            const record = key === null ? null : this.#decode(key, value);
            if (record !== null) yield record;
          }
        }
      }
      if (offset === before) return;
    }
  }

  /** Null for what we do not know, which a newer version or another tool may have written. */
  #decode(key: Buffer, value: Buffer | null): GroupRecord | null {
    try {
      return peekVersion(key) === GROUP_KEY_VERSION ? decodeGroup(key, value) : decodeOffset(key, value);
    } catch (error) {
      this.#logger.warn({ topic: OFFSETS_TOPIC, error }, "skipping a record that cannot be read");
      return null;
    }
  }
}

function encodeBatch(records: readonly GroupRecord[], timestampMs: number): Buffer {
  const entries = records.map((record) => encodeRecord(record));
  const limitBytes = entries.reduce(
    (sizeBytes, { key, value }) => sizeBytes + recordSizeLimitBytes(key.length, value, null),
    BATCH_HEADER_BYTES,
  );
  const builder = new RecordBatchBuilder(Buffer.allocUnsafe(limitBytes));
  for (const { key, value } of entries) builder.append(timestampMs, key, key.length, value, null);
  const batch = builder.seal(null);
  stampBatch(batch, NO_PRODUCER);
  return batch;
}

function encodeRecord(record: GroupRecord): { readonly key: Buffer; readonly value: Buffer | null } {
  if (record.kind === "group") {
    const key = encodeVersioned(groupMetadataKey, GROUP_KEY_VERSION, { group: record.groupId });
    return { key, value: record.snapshot === null ? null : encodeSnapshot(record.snapshot) };
  }
  const { groupId, topic, partition, committed } = record;
  const key = encodeVersioned(offsetCommitKey, OFFSET_KEY_VERSION, { group: groupId, topic, partition });
  if (committed === null) return { key, value: null };
  const value = encodeVersioned(offsetCommitValue, OFFSET_VALUE_VERSION, {
    offset: committed.offset,
    leaderEpoch: committed.leaderEpoch,
    metadata: committed.metadata,
    commitTimestamp: BigInt(committed.commitTimestampMs),
  });
  return { key, value };
}

function encodeSnapshot(snapshot: GroupSnapshot): Buffer {
  const { protocolName } = snapshot;
  return encodeVersioned(groupMetadataValue, GROUP_VALUE_VERSION, {
    protocolType: snapshot.protocolType,
    generation: snapshot.generationId,
    protocol: protocolName,
    leader: snapshot.leaderId,
    currentStateTimestamp: BigInt(snapshot.stateTimestampMs),
    members: snapshot.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rebalanceTimeout: member.rebalanceTimeoutMs,
      sessionTimeout: member.sessionTimeoutMs,
      subscription: metadataOf(member.protocols, protocolName) ?? Buffer.alloc(0),
      assignment: member.assignment,
    })),
  });
}

function decodeGroup(key: Buffer, value: Buffer | null): GroupRecord {
  const { group: groupId } = decodeVersioned(groupMetadataKey, key);
  if (value === null) return { kind: "group", groupId, snapshot: null };
  const found = decodeVersioned(groupMetadataValue, value);
  const protocolName = found.protocol;
  const snapshot: GroupSnapshot = {
    protocolType: found.protocolType,
    protocolName,
    generationId: found.generation,
    leaderId: found.leader,
    stateTimestampMs: Number(found.currentStateTimestamp),
    members: found.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      sessionTimeoutMs: member.sessionTimeout,
      rebalanceTimeoutMs: member.rebalanceTimeout,
      protocols: protocolName === null ? [] : [{ name: protocolName, metadata: Buffer.from(member.subscription) }],
      assignment: Buffer.from(member.assignment),
    })),
  };
  return { kind: "group", groupId, snapshot };
}

function decodeOffset(key: Buffer, value: Buffer | null): GroupRecord {
  const { group: groupId, topic, partition } = decodeVersioned(offsetCommitKey, key);
  if (value === null) return { kind: "offset", groupId, topic, partition, committed: null };
  const found = decodeVersioned(offsetCommitValue, value);
  const committed: CommittedOffset = {
    offset: found.offset,
    leaderEpoch: found.leaderEpoch,
    metadata: found.metadata,
    commitTimestampMs: Number(found.commitTimestamp),
  };
  return { kind: "offset", groupId, topic, partition, committed };
}
