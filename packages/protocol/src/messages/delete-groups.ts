/** DeleteGroups (key 42): empty groups to be forgotten. */

import { array, defineApi, int16, int32, string, struct } from "../schema.ts";

export const deleteGroupsApi = defineApi({
  key: 42,
  name: "DeleteGroups",
  versions: [0, 2],
  flexibleSince: 2,
  request: { groupsNames: array(string()) },
  response: { throttleTimeMs: int32().default(0), results: array(struct({ groupId: string(), errorCode: int16() })) },
});
