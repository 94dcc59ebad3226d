/** DeleteGroups: forgets groups without members, and what they committed. v0–2. */

import { deleteGroupsApi } from "@millrace/protocol";
import { defineHandler, errorNumberOf, NO_ERROR, type RequestContext } from "../handler.ts";

export const deleteGroupsHandler = defineHandler({
  api: deleteGroupsApi,
  versions: [0, 2],

  async handle({ groupsNames }, context) {
    return { results: await Promise.all(groupsNames.map((groupId) => remove(groupId, context))) };
  },

  errorResponse: ({ groupsNames }, errorCode) => ({ results: groupsNames.map((groupId) => ({ groupId, errorCode })) }),
});

async function remove(groupId: string, { access, broker }: RequestContext) {
  try {
    access.expect("DELETE", "GROUP", groupId);
    await broker.groups.delete(groupId);
    return { groupId, errorCode: NO_ERROR };
  } catch (error) {
    return { groupId, errorCode: errorNumberOf(error, `delete group ${groupId}`, broker.logger) };
  }
}
