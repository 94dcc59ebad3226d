/** CreateAcls (key 30): new ACLs. */

import { array, defineApi, int8, int16, int32, string, struct } from "../schema.ts";

export const createAclsApi = defineApi({
  key: 30,
  name: "CreateAcls",
  versions: [1, 3],
  flexibleSince: 2,
  request: {
    creations: array(
      struct({
        resourceType: int8(),
        resourceName: string(),
        // 3: literal. 4: prefixed.
        resourcePatternType: int8().default(3),
        principal: string(),
        host: string(),
        operation: int8(),
        permissionType: int8(),
      }),
    ),
  },
  response: {
    throttleTimeMs: int32().default(0),
    results: array(struct({ errorCode: int16(), errorMessage: string().nullable().default(null) })),
  },
});
