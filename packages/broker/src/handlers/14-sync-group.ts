/** SyncGroup: the leader hands in everybody's assignment; each member gets its own once it is on disk. v0–5. */

import { syncGroupApi } from "@millrace/protocol";
import { defineHandler, NO_ERROR } from "../handler.ts";

export const syncGroupHandler = defineHandler({
  api: syncGroupApi,
  versions: [0, 5],

  async handle({ groupId, ...request }, { access, broker }) {
    access.expect("READ", "GROUP", groupId);
    return { errorCode: NO_ERROR, ...(await broker.groups.sync(groupId, request)) };
  },

  errorResponse: (_request, errorCode) => ({ errorCode, assignment: Buffer.alloc(0) }),
});
