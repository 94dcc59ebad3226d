/** AddOffsetsToTxn (key 25): a group whose offsets a transaction is about to commit. */

import { defineApi, int16, int32, int64, string } from "../schema.ts";

export const addOffsetsToTxnApi = defineApi({
  key: 25,
  name: "AddOffsetsToTxn",
  versions: [0, 4],
  flexibleSince: 3,
  request: { transactionalId: string(), producerId: int64(), producerEpoch: int16(), groupId: string() },
  response: { throttleTimeMs: int32().default(0), errorCode: int16() },
});
