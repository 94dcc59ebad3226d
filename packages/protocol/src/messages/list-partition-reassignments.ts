/** ListPartitionReassignments (key 46): partitions that are moving between brokers. */

import { array, defineApi, int16, int32, string, struct } from "../schema.ts";

export const listPartitionReassignmentsApi = defineApi({
  key: 46,
  name: "ListPartitionReassignments",
  versions: [0, 0],
  flexibleSince: 0,
  request: {
    timeoutMs: int32().default(60000),
    // Null: all.
    topics: array(struct({ name: string(), partitionIndexes: array(int32()) }))
      .nullable()
      .default(null),
  },
  response: {
    throttleTimeMs: int32().default(0),
    errorCode: int16(),
    errorMessage: string().nullable().default(null),
    topics: array(
      struct({
        name: string(),
        partitions: array(
          struct({
            partitionIndex: int32(),
            replicas: array(int32()),
            addingReplicas: array(int32()),
            removingReplicas: array(int32()),
          }),
        ),
      }),
    ),
  },
});
