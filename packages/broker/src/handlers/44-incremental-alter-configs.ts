/** IncrementalAlterConfigs: sets, unsets, adds to or takes from single settings of a topic. v0–1. */

import { incrementalAlterConfigsApi, KafkaError } from "@millrace/protocol";
import { alterTopicConfig } from "../alter-topic-config.ts";
import { type BrokerServices, defineHandler, type RequestOf } from "../handler.ts";
import type { Topic } from "../topics/topic.ts";
import { settingOf, topicSettings } from "../topics/topic-settings.ts";

type Change = RequestOf<typeof incrementalAlterConfigsApi>["resources"][number]["configs"][number];

const OPERATION = { set: 0, delete: 1, append: 2, subtract: 3 } as const;

export const incrementalAlterConfigsHandler = defineHandler({
  api: incrementalAlterConfigsApi,
  versions: [0, 1],

  async handle({ resources, validateOnly }, context) {
    const responses = resources.map(({ resourceType, resourceName, configs }) =>
      alterTopicConfig({ resourceType, resourceName, validateOnly }, context, (topic) =>
        applyChanges(topic, configs, context.broker),
      ),
    );
    return { responses: await Promise.all(responses) };
  },

  errorResponse: ({ resources }, errorCode) => ({
    responses: resources.map(({ resourceType, resourceName }) => ({ errorCode, resourceType, resourceName })),
  }),
});

function applyChanges(
  topic: Topic,
  changes: readonly Change[],
  { options }: BrokerServices,
): Map<string, string | null> {
  const config = new Map<string, string | null>(Object.entries(topic.config));
  for (const { name, configOperation, value } of changes) {
    if (configOperation === OPERATION.set) config.set(name, value);
    else if (configOperation === OPERATION.delete) config.delete(name);
    else config.set(name, changeList(name, config.get(name) ?? settingOf(name, {}, options), configOperation, value));
  }
  return config;
}

function changeList(name: string, before: string, operation: number, value: string | null): string {
  if (topicSettings[name]?.type !== "list" || value === null) {
    throw new KafkaError("INVALID_CONFIG", `topic setting ${name} is no list`);
  }
  const items = before.split(",").filter((item) => item !== "");
  const changed = value.split(",");
  if (operation === OPERATION.append) return [...new Set([...items, ...changed])].join(",");
  if (operation === OPERATION.subtract) return items.filter((item) => !changed.includes(item)).join(",");
  throw new KafkaError("INVALID_REQUEST", `there is no operation ${operation} on settings`);
}
