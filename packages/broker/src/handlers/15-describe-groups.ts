/** DescribeGroups: state and members of groups. v0–5. A group that is not there is Dead, without an error, as in Kafka. */

import { describeGroupsApi } from "@millrace/protocol";
import { defineHandler, errorNumber, NO_ERROR, type RequestContext } from "../handler.ts";
import { groupOperations } from "./authorized-operations.ts";

export const describeGroupsHandler = defineHandler({
  api: describeGroupsApi,
  versions: [0, 5],

  handle: ({ groups, includeAuthorizedOperations }, context) => ({
    groups: groups.map((groupId) =>
      context.access.allows("DESCRIBE", "GROUP", groupId)
        ? {
            ...describe(groupId, context),
            authorizedOperations: groupOperations(includeAuthorizedOperations, groupId, context),
          }
        : failed(groupId, errorNumber("GROUP_AUTHORIZATION_FAILED")),
    ),
  }),

  errorResponse: ({ groups }, errorCode) => ({
    groups: groups.map((groupId) => failed(groupId, errorCode)),
  }),
});

const NO_GROUP = { protocolType: "", protocolData: "", members: [] };
const NO_BYTES = Buffer.alloc(0);

function failed(groupId: string, errorCode: number) {
  return { ...NO_GROUP, errorCode, groupId, groupState: "" };
}

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
