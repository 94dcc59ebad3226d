/** OffsetCommit (key 8): how far a group has read, to be kept. */

import { array, defineApi, int16, int32, int64, string, struct } from "../schema.ts";

export const offsetCommitApi = defineApi({
  key: 8,
  name: "OffsetCommit",
  versions: [2, 9],
  flexibleSince: 8,
  request: {
    groupId: string(),
    generationIdOrMemberEpoch: int32().default(-1),
    memberId: string(),
    groupInstanceId: string().since(7).nullable().default(null),
    // -1: as long as the broker's offsets.retention.minutes says; clients no longer choose (KIP-211).
    retentionTimeMs: int64().until(4).default(-1n),
    topics: array(
      struct({
        name: string(),
        partitions: array(
          struct({
            partitionIndex: int32(),
            committedOffset: int64(),
            committedLeaderEpoch: int32().since(6).default(-1),
            committedMetadata: string().nullable(),
          }),
        ),
      }),
    ),
  },
  response: {
    throttleTimeMs: int32().since(3).default(0),
    topics: array(
      struct({ name: string(), partitions: array(struct({ partitionIndex: int32(), errorCode: int16() })) }),
    ),
  },
});
