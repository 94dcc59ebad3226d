/** Metadata (key 3): brokers, topics, partitions and their leaders. */

import { array, boolean, defineApi, int16, int32, NIL_UUID, string, struct, uuid } from "../schema.ts";

export const metadataApi = defineApi({
  key: 3,
  name: "Metadata",
  versions: [0, 13],
  flexibleSince: 9,
  request: {
    topics: array(struct({ topicId: uuid().since(10).default(NIL_UUID), name: string().nullable(10) })).nullable(1),
    allowAutoTopicCreation: boolean().since(4).default(true),
    includeClusterAuthorizedOperations: boolean().since(8).until(10).default(false),
    includeTopicAuthorizedOperations: boolean().since(8).default(false),
  },
  response: {
    throttleTimeMs: int32().since(3).default(0),
    brokers: array(
      struct({ nodeId: int32(), host: string(), port: int32(), rack: string().since(1).nullable(1).default(null) }),
    ),
    clusterId: string().since(2).nullable(2).default(null),
    controllerId: int32().since(1).default(-1),
    topics: array(
      struct({
        errorCode: int16(),
        name: string().nullable(12),
        topicId: uuid().since(10).default(NIL_UUID),
        isInternal: boolean().since(1).default(false),
        partitions: array(
          struct({
            errorCode: int16(),
            partitionIndex: int32(),
            leaderId: int32(),
            leaderEpoch: int32().since(7).default(-1),
            replicaNodes: array(int32()),
            isrNodes: array(int32()),
            offlineReplicas: array(int32()).since(5).default([]),
          }),
        ),
        topicAuthorizedOperations: int32().since(8).default(-2147483648),
      }),
    ),
    clusterAuthorizedOperations: int32().since(8).until(10).default(-2147483648),
    errorCode: int16().since(13).default(0),
  },
});
