/** AlterConfigs (key 33): replaces all options of a topic or broker; what is not named falls back to its default. */

import { array, boolean, defineApi, int8, int16, int32, string, struct } from "../schema.ts";

export const alterConfigsApi = defineApi({
  key: 33,
  name: "AlterConfigs",
  versions: [0, 2],
  flexibleSince: 2,
  request: {
    resources: array(
      struct({
        resourceType: int8(),
        resourceName: string(),
        configs: array(struct({ name: string(), value: string().nullable() })),
      }),
    ),
    validateOnly: boolean(),
  },
  response: {
    throttleTimeMs: int32().default(0),
    responses: array(
      struct({
        errorCode: int16(),
        errorMessage: string().nullable().default(null),
        resourceType: int8(),
        resourceName: string(),
      }),
    ),
  },
});
