/** DescribeClientQuotas (key 48): the quotas that match a filter. */

import { array, boolean, defineApi, float64, int8, int16, int32, string, struct } from "../schema.ts";

export const describeClientQuotasApi = defineApi({
  key: 48,
  name: "DescribeClientQuotas",
  versions: [0, 1],
  flexibleSince: 1,
  request: {
    components: array(
      struct({
        entityType: string(),
        // 0: exact name. 1: the default entity. 2: any that is named.
        matchType: int8(),
        match: string().nullable(),
      }),
    ),
    strict: boolean(),
  },
  response: {
    throttleTimeMs: int32().default(0),
    errorCode: int16(),
    errorMessage: string().nullable().default(null),
    entries: array(
      struct({
        entity: array(struct({ entityType: string(), entityName: string().nullable() })),
        values: array(struct({ key: string(), value: float64() })),
      }),
    ).nullable(),
  },
});
