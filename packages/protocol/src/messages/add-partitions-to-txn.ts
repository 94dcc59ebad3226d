/** AddPartitionsToTxn (key 24): partitions that a transaction is about to write. */

import { array, boolean, defineApi, int16, int32, int64, string, struct } from "../schema.ts";

const topic = struct({ name: string(), partitions: array(int32()) });

const partitionResult = struct({ partitionIndex: int32(), partitionErrorCode: int16() });

const topicResult = struct({ name: string(), resultsByPartition: array(partitionResult) });

/** Version 4 and 5 are for brokers: many transactions at once, perhaps only to verify them (KIP-890). */
export const addPartitionsToTxnApi = defineApi({
  key: 24,
  name: "AddPartitionsToTxn",
  versions: [0, 5],
  flexibleSince: 3,
  request: {
    transactions: array(
      struct({
        transactionalId: string(),
        producerId: int64(),
        producerEpoch: int16(),
        verifyOnly: boolean().default(false),
        topics: array(topic),
      }),
    )
      .since(4)
      .default([]),
    v3AndBelowTransactionalId: string().until(3).default(""),
    v3AndBelowProducerId: int64().until(3).default(0n),
    v3AndBelowProducerEpoch: int16().until(3).default(0),
    v3AndBelowTopics: array(topic).until(3).default([]),
  },
  response: {
    throttleTimeMs: int32().default(0),
    errorCode: int16().since(4).default(0),
    resultsByTransaction: array(struct({ transactionalId: string(), topicResults: array(topicResult) }))
      .since(4)
      .default([]),
    resultsByTopicV3AndBelow: array(topicResult).until(3).default([]),
  },
});
