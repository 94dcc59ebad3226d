/** OffsetFetch (key 9): how far a group has read, as it was last committed. */

import { array, boolean, defineApi, int16, int32, int64, string, struct } from "../schema.ts";

export const offsetFetchApi = defineApi({
  key: 9,
  name: "OffsetFetch",
  versions: [1, 9],
  flexibleSince: 6,
  request: {
    groupId: string().until(7).default(""),
    // Null: all topics of the group.
    topics: array(struct({ name: string(), partitionIndexes: array(int32()) }))
      .until(7)
      .nullable(2)
      .default([]),
    // Version 8 asks for many groups at once (KIP-709) instead of the fields above.
    groups: array(
      struct({
        groupId: string(),
        memberId: string().since(9).nullable().default(null),
        memberEpoch: int32().since(9).default(-1),
        // Null: all topics of the group.
        topics: array(struct({ name: string(), partitionIndexes: array(int32()) })).nullable(),
      }),
    )
      .since(8)
      .default([]),
    // Wait for open transactions that commit offsets (KIP-447).
    requireStable: boolean().since(7).default(false),
  },
  response: {
    throttleTimeMs: int32().since(3).default(0),
    topics: array(
      struct({
        name: string(),
        partitions: array(
          struct({
            partitionIndex: int32(),
            committedOffset: int64(),
            committedLeaderEpoch: int32().since(5).default(-1),
            metadata: string().nullable(),
            errorCode: int16(),
          }),
        ),
      }),
    )
      .until(7)
      .default([]),
    errorCode: int16().since(2).until(7).default(0),
    groups: array(
      struct({
        groupId: string(),
        topics: array(
          struct({
            name: string(),
            partitions: array(
              struct({
                partitionIndex: int32(),
                committedOffset: int64(),
                committedLeaderEpoch: int32().default(-1),
                metadata: string().nullable(),
                errorCode: int16(),
              }),
            ),
          }),
        ),
        errorCode: int16().default(0),
      }),
    )
      .since(8)
      .default([]),
  },
});
