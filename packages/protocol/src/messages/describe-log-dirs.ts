/** DescribeLogDirs (key 35): the log directories of a broker and the size of each replica in them. */

import { array, boolean, defineApi, int16, int32, int64, string, struct } from "../schema.ts";

export const describeLogDirsApi = defineApi({
  key: 35,
  name: "DescribeLogDirs",
  versions: [1, 4],
  flexibleSince: 2,
  request: {
    // Null: all.
    topics: array(struct({ topic: string(), partitions: array(int32()) })).nullable(),
  },
  response: {
    throttleTimeMs: int32().default(0),
    errorCode: int16().since(3).default(0),
    results: array(
      struct({
        errorCode: int16(),
        logDir: string(),
        topics: array(
          struct({
            name: string(),
            partitions: array(
              struct({ partitionIndex: int32(), partitionSize: int64(), offsetLag: int64(), isFutureKey: boolean() }),
            ),
          }),
        ),
        totalBytes: int64().since(4).default(-1n),
        usableBytes: int64().since(4).default(-1n),
      }),
    ),
  },
});
