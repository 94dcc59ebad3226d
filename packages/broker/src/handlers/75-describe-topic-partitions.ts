/**
 * DescribeTopicPartitions: topics and their partitions in the order of their names, page by page. v0.
 *
 * A page ends in the middle of a topic if it must; the cursor says where the next one begins.
 */

import { describeTopicPartitionsApi, type ErrorCode, NIL_UUID } from "@millrace/protocol";
import { defineHandler, errorNumber, NO_ERROR, type RequestContext, type RequestOf } from "../handler.ts";
import { topicOperations } from "./authorized-operations.ts";

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

/** Of all topics those that the client may describe; what is asked by name is refused by name. */
function askedNames({ topics, cursor }: Request, { access, broker }: RequestContext): string[] {
  const names =
    topics.length > 0
      ? topics.map(({ name }) => name)
      : broker.topics
          .list()
          .map(({ name }) => name)
          .filter((name) => access.allows("DESCRIBE", "TOPIC", name));
  const firstName = cursor?.topicName ?? "";
  return [...new Set(names)].sort().filter((name) => name >= firstName);
}

function describe(name: string, firstPartition: number, limit: number, context: RequestContext) {
  const { access, broker } = context;
  const { nodeId } = broker.options;
  if (!access.allows("DESCRIBE", "TOPIC", name)) return failed(name, "TOPIC_AUTHORIZATION_FAILED");
  const topic = broker.topics.get(name);
  if (topic === undefined) return failed(name, "UNKNOWN_TOPIC_OR_PARTITION");
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
  const topicAuthorizedOperations = topicOperations(true, name, context);
  return {
    topic: { errorCode: NO_ERROR, name, topicId, isInternal, partitions, topicAuthorizedOperations },
    partitionCount: topic.partitions.length,
  };
}

function failed(name: string, code: ErrorCode) {
  const topic = { errorCode: errorNumber(code), name, topicId: NIL_UUID, partitions: [] };
  return { topic, partitionCount: 0 };
}
