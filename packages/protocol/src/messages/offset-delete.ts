/** OffsetDelete (key 47): committed offsets to be forgotten. */

import { array, defineApi, int16, int32, string, struct } from "../schema.ts";

export const offsetDeleteApi = defineApi({
  key: 47,
  name: "OffsetDelete",
  versions: [0, 0],
  flexibleSince: "never",
  request: {
    groupId: string(),
    topics: array(struct({ name: string(), partitions: array(struct({ partitionIndex: int32() })) })),
  },
  response: {
    errorCode: int16(),
    throttleTimeMs: int32().default(0),
    topics: array(
      struct({ name: string(), partitions: array(struct({ partitionIndex: int32(), errorCode: int16() })) }),
    ),
  },
});
