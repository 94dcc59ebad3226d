/** EndTxn (key 26): commit or abort a transaction. */

import { boolean, defineApi, int16, int32, int64, string } from "../schema.ts";

export const endTxnApi = defineApi({
  key: 26,
  name: "EndTxn",
  versions: [0, 5],
  flexibleSince: 3,
  request: { transactionalId: string(), producerId: int64(), producerEpoch: int16(), committed: boolean() },
  response: {
    throttleTimeMs: int32().default(0),
    errorCode: int16(),
    // Version 5 starts a new epoch with each transaction (KIP-890).
    producerId: int64().since(5).default(-1n),
    producerEpoch: int16().since(5).default(-1),
  },
});
