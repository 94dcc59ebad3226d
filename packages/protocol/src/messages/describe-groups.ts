/** DescribeGroups (key 15): state and members of groups. */

import { array, boolean, bytes, defineApi, int16, int32, string, struct } from "../schema.ts";

export const describeGroupsApi = defineApi({
  key: 15,
  name: "DescribeGroups",
  versions: [0, 6],
  flexibleSince: 5,
  request: { groups: array(string()), includeAuthorizedOperations: boolean().since(3).default(false) },
  response: {
    throttleTimeMs: int32().since(1).default(0),
    groups: array(
      struct({
        errorCode: int16(),
        errorMessage: string().since(6).nullable().default(null),
        groupId: string(),
        // Empty, PreparingRebalance, CompletingRebalance, Stable or Dead.
        groupState: string(),
        protocolType: string(),
        protocolData: string(),
        members: array(
          struct({
            memberId: string(),
            groupInstanceId: string().since(4).nullable().default(null),
            clientId: string(),
            clientHost: string(),
            memberMetadata: bytes(),
            memberAssignment: bytes(),
          }),
        ),
        authorizedOperations: int32().since(3).default(-2147483648),
      }),
    ),
  },
});
