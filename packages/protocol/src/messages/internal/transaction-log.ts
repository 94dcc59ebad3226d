/** The state of one transactional id: a record of the topic __transaction_state. */

import { array, defineMessage, int8, int16, int32, int64, string, struct } from "../../schema.ts";

export const transactionLogKey = defineMessage(
  "TransactionLogKey",
  { transactionalId: string() },
  { min: 0, max: 0 },
  Number.POSITIVE_INFINITY,
);

/** A record with no value forgets the transactional id. */
export const transactionLogValue = defineMessage(
  "TransactionLogValue",
  {
    producerId: int64(),
    previousProducerId: int64().since(1).tagged(0).default(-1n),
    nextProducerId: int64().since(1).tagged(1).default(-1n),
    producerEpoch: int16(),
    nextProducerEpoch: int16().since(1).tagged(3).default(-1),
    transactionTimeoutMs: int32(),
    // 0: Empty. 1: Ongoing. 2, 3: PrepareCommit, PrepareAbort. 4, 5: CompleteCommit, CompleteAbort. 6: Dead.
    transactionStatus: int8(),
    transactionPartitions: array(struct({ topic: string(), partitionIds: array(int32()) })).nullable(),
    transactionLastUpdateTimestampMs: int64(),
    transactionStartTimestampMs: int64(),
    clientTransactionVersion: int16().since(1).tagged(2).default(0),
  },
  { min: 0, max: 1 },
  1,
);
