/** IncrementalAlterConfigs (key 44): changes single options of topics and brokers. */

import { array, boolean, defineApi, int8, int16, int32, string, struct } from "../schema.ts";

export const incrementalAlterConfigsApi = defineApi({
  key: 44,
  name: "IncrementalAlterConfigs",
  versions: [0, 1],
  flexibleSince: 1,
  request: {
    resources: array(
      struct({
        resourceType: int8(),
        resourceName: string(),
        configs: array(
          struct({
            name: string(),
            // 0: set. 1: delete. 2: append to a list. 3: subtract from it.
            configOperation: int8(),
            value: string().nullable(),
          }),
        ),
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
