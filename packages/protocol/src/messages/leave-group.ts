/** LeaveGroup (key 13): members leave their group for good. */

import { array, defineApi, int16, int32, string, struct } from "../schema.ts";

export const leaveGroupApi = defineApi({
  key: 13,
  name: "LeaveGroup",
  versions: [0, 5],
  flexibleSince: 4,
  request: {
    groupId: string(),
    // Version 3 names several members (KIP-345) instead of one.
    memberId: string().until(2).default(""),
    members: array(
      struct({
        memberId: string(),
        groupInstanceId: string().nullable().default(null),
        reason: string().since(5).nullable().default(null),
      }),
    )
      .since(3)
      .default([]),
  },
  response: {
    throttleTimeMs: int32().since(1).default(0),
    errorCode: int16(),
    members: array(struct({ memberId: string(), groupInstanceId: string().nullable(), errorCode: int16() }))
      .since(3)
      .default([]),
  },
});
