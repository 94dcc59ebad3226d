/** FindCoordinator (key 10): which broker coordinates a group or a transactional id. */

import { array, defineApi, int8, int16, int32, string, struct } from "../schema.ts";

export const findCoordinatorApi = defineApi({
  key: 10,
  name: "FindCoordinator",
  versions: [0, 6],
  flexibleSince: 3,
  request: {
    key: string().until(3).default(""),
    // 0: a group. 1: a transactional id. 2: a share group.
    keyType: int8().since(1).default(0),
    // Version 4 asks for many keys at once (KIP-699).
    coordinatorKeys: array(string()).since(4).default([]),
  },
  response: {
    throttleTimeMs: int32().since(1).default(0),
    errorCode: int16().until(3).default(0),
    errorMessage: string().since(1).until(3).nullable().default(null),
    nodeId: int32().until(3).default(0),
    host: string().until(3).default(""),
    port: int32().until(3).default(0),
    coordinators: array(
      struct({
        key: string(),
        nodeId: int32(),
        host: string(),
        port: int32(),
        errorCode: int16(),
        errorMessage: string().nullable().default(null),
      }),
    )
      .since(4)
      .default([]),
  },
});
