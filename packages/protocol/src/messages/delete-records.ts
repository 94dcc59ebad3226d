/** DeleteRecords (key 21): the records before an offset may go. */

import { array, defineApi, int16, int32, int64, string, struct } from "../schema.ts";

export const deleteRecordsApi = defineApi({
  key: 21,
  name: "DeleteRecords",
  versions: [0, 2],
  flexibleSince: 2,
  request: {
    topics: array(
      struct({
        name: string(),
        partitions: array(
          struct({
            partitionIndex: int32(),
            // -1: up to the high watermark.
            offset: int64(),
          }),
        ),
      }),
    ),
    timeoutMs: int32(),
  },
  response: {
    throttleTimeMs: int32().default(0),
    topics: array(
      struct({
        name: string(),
        partitions: array(struct({ partitionIndex: int32(), lowWatermark: int64(), errorCode: int16() })),
      }),
    ),
  },
});
