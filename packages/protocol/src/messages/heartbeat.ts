/** Heartbeat (key 12): a member is alive; answers whether the group rebalances. */

import { defineApi, int16, int32, string } from "../schema.ts";

export const heartbeatApi = defineApi({
  key: 12,
  name: "Heartbeat",
  versions: [0, 4],
  flexibleSince: 4,
  request: {
    groupId: string(),
    generationId: int32(),
    memberId: string(),
    groupInstanceId: string().since(3).nullable().default(null),
  },
  response: { throttleTimeMs: int32().since(1).default(0), errorCode: int16() },
});
