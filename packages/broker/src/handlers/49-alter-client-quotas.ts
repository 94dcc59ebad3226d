/** AlterClientQuotas: sets and takes away quotas, answered once they are in force and on disk. v0–1. */

import { alterClientQuotasApi, KafkaError } from "@millrace/protocol";
import {
  defineHandler,
  errorMessageOf,
  errorNumberOf,
  NO_ERROR,
  type RequestContext,
  type RequestOf,
} from "../handler.ts";
import { checkRate, entityOf, type QuotaName, quotaNameOf } from "../quotas/client-quota.ts";
import type { QuotaChange } from "../quotas/client-quotas.ts";

type AskedEntry = RequestOf<typeof alterClientQuotasApi>["entries"][number];

export const alterClientQuotasHandler = defineHandler({
  api: alterClientQuotasApi,
  versions: [0, 1],

  async handle({ entries, validateOnly }, context) {
    context.access.expectCluster("ALTER_CONFIGS");
    const results = [];
    for (const entry of entries) results.push(await alter(entry, validateOnly, context));
    return { entries: results };
  },

  errorResponse: ({ entries }, errorCode) => ({ entries: entries.map(({ entity }) => ({ entity, errorCode })) }),
});

async function alter(asked: AskedEntry, validateOnly: boolean, { broker }: RequestContext) {
  const { entity } = asked;
  try {
    const change = readChange(asked);
    if (!validateOnly) await broker.quotas.change(change);
    return { entity, errorCode: NO_ERROR };
  } catch (error) {
    const errorCode = errorNumberOf(error, "alter client quotas", broker.logger);
    return { entity, errorCode, errorMessage: errorMessageOf(error) };
  }
}

/** Throws INVALID_REQUEST. */
function readChange({ entity, ops }: AskedEntry): QuotaChange {
  const values = new Map<QuotaName, number | null>();
  for (const { key, value, remove } of ops) {
    const name = quotaNameOf(key);
    if (values.has(name)) throw new KafkaError("INVALID_REQUEST", `${name} is given twice`);
    values.set(name, remove ? null : checkRate(name, value));
  }
  return { entity: entityOf(entity), values };
}
