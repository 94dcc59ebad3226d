/** CreateAcls: adds access control rules, answered once they are in force and on disk. v1–3. */

import { createAclsApi } from "@millrace/protocol";
import { defineHandler, errorMessageOf, errorNumberOf, NO_ERROR, type RequestContext } from "../handler.ts";
import { type Acl, aclOf } from "../security/acl.ts";
import { expectAcls } from "./expect-acls.ts";

export const createAclsHandler = defineHandler({
  api: createAclsApi,
  versions: [1, 3],

  async handle({ creations }, context) {
    expectAcls(context, "ALTER");
    const acls: Acl[] = [];
    const results = creations.map(({ resourcePatternType: patternType, ...rest }) => {
      try {
        acls.push(aclOf({ ...rest, patternType }));
        return { errorCode: NO_ERROR };
      } catch (error) {
        return failureOf(error, context);
      }
    });
    try {
      await context.broker.accessControl.add(acls);
      return { results };
    } catch (error) {
      const failure = failureOf(error, context);
      return { results: results.map((result) => (result.errorCode === NO_ERROR ? failure : result)) };
    }
  },

  errorResponse: ({ creations }, errorCode) => ({ results: creations.map(() => ({ errorCode })) }),
});

function failureOf(error: unknown, { broker }: RequestContext) {
  const errorCode = errorNumberOf(error, "create access control rules", broker.logger);
  return { errorCode, errorMessage: errorMessageOf(error) };
}
