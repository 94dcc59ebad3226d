/** LeaveGroup: members leave for good. v0–5; from v3 on several at once, each with its own result. */

import { leaveGroupApi } from "@millrace/protocol";
import { defineHandler, errorNumberOf, NO_ERROR, type RequestContext } from "../handler.ts";

const MANY_MEMBERS_SINCE_VERSION = 3;

export const leaveGroupHandler = defineHandler({
  api: leaveGroupApi,
  versions: [0, 5],

  handle({ groupId, memberId, members }, context) {
    context.access.expect("READ", "GROUP", groupId);
    if (context.version < MANY_MEMBERS_SINCE_VERSION) {
      return { errorCode: leave(groupId, memberId, null, context) };
    }
    return {
      errorCode: NO_ERROR,
      members: members.map((member) => ({
        memberId: member.memberId,
        groupInstanceId: member.groupInstanceId,
        errorCode: leave(groupId, member.memberId, member.groupInstanceId, context),
      })),
    };
  },

  errorResponse: (_request, errorCode) => ({ errorCode }),
});

function leave(groupId: string, memberId: string, groupInstanceId: string | null, { broker }: RequestContext): number {
  try {
    broker.groups.leave(groupId, memberId, groupInstanceId);
    return NO_ERROR;
  } catch (error) {
    return errorNumberOf(error, `leave group ${groupId}`, broker.logger);
  }
}
