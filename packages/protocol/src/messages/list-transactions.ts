/** ListTransactions (key 66): the transactions that this broker coordinates. */

import { array, defineApi, int16, int32, int64, string, struct } from "../schema.ts";

export const listTransactionsApi = defineApi({
  key: 66,
  name: "ListTransactions",
  versions: [0, 1],
  flexibleSince: 0,
  request: {
    stateFilters: array(string()),
    producerIdFilters: array(int64()),
    durationFilter: int64().since(1).default(-1n),
  },
  response: {
    throttleTimeMs: int32().default(0),
    errorCode: int16(),
    unknownStateFilters: array(string()),
    transactionStates: array(struct({ transactionalId: string(), producerId: int64(), transactionState: string() })),
  },
});
