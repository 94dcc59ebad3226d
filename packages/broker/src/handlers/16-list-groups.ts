/** ListGroups: all groups, from v4 on of some states, from v5 on of some types. v0–5. */

import { listGroupsApi } from "@millrace/protocol";
import { defineHandler, NO_ERROR } from "../handler.ts";
import { CLUSTER_NAME } from "../security/acl.ts";

/** The only type there is here; the other ones are those of the newer group protocols. */
const GROUP_TYPE = "classic";

export const listGroupsHandler = defineHandler({
  api: listGroupsApi,
  versions: [0, 5],

  handle({ statesFilter, typesFilter }, { access, broker }) {
    const seesAll = access.allows("DESCRIBE", "CLUSTER", CLUSTER_NAME);
    const groups = broker.groups
      .list()
      .filter(({ groupId }) => seesAll || access.allows("DESCRIBE", "GROUP", groupId))
      .filter(({ state }) => isAsked(state, statesFilter) && isAsked(GROUP_TYPE, typesFilter))
      .map(({ groupId, protocolType, state }) => ({ groupId, protocolType, groupState: state, groupType: GROUP_TYPE }));
    return { errorCode: NO_ERROR, groups };
  },

  errorResponse: (_request, errorCode) => ({ errorCode, groups: [] }),
});

function isAsked(value: string, filter: readonly string[]): boolean {
  return filter.length === 0 || filter.some((asked) => asked.toLowerCase() === value.toLowerCase());
}
