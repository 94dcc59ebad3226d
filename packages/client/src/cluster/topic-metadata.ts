/** What is known of a topic, as a Metadata answer has it; and which of two answers is newer. */

import { type metadataApi, NIL_UUID } from "@millrace/protocol";

export interface PartitionMetadata {
  readonly partition: number;
  /** -1: it has none at the moment. */
  readonly leaderId: number;
  /** -1: the broker does not tell. */
  readonly leaderEpoch: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
}

export interface TopicMetadata {
  readonly name: string;
  /** 22 characters of base64url; NIL_UUID if the broker knows none. */
  readonly topicId: string;
  /** One of Kafka's own, like __consumer_offsets. */
  readonly isInternal: boolean;
  /** Index = partition. */
  readonly partitions: readonly PartitionMetadata[];
}

/** A partition's leader, as the broker that is not it any more told with its error (KIP-951). */
export interface LeaderHint {
  readonly topic: string;
  readonly partition: number;
  readonly leaderId: number;
  readonly leaderEpoch: number;
}

/** Of all topics and of the cluster. */
export type MetadataResponse = ReturnType<typeof metadataApi.response.decode>;
type TopicAnswer = MetadataResponse["topics"][number];

/** A topic as a Metadata answer has it. */
export function topicOf(answer: TopicAnswer, name: string): TopicMetadata {
  const partitions: PartitionMetadata[] = [];
  for (const partition of answer.partitions) {
    partitions[partition.partitionIndex] = {
      partition: partition.partitionIndex,
      leaderId: partition.leaderId,
      leaderEpoch: partition.leaderEpoch,
      replicas: partition.replicaNodes,
      isr: partition.isrNodes,
    };
  }
  return { name, topicId: answer.topicId, isInternal: answer.isInternal, partitions };
}

/**
 * The newer of what is known and what a broker answered, partition by partition.
 *
 * A broker that lags behind still names the leader of before; following it would send records to a broker that refuses
 * them, and back. A higher leader epoch is newer (KIP-320). Epochs of another topic id say nothing: the topic was
 * deleted and created anew. Returns `known` itself if nothing changed.
 */
export function mergeTopic(known: TopicMetadata, answer: TopicMetadata): TopicMetadata {
  const isRecreated = known.topicId !== answer.topicId && known.topicId !== NIL_UUID && answer.topicId !== NIL_UUID;
  if (isRecreated || known.partitions.length > answer.partitions.length) return answer;
  let hasChanged = known.topicId !== answer.topicId || known.partitions.length !== answer.partitions.length;
  const partitions = answer.partitions.map((partition, index) => {
    const old = known.partitions[index];
    if (old === undefined) return partition;
    const isOlder = partition.leaderEpoch >= 0 && partition.leaderEpoch < old.leaderEpoch;
    if (isOlder || isSamePartition(old, partition)) return old;
    hasChanged = true;
    return partition;
  });
  return hasChanged ? { ...answer, partitions } : known;
}

function isSamePartition(a: PartitionMetadata, b: PartitionMetadata): boolean {
  return (
    a.leaderId === b.leaderId &&
    a.leaderEpoch === b.leaderEpoch &&
    isSameList(a.replicas, b.replicas) &&
    isSameList(a.isr, b.isr)
  );
}

function isSameList(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

/** The topic with a partition's new leader; null if as new a one is known. */
export function withLeader(known: TopicMetadata, hint: LeaderHint): TopicMetadata | null {
  const partition = known.partitions[hint.partition];
  if (partition === undefined || hint.leaderEpoch <= partition.leaderEpoch || hint.leaderId < 0) return null;
  const changed = { ...partition, leaderId: hint.leaderId, leaderEpoch: hint.leaderEpoch };
  return { ...known, partitions: known.partitions.with(hint.partition, changed) };
}
