/** Heartbeat: a member is alive; REBALANCE_IN_PROGRESS tells it to join again. v0–4. */

import { heartbeatApi } from "@millrace/protocol";
import { defineHandler, NO_ERROR } from "../handler.ts";

export const heartbeatHandler = defineHandler({
  api: heartbeatApi,
  versions: [0, 4],

  handle({ groupId, ...claim }, { access, broker }) {
    access.expect("READ", "GROUP", groupId);
    broker.groups.heartbeat(groupId, claim);
    return { errorCode: NO_ERROR };
  },

  errorResponse: (_request, errorCode) => ({ errorCode }),
});
