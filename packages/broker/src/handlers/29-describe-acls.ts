/** DescribeAcls: the access control rules that a filter means. v1–3. */

import { describeAclsApi } from "@millrace/protocol";
import { defineHandler, errorMessageOf, errorNumberOf, NO_ERROR } from "../handler.ts";
import { type Acl, patternTypes, resourceTypes, wireAclOf } from "../security/acl.ts";
import { expectAcls } from "./expect-acls.ts";

export const describeAclsHandler = defineHandler({
  api: describeAclsApi,
  versions: [1, 3],

  handle(filter, context) {
    const { accessControl, logger } = context.broker;
    try {
      expectAcls(context, "DESCRIBE");
      return { errorCode: NO_ERROR, resources: groupByResource(accessControl.find(filter)) };
    } catch (error) {
      const errorCode = errorNumberOf(error, "describe access control rules", logger);
      return { errorCode, errorMessage: errorMessageOf(error), resources: [] };
    }
  },

  errorResponse: (_request, errorCode) => ({ errorCode, resources: [] }),
});

function groupByResource(acls: readonly Acl[]) {
  const groups = new Map<string, Acl[]>();
  for (const acl of acls) {
    const key = `${acl.resourceType} ${acl.patternType} ${acl.resourceName}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [acl]);
    else group.push(acl);
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    return {
      resourceType: resourceTypes[first.resourceType],
      resourceName: first.resourceName,
      patternType: patternTypes[first.patternType],
      acls: group.map(wireAclOf),
    };
  });
}
