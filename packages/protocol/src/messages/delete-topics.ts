/** DeleteTopics (key 20): topics to be deleted, by name or id. */

import { array, defineApi, int16, int32, NIL_UUID, string, struct, uuid } from "../schema.ts";

export const deleteTopicsApi = defineApi({
  key: 20,
  name: "DeleteTopics",
  versions: [0, 6],
  flexibleSince: 4,
  request: {
    // Version 6 names topics by name or id (KIP-516).
    topics: array(struct({ name: string().nullable().default(null), topicId: uuid() }))
      .since(6)
      .default([]),
    topicNames: array(string()).until(5).default([]),
    timeoutMs: int32(),
  },
  response: {
    throttleTimeMs: int32().since(1).default(0),
    responses: array(
      struct({
        name: string().nullable(6),
        topicId: uuid().since(6).default(NIL_UUID),
        errorCode: int16(),
        errorMessage: string().since(5).nullable().default(null),
      }),
    ),
  },
});
