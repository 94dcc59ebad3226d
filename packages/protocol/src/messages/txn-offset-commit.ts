/** TxnOffsetCommit (key 28): a group's offsets, committed with a transaction. */

import { array, defineApi, int16, int32, int64, string, struct } from "../schema.ts";

export const txnOffsetCommitApi = defineApi({
  key: 28,
  name: "TxnOffsetCommit",
  versions: [0, 5],
  flexibleSince: 3,
  request: {
    transactionalId: string(),
    groupId: string(),
    producerId: int64(),
    producerEpoch: int16(),
    generationId: int32().since(3).default(-1),
    memberId: string().since(3).default(""),
    groupInstanceId: string().since(3).nullable().default(null),
    topics: array(
      struct({
        name: string(),
        partitions: array(
          struct({
            partitionIndex: int32(),
            committedOffset: int64(),
            committedLeaderEpoch: int32().since(2).default(-1),
            committedMetadata: string().nullable(),
          }),
        ),
      }),
    ),
  },
  response: {
    throttleTimeMs: int32().default(0),
    topics: array(
      struct({ name: string(), partitions: array(struct({ partitionIndex: int32(), errorCode: int16() })) }),
    ),
  },
});
