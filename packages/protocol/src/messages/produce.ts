/** Produce (key 0): record batches to be appended, one per partition. */

import { array, defineApi, int16, int32, int64, NIL_UUID, records, string, struct, uuid } from "../schema.ts";

/**
 * Version 7 allows zstd (KIP-110), 8 tells which record was refused (KIP-467), 10 names the new leader (KIP-951),
 * 12 adds the partitions to the transaction by itself (KIP-890), 13 names topics by id (KIP-516).
 */
export const produceApi = defineApi({
  key: 0,
  name: "Produce",
  versions: [3, 13],
  flexibleSince: 9,
  request: {
    transactionalId: string().nullable().default(null),
    // 0: no answer will come. 1: the leader's log has it. -1: all in-sync replicas have it.
    acks: int16(),
    timeoutMs: int32(),
    topicData: array(
      struct({
        name: string().until(12).default(""),
        topicId: uuid().since(13).default(NIL_UUID),
        partitionData: array(struct({ index: int32(), records: records().nullable() })),
      }),
    ),
  },
  response: {
    responses: array(
      struct({
        name: string().until(12).default(""),
        topicId: uuid().since(13).default(NIL_UUID),
        partitionResponses: array(
          struct({
            index: int32(),
            errorCode: int16(),
            baseOffset: int64(),
            // -1 unless the topic's timestamps are LogAppendTime.
            logAppendTimeMs: int64().default(-1n),
            logStartOffset: int64().since(5).default(-1n),
            recordErrors: array(
              struct({ batchIndex: int32(), batchIndexErrorMessage: string().nullable().default(null) }),
            )
              .since(8)
              .default([]),
            errorMessage: string().since(8).nullable().default(null),
            currentLeader: struct({ leaderId: int32().default(-1), leaderEpoch: int32().default(-1) })
              .since(10)
              .tagged(0)
              .default({ leaderId: -1, leaderEpoch: -1 }),
          }),
        ),
      }),
    ),
    throttleTimeMs: int32().default(0),
    nodeEndpoints: array(
      struct({ nodeId: int32(), host: string(), port: int32(), rack: string().nullable().default(null) }),
    )
      .since(10)
      .tagged(0)
      .default([]),
  },
});
