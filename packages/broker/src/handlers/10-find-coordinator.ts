/**
 * FindCoordinator: which broker coordinates a group: this one.
 *
 * v0–6; from v4 on for several keys at once. Makes the topic that offsets are kept in, so that the first group finds it.
 * Key type 1, transactional ids, is refused: there are no transactions yet.
 */

import { type ErrorCode, findCoordinatorApi } from "@millrace/protocol";
import { defineHandler, errorNumber, errorNumberOf, NO_ERROR, type RequestContext } from "../handler.ts";

const GROUP_KEY_TYPE = 0;
const MANY_KEYS_SINCE_VERSION = 4;
/** What clients do with it: give up, rather than ask for ever. */
const REFUSAL: ErrorCode = "INVALID_REQUEST";

export const findCoordinatorHandler = defineHandler({
  api: findCoordinatorApi,
  versions: [0, 6],

  async handle({ key, keyType, coordinatorKeys }, context) {
    if (context.version < MANY_KEYS_SINCE_VERSION) return { ...(await find(key, keyType, context)) };
    const keys = key === "" ? coordinatorKeys : [key];
    return {
      coordinators: await Promise.all(
        keys.map(async (asked) => ({ key: asked, ...(await find(asked, keyType, context)) })),
      ),
    };
  },

  errorResponse: ({ coordinatorKeys }, errorCode) => ({
    errorCode,
    ...NOWHERE,
    coordinators: coordinatorKeys.map((key) => ({ key, errorCode, ...NOWHERE })),
  }),
});

const NOWHERE = { nodeId: -1, host: "", port: -1 };

async function find(key: string, keyType: number, { access, broker, advertised }: RequestContext) {
  if (keyType !== GROUP_KEY_TYPE) {
    return { errorCode: errorNumber(REFUSAL), errorMessage: "this broker has no transactions", ...NOWHERE };
  }
  try {
    access.expect("DESCRIBE", "GROUP", key);
    await broker.groups.prepare();
    const { host, port } = advertised;
    return { errorCode: NO_ERROR, errorMessage: null, nodeId: broker.options.nodeId, host, port };
  } catch (error) {
    const errorCode = errorNumberOf(error, "find a group's coordinator", broker.logger);
    return { errorCode, errorMessage: null, ...NOWHERE };
  }
}
