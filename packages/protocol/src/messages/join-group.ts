/** JoinGroup (key 11): a member enters its group; answered once all members have joined. */

import { array, boolean, bytes, defineApi, int16, int32, string, struct } from "../schema.ts";

export const joinGroupApi = defineApi({
  key: 11,
  name: "JoinGroup",
  versions: [0, 9],
  flexibleSince: 6,
  request: {
    groupId: string(),
    sessionTimeoutMs: int32(),
    // Version 0 has the session timeout stand for both.
    rebalanceTimeoutMs: int32().since(1).default(-1),
    // Empty at first; from version 4 on answered with MEMBER_ID_REQUIRED and the id to join with (KIP-394).
    memberId: string(),
    // A static member keeps its assignment over a restart (KIP-345).
    groupInstanceId: string().since(5).nullable().default(null),
    protocolType: string(),
    protocols: array(struct({ name: string(), metadata: bytes() })),
    reason: string().since(8).nullable().default(null),
  },
  response: {
    throttleTimeMs: int32().since(2).default(0),
    errorCode: int16(),
    generationId: int32().default(-1),
    protocolType: string().since(7).nullable().default(null),
    protocolName: string().nullable(7),
    leader: string(),
    // The leader has come back and the assignment stands (KIP-814).
    skipAssignment: boolean().since(9).default(false),
    memberId: string(),
    // Empty for all but the leader, who assigns.
    members: array(
      struct({ memberId: string(), groupInstanceId: string().since(5).nullable().default(null), metadata: bytes() }),
    ),
  },
});
