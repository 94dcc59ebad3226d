/** ListGroups (key 16): the groups that this broker coordinates. */

import { array, defineApi, int16, int32, string, struct } from "../schema.ts";

export const listGroupsApi = defineApi({
  key: 16,
  name: "ListGroups",
  versions: [0, 5],
  flexibleSince: 3,
  request: {
    // Empty: all states.
    statesFilter: array(string()).since(4).default([]),
    typesFilter: array(string()).since(5).default([]),
  },
  response: {
    throttleTimeMs: int32().since(1).default(0),
    errorCode: int16(),
    groups: array(
      struct({
        groupId: string(),
        protocolType: string(),
        groupState: string().since(4).default(""),
        groupType: string().since(5).default(""),
      }),
    ),
  },
});
