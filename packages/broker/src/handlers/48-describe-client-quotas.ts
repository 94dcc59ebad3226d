/** DescribeClientQuotas: the quotas of users and client ids that a filter means. v0–1. */

import { describeClientQuotasApi } from "@millrace/protocol";
import { defineHandler, NO_ERROR } from "../handler.ts";
import { quotaMatcher, wireEntityOf } from "../quotas/client-quota.ts";

export const describeClientQuotasHandler = defineHandler({
  api: describeClientQuotasApi,
  versions: [0, 1],

  handle({ components, strict }, { access, broker }) {
    access.expectCluster("DESCRIBE_CONFIGS");
    const found = broker.quotas.find(quotaMatcher(components, strict));
    return {
      errorCode: NO_ERROR,
      entries: found.map(({ entity, values }) => ({
        entity: wireEntityOf(entity),
        values: Object.entries(values).map(([key, value]) => ({ key, value })),
      })),
    };
  },

  errorResponse: (_request, errorCode) => ({ errorCode, entries: null }),
});
