/** DeleteAcls: removes the access control rules that filters mean, and tells which those were. v1–3. */

import { deleteAclsApi } from "@millrace/protocol";
import { defineHandler, errorMessageOf, errorNumberOf, NO_ERROR, type RequestContext } from "../handler.ts";
import { type Acl, type AclFilter, aclMatcher, wireAclOf } from "../security/acl.ts";
import { expectAcls } from "./expect-acls.ts";

export const deleteAclsHandler = defineHandler({
  api: deleteAclsApi,
  versions: [1, 3],

  async handle({ filters }, context) {
    expectAcls(context, "ALTER");
    const prepared = filters.map((filter) => prepare(filter, context));
    const removed = await context.broker.accessControl.remove(prepared.map(({ isMeant }) => isMeant));
    return {
      filterResults: prepared.map(({ result }, index) => ({
        ...result,
        matchingAcls: (removed[index] ?? []).map((acl) => ({ errorCode: NO_ERROR, ...wireAclOf(acl) })),
      })),
    };
  },

  errorResponse: ({ filters }, errorCode) => ({ filterResults: filters.map(() => ({ errorCode, matchingAcls: [] })) }),
});

/** A filter that means nothing removes nothing, and has its own error. */
function prepare(filter: AclFilter, { broker }: RequestContext): Prepared {
  try {
    return { isMeant: aclMatcher(filter), result: { errorCode: NO_ERROR } };
  } catch (error) {
    const errorCode = errorNumberOf(error, "delete access control rules", broker.logger);
    return { isMeant: () => false, result: { errorCode, errorMessage: errorMessageOf(error) } };
  }
}

interface Prepared {
  readonly isMeant: (acl: Acl) => boolean;
  readonly result: { readonly errorCode: number; readonly errorMessage?: string | null };
}
