/** DescribeTopicPartitions (key 75): topics and their partitions, page by page. */

import { array, boolean, defineApi, int16, int32, string, struct, uuid } from "../schema.ts";

export const describeTopicPartitionsApi = defineApi({
  key: 75,
  name: "DescribeTopicPartitions",
  versions: [0, 0],
  flexibleSince: 0,
  request: {
    // Empty: all.
    topics: array(struct({ name: string() })),
    responsePartitionLimit: int32().default(2000),
    cursor: struct({ topicName: string(), partitionIndex: int32() }).nullable().default(null),
  },
  response: {
    throttleTimeMs: int32().default(0),
    topics: array(
      struct({
        errorCode: int16(),
        name: string().nullable(),
        topicId: uuid(),
        isInternal: boolean().default(false),
        partitions: array(
          struct({
            errorCode: int16(),
            partitionIndex: int32(),
            leaderId: int32(),
            leaderEpoch: int32().default(-1),
            replicaNodes: array(int32()),
            isrNodes: array(int32()),
            eligibleLeaderReplicas: array(int32()).nullable().default(null),
            lastKnownElr: array(int32()).nullable().default(null),
            offlineReplicas: array(int32()),
          }),
        ),
        topicAuthorizedOperations: int32().default(-2147483648),
      }),
    ),
    // Null on the last page.
    nextCursor: struct({ topicName: string(), partitionIndex: int32() }).nullable().default(null),
  },
});
