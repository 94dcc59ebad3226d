/** DescribeGroups: state and members of groups. v0–5. A group that is not there is Dead, without an error, as in Kafka. */

import { describeGroupsApi } from "@millrace/protocol";
import { defineHandler, NO_ERROR, type RequestContext } from "../handler.ts";

export const describeGroupsHandler = defineHandler({
  api: describeGroupsApi,
  versions: [0, 5],

  handle: ({ groups }, context) => ({ groups: groups.map((groupId) => describe(groupId, context)) }),

  errorResponse: ({ groups }, errorCode) => ({
    groups: groups.map((groupId) => ({ ...NO_GROUP, errorCode, groupId, groupState: "" })),
  }),
});

const NO_GROUP = { protocolType: "", protocolData: "", members: [] };
const NO_BYTES = Buffer.alloc(0);

function describe(groupId: string, { broker }: RequestContext) {
  const group = broker.groups.describe(groupId);
  if (group === null) return { ...NO_GROUP, errorCode: NO_ERROR, groupId, groupState: "Dead" };
  const { state, protocolType, protocolName } = group;
  return {
    errorCode: NO_ERROR,
    groupId,
    groupState: state,
    protocolType,
    protocolData: protocolName,
    members: group.members.map(({ memberId, groupInstanceId, clientId, clientHost, protocols, assignment }) => ({
      memberId,
      groupInstanceId,
      clientId,
      clientHost,
      memberMetadata: protocols.find(({ name }) => name === protocolName)?.metadata ?? NO_BYTES,
      memberAssignment: assignment,
    })),
  };
}
