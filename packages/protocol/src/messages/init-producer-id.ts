/** InitProducerId (key 22): a producer id and epoch, for idempotence and transactions. */

import { defineApi, int16, int32, int64, string } from "../schema.ts";

export const initProducerIdApi = defineApi({
  key: 22,
  name: "InitProducerId",
  versions: [0, 5],
  flexibleSince: 2,
  request: {
    transactionalId: string().nullable(),
    transactionTimeoutMs: int32(),
    // From version 3 on a producer can ask for the next epoch of the id it has (KIP-360).
    producerId: int64().since(3).default(-1n),
    producerEpoch: int16().since(3).default(-1),
  },
  response: {
    throttleTimeMs: int32().default(0),
    errorCode: int16(),
    producerId: int64().default(-1n),
    producerEpoch: int16(),
  },
});
