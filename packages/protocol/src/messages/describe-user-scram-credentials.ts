/** DescribeUserScramCredentials (key 50): which users have SCRAM credentials. */

import { array, defineApi, int8, int16, int32, string, struct } from "../schema.ts";

export const describeUserScramCredentialsApi = defineApi({
  key: 50,
  name: "DescribeUserScramCredentials",
  versions: [0, 0],
  flexibleSince: 0,
  request: {
    // Null: all.
    users: array(struct({ name: string() })).nullable(),
  },
  response: {
    throttleTimeMs: int32().default(0),
    errorCode: int16(),
    errorMessage: string().nullable().default(null),
    results: array(
      struct({
        user: string(),
        errorCode: int16(),
        errorMessage: string().nullable().default(null),
        credentialInfos: array(struct({ mechanism: int8(), iterations: int32() })),
      }),
    ),
  },
});
