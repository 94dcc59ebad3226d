/** DeleteAcls (key 31): ACLs to be deleted, by filter. */

import { array, defineApi, int8, int16, int32, string, struct } from "../schema.ts";

export const deleteAclsApi = defineApi({
  key: 31,
  name: "DeleteAcls",
  versions: [1, 3],
  flexibleSince: 2,
  request: {
    filters: array(
      struct({
        resourceTypeFilter: int8(),
        resourceNameFilter: string().nullable(),
        patternTypeFilter: int8().default(3),
        principalFilter: string().nullable(),
        hostFilter: string().nullable(),
        operation: int8(),
        permissionType: int8(),
      }),
    ),
  },
  response: {
    throttleTimeMs: int32().default(0),
    filterResults: array(
      struct({
        errorCode: int16(),
        errorMessage: string().nullable().default(null),
        matchingAcls: array(
          struct({
            errorCode: int16(),
            errorMessage: string().nullable().default(null),
            resourceType: int8(),
            resourceName: string(),
            patternType: int8().default(3),
            principal: string(),
            host: string(),
            operation: int8(),
            permissionType: int8(),
          }),
        ),
      }),
    ),
  },
});
