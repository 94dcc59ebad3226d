/** ElectLeaders (key 43): elections of partition leaders. */

import { array, defineApi, int8, int16, int32, string, struct } from "../schema.ts";

export const electLeadersApi = defineApi({
  key: 43,
  name: "ElectLeaders",
  versions: [0, 2],
  flexibleSince: 2,
  request: {
    // 0: preferred. 1: unclean.
    electionType: int8().since(1).default(0),
    // Null: all.
    topicPartitions: array(struct({ topic: string(), partitions: array(int32()) })).nullable(),
    timeoutMs: int32().default(60000),
  },
  response: {
    throttleTimeMs: int32().default(0),
    errorCode: int16().since(1).default(0),
    replicaElectionResults: array(
      struct({
        topic: string(),
        partitionResult: array(
          struct({ partitionId: int32(), errorCode: int16(), errorMessage: string().nullable().default(null) }),
        ),
      }),
    ),
  },
});
