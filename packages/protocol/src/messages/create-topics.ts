/** CreateTopics (key 19): new topics, by count of partitions or by assignment. */

import { array, boolean, defineApi, int8, int16, int32, NIL_UUID, string, struct, uuid } from "../schema.ts";

export const createTopicsApi = defineApi({
  key: 19,
  name: "CreateTopics",
  versions: [0, 7],
  flexibleSince: 5,
  request: {
    topics: array(
      struct({
        name: string(),
        // -1: the broker's default, from version 4 on (KIP-464), or as many as are assigned.
        numPartitions: int32(),
        replicationFactor: int16(),
        // Empty: the controller assigns.
        assignments: array(struct({ partitionIndex: int32(), brokerIds: array(int32()) })).default([]),
        configs: array(struct({ name: string(), value: string().nullable() })).default([]),
      }),
    ),
    timeoutMs: int32().default(60000),
    validateOnly: boolean().since(1).default(false),
  },
  response: {
    throttleTimeMs: int32().since(2).default(0),
    topics: array(
      struct({
        name: string(),
        topicId: uuid().since(7).default(NIL_UUID),
        errorCode: int16(),
        errorMessage: string().since(1).nullable().default(null),
        topicConfigErrorCode: int16().since(5).tagged(0).default(0),
        numPartitions: int32().since(5).default(-1),
        replicationFactor: int16().since(5).default(-1),
        // Null where the user may not see them.
        configs: array(
          struct({
            name: string(),
            value: string().nullable(),
            readOnly: boolean(),
            configSource: int8().default(-1),
            isSensitive: boolean(),
          }),
        )
          .since(5)
          .nullable()
          .default(null),
      }),
    ),
  },
});
