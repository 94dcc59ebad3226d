/** AlterUserScramCredentials (key 51): sets and removes SCRAM credentials of users. */

import { array, bytes, defineApi, int8, int16, int32, string, struct } from "../schema.ts";

export const alterUserScramCredentialsApi = defineApi({
  key: 51,
  name: "AlterUserScramCredentials",
  versions: [0, 0],
  flexibleSince: 0,
  request: {
    deletions: array(struct({ name: string(), mechanism: int8() })),
    upsertions: array(
      struct({
        name: string(),
        // 1: SCRAM-SHA-256. 2: SCRAM-SHA-512.
        mechanism: int8(),
        iterations: int32(),
        salt: bytes(),
        saltedPassword: bytes(),
      }),
    ),
  },
  response: {
    throttleTimeMs: int32().default(0),
    results: array(struct({ user: string(), errorCode: int16(), errorMessage: string().nullable().default(null) })),
  },
});
