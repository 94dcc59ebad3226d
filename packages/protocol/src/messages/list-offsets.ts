/** ListOffsets (key 2): the offset that belongs to a timestamp, or the earliest or latest one. */

import { array, defineApi, int8, int16, int32, int64, string, struct } from "../schema.ts";

export const listOffsetsApi = defineApi({
  key: 2,
  name: "ListOffsets",
  versions: [1, 10],
  flexibleSince: 6,
  request: {
    replicaId: int32(),
    isolationLevel: int8().since(2).default(0),
    topics: array(
      struct({
        name: string(),
        partitions: array(
          struct({
            partitionIndex: int32(),
            currentLeaderEpoch: int32().since(4).default(-1),
            // -1: latest. -2: earliest. -3: the largest timestamp, from version 7 on. -4, -5: tiered storage.
            timestamp: int64(),
          }),
        ),
      }),
    ),
    timeoutMs: int32().since(10).default(0),
  },
  response: {
    throttleTimeMs: int32().since(2).default(0),
    topics: array(
      struct({
        name: string(),
        partitions: array(
          struct({
            partitionIndex: int32(),
            errorCode: int16(),
            timestamp: int64().default(-1n),
            offset: int64().default(-1n),
            leaderEpoch: int32().since(4).default(-1),
          }),
        ),
      }),
    ),
  },
});
