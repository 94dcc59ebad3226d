/** AlterClientQuotas (key 49): sets and removes quotas. */

import { array, boolean, defineApi, float64, int16, int32, string, struct } from "../schema.ts";

export const alterClientQuotasApi = defineApi({
  key: 49,
  name: "AlterClientQuotas",
  versions: [0, 1],
  flexibleSince: 1,
  request: {
    entries: array(
      struct({
        entity: array(struct({ entityType: string(), entityName: string().nullable() })),
        ops: array(struct({ key: string(), value: float64(), remove: boolean() })),
      }),
    ),
    validateOnly: boolean(),
  },
  response: {
    throttleTimeMs: int32().default(0),
    entries: array(
      struct({
        errorCode: int16(),
        errorMessage: string().nullable().default(null),
        entity: array(struct({ entityType: string(), entityName: string().nullable() })),
      }),
    ),
  },
});
