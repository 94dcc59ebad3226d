/**
 * JoinGroup: a member enters its group; answered once all members have joined.
 *
 * v0–9. From v4 on a new member is first given its id and must come back with it; before v1 the session timeout is the
 * rebalance timeout too; from v9 on a leader can be told that its assignment stands.
 */

import { joinGroupApi } from "@millrace/protocol";
import { defineHandler, errorNumber, NO_ERROR, type RequestContext } from "../handler.ts";

const REBALANCE_TIMEOUT_SINCE_VERSION = 1;
const MEMBER_ID_REQUIRED_SINCE_VERSION = 4;
const NULL_PROTOCOL_SINCE_VERSION = 7;
const SKIP_ASSIGNMENT_SINCE_VERSION = 9;

export const joinGroupHandler = defineHandler({
  api: joinGroupApi,
  versions: [0, 9],

  async handle(request, context) {
    const { access, version } = context;
    access.expect("READ", "GROUP", request.groupId);
    const result = await context.broker.groups.join(request.groupId, {
      memberId: request.memberId,
      groupInstanceId: request.groupInstanceId,
      clientId: context.clientId ?? "",
      clientHost: clientHostOf(context),
      sessionTimeoutMs: request.sessionTimeoutMs,
      rebalanceTimeoutMs:
        version >= REBALANCE_TIMEOUT_SINCE_VERSION ? request.rebalanceTimeoutMs : request.sessionTimeoutMs,
      protocolType: request.protocolType,
      // Copied: as views they would keep whole frames alive for as long as the member.
      protocols: request.protocols.map(({ name, metadata }) => ({ name, metadata: Buffer.from(metadata) })),
      mustKnowMemberId: version >= MEMBER_ID_REQUIRED_SINCE_VERSION,
      canSkipAssignment: version >= SKIP_ASSIGNMENT_SINCE_VERSION,
    });
    return {
      errorCode: result.error === null ? NO_ERROR : errorNumber(result.error),
      generationId: result.generationId,
      protocolType: result.protocolType,
      protocolName: result.protocolName ?? noProtocol(context),
      leader: result.leaderId,
      skipAssignment: result.skipAssignment,
      memberId: result.memberId,
      members: result.members,
    };
  },

  errorResponse: ({ memberId }, errorCode, context) => ({
    errorCode,
    protocolName: noProtocol(context),
    leader: "",
    memberId,
    members: [],
  }),
});

function noProtocol({ version }: RequestContext): string | null {
  return version >= NULL_PROTOCOL_SINCE_VERSION ? null : "";
}

/** As Kafka shows it: "/127.0.0.1". */
function clientHostOf({ remote }: RequestContext): string {
  return `/${remote.replace(/:\d+$/, "")}`;
}
