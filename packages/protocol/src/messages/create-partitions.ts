/** CreatePartitions (key 37): more partitions for topics. */

import { array, boolean, defineApi, int16, int32, string, struct } from "../schema.ts";

export const createPartitionsApi = defineApi({
  key: 37,
  name: "CreatePartitions",
  versions: [0, 3],
  flexibleSince: 2,
  request: {
    topics: array(
      struct({ name: string(), count: int32(), assignments: array(struct({ brokerIds: array(int32()) })).nullable() }),
    ),
    timeoutMs: int32(),
    validateOnly: boolean(),
  },
  response: {
    throttleTimeMs: int32().default(0),
    results: array(struct({ name: string(), errorCode: int16(), errorMessage: string().nullable().default(null) })),
  },
});
