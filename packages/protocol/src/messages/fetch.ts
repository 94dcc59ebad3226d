/** Fetch (key 1): record batches from an offset on, waiting a while until there are enough. */

import { array, defineApi, int8, int16, int32, int64, NIL_UUID, records, string, struct, uuid } from "../schema.ts";

/**
 * Version 7 keeps what was asked in a session (KIP-227), 9 and 12 find out that a log was truncated (KIP-320, KIP-595),
 * 10 allows zstd (KIP-110), 13 names topics by id (KIP-516), 16 names the new leader (KIP-951).
 */
export const fetchApi = defineApi({
  key: 1,
  name: "Fetch",
  versions: [4, 17],
  flexibleSince: 12,
  request: {
    clusterId: string().since(12).nullable().tagged(0).default(null),
    replicaId: int32().until(14).default(-1),
    replicaState: struct({ replicaId: int32().default(-1), replicaEpoch: int64().default(-1n) })
      .since(15)
      .tagged(1)
      .default({ replicaId: -1, replicaEpoch: -1n }),
    maxWaitMs: int32(),
    minBytes: int32(),
    // The first batch comes even if it is larger than both limits (KIP-74).
    maxBytes: int32().default(2147483647),
    // 0: all records. 1: only those of committed transactions.
    isolationLevel: int8().default(0),
    sessionId: int32().since(7).default(0),
    // -1: no session. 0: start one. Else: the partitions that changed since the last request of this session.
    sessionEpoch: int32().since(7).default(-1),
    topics: array(
      struct({
        topic: string().until(12).default(""),
        topicId: uuid().since(13).default(NIL_UUID),
        partitions: array(
          struct({
            partition: int32(),
            currentLeaderEpoch: int32().since(9).default(-1),
            fetchOffset: int64(),
            lastFetchedEpoch: int32().since(12).default(-1),
            logStartOffset: int64().since(5).default(-1n),
            partitionMaxBytes: int32(),
            replicaDirectoryId: uuid().since(17).tagged(0).default(NIL_UUID),
          }),
        ),
      }),
    ),
    forgottenTopicsData: array(
      struct({
        topic: string().until(12).default(""),
        topicId: uuid().since(13).default(NIL_UUID),
        partitions: array(int32()),
      }),
    )
      .since(7)
      .default([]),
    rackId: string().since(11).default(""),
  },
  response: {
    throttleTimeMs: int32().default(0),
    errorCode: int16().since(7).default(0),
    sessionId: int32().since(7).default(0),
    responses: array(
      struct({
        topic: string().until(12).default(""),
        topicId: uuid().since(13).default(NIL_UUID),
        partitions: array(
          struct({
            partitionIndex: int32(),
            errorCode: int16(),
            highWatermark: int64(),
            lastStableOffset: int64().default(-1n),
            logStartOffset: int64().since(5).default(-1n),
            divergingEpoch: struct({ epoch: int32().default(-1), endOffset: int64().default(-1n) })
              .since(12)
              .tagged(0)
              .default({ epoch: -1, endOffset: -1n }),
            currentLeader: struct({ leaderId: int32().default(-1), leaderEpoch: int32().default(-1) })
              .since(12)
              .tagged(1)
              .default({ leaderId: -1, leaderEpoch: -1 }),
            snapshotId: struct({ endOffset: int64().default(-1n), epoch: int32().default(-1) })
              .since(12)
              .tagged(2)
              .default({ endOffset: -1n, epoch: -1 }),
            // Null where isolationLevel is 0.
            abortedTransactions: array(struct({ producerId: int64(), firstOffset: int64() })).nullable(),
            preferredReadReplica: int32().since(11).default(-1),
            records: records().nullable(),
          }),
        ),
      }),
    ),
    nodeEndpoints: array(
      struct({ nodeId: int32(), host: string(), port: int32(), rack: string().nullable().default(null) }),
    )
      .since(16)
      .tagged(0)
      .default([]),
  },
});
