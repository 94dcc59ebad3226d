/** DescribeAcls (key 29): the ACLs that match a filter. */

import { array, defineApi, int8, int16, int32, string, struct } from "../schema.ts";

export const describeAclsApi = defineApi({
  key: 29,
  name: "DescribeAcls",
  versions: [1, 3],
  flexibleSince: 2,
  request: {
    resourceTypeFilter: int8(),
    resourceNameFilter: string().nullable(),
    // 1: any. 2: match. 3: literal. 4: prefixed.
    patternTypeFilter: int8().default(3),
    principalFilter: string().nullable(),
    hostFilter: string().nullable(),
    operation: int8(),
    permissionType: int8(),
  },
  response: {
    throttleTimeMs: int32().default(0),
    errorCode: int16(),
    errorMessage: string().nullable().default(null),
    resources: array(
      struct({
        resourceType: int8(),
        resourceName: string(),
        patternType: int8().default(3),
        acls: array(struct({ principal: string(), host: string(), operation: int8(), permissionType: int8() })),
      }),
    ),
  },
});
