/** SyncGroup (key 14): the leader hands in everybody's assignment, and each member gets its own. */

import { array, bytes, defineApi, int16, int32, string, struct } from "../schema.ts";

export const syncGroupApi = defineApi({
  key: 14,
  name: "SyncGroup",
  versions: [0, 5],
  flexibleSince: 4,
  request: {
    groupId: string(),
    generationId: int32(),
    memberId: string(),
    groupInstanceId: string().since(3).nullable().default(null),
    protocolType: string().since(5).nullable().default(null),
    protocolName: string().since(5).nullable().default(null),
    // Empty for all but the leader.
    assignments: array(struct({ memberId: string(), assignment: bytes() })),
  },
  response: {
    throttleTimeMs: int32().since(1).default(0),
    errorCode: int16(),
    protocolType: string().since(5).nullable().default(null),
    protocolName: string().since(5).nullable().default(null),
    assignment: bytes(),
  },
});
