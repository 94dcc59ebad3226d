/** OffsetForLeaderEpoch (key 23): where a leader epoch ended, so that a reader finds out what was truncated. */

import { array, defineApi, int16, int32, int64, string, struct } from "../schema.ts";

export const offsetForLeaderEpochApi = defineApi({
  key: 23,
  name: "OffsetForLeaderEpoch",
  versions: [0, 4],
  flexibleSince: 4,
  request: {
    // -2: a debugging tool. -1: a consumer.
    replicaId: int32().since(3).default(-2),
    topics: array(
      struct({
        topic: string(),
        partitions: array(
          struct({ partition: int32(), currentLeaderEpoch: int32().since(2).default(-1), leaderEpoch: int32() }),
        ),
      }),
    ),
  },
  response: {
    throttleTimeMs: int32().since(2).default(0),
    topics: array(
      struct({
        topic: string(),
        partitions: array(
          struct({
            errorCode: int16(),
            partition: int32(),
            leaderEpoch: int32().since(1).default(-1),
            endOffset: int64().default(-1n),
          }),
        ),
      }),
    ),
  },
});
