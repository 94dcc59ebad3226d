/**
 * DescribeTopicPartitions: topics and their partitions in the order of their names, page by page. v0.
 *
 * A page ends in the middle of a topic if it must; the cursor says where the next one begins.
 */

import { describeTopicPartitionsApi, NIL_UUID } from "@millrace/protocol";
import { defineHandler, errorNumber, NO_ERROR, type RequestContext, type RequestOf } from "../handler.ts";

type Request = RequestOf<typeof describeTopicPartitionsApi>;

/** Kafka's max.request.partition.size.limit. */
const MAX_PARTITIONS_PER_PAGE = 2000;

export const describeTopicPartitionsHandler = defineHandler({
  api: describeTopicPartitionsApi,
  versions: [0, 0],

  handle(request, context) {
    const { cursor } = request;
    const topics = [];
    let restCount = Math.min(Math.max(request.responsePartitionLimit, 1), MAX_PARTITIONS_PER_PAGE);
    for (const name of askedNames(request, context)) {
      if (restCount === 0) return { topics, nextCursor: { topicName: name, partitionIndex: 0 } };
      const firstPartition = cursor?.topicName === name ? Math.max(cursor.partitionIndex, 0) : 0;
      const { topic, partitionCount } = describe(name, firstPartition, restCount, context);
      topics.push(topic);
      restCount -= topic.partitions.length;
      const nextPartition = firstPartition + topic.partitions.length;
      if (nextPartition < partitionCount) {
        return { topics, nextCursor: { topicName: name, partitionIndex: nextPartition } };
      }
    }
    return { topics, nextCursor: null };
  },

  errorResponse: (request, errorCode) => ({
    topics: request.topics.map(({ name }) => ({ errorCode, name, topicId: NIL_UUID, partitions: [] })),
  }),
});

function askedNames({ topics, cursor }: Request, { broker }: RequestContext): string[] {
  const names = topics.length > 0 ? topics.map(({ name }) => name) : broker.topics.list().map(({ name }) => name);
  const firstName = cursor?.topicName ?? "";
  return [...new Set(names)].sort().filter((name) => name >= firstName);
}

function describe(name: string, firstPartition: number, limit: number, { broker }: RequestContext) {
  const { nodeId } = broker.options;
  const topic = broker.topics.get(name);
  if (topic === undefined) {
    const errorCode = errorNumber("UNKNOWN_TOPIC_OR_PARTITION");
    return { topic: { errorCode, name, topicId: NIL_UUID, partitions: [] }, partitionCount: 0 };
  }
  const { topicId, isInternal } = topic;
  const partitions = topic.partitions.slice(firstPartition, firstPartition + limit).map((log, index) => ({
    errorCode: NO_ERROR,
    partitionIndex: firstPartition + index,
    leaderId: nodeId,
    leaderEpoch: log.leaderEpoch,
    replicaNodes: [nodeId],
    isrNodes: [nodeId],
    eligibleLeaderReplicas: [],
    lastKnownElr: [],
    offlineReplicas: [],
  }));
  return {
    topic: { errorCode: NO_ERROR, name, topicId, isInternal, partitions },
    partitionCount: topic.partitions.length,
  };
}
