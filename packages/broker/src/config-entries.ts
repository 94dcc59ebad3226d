/** Settings as Kafka's tools show them: value, where it comes from, and what it may be. */

import type { Option } from "@millrace/base";
import { brokerOptions, type ResolvedBrokerOptions } from "./options.ts";
import { type SettingType, type TopicConfig, topicSettings } from "./topics/topic-settings.ts";

/** Kafka's numbers for what has settings. Source: org.apache.kafka.common.config.ConfigResource. */
export const RESOURCE = { topic: 2, broker: 4, brokerLogger: 8 } as const;

/** Kafka's numbers for where a value comes from. Source: DescribeConfigsResponse. */
export const CONFIG_SOURCE = { topic: 1, staticBroker: 4, default: 5 } as const;

/** Kafka's numbers for types. Source: DescribeConfigsResponse. */
export const CONFIG_TYPE: Readonly<Record<SettingType, number>> = {
  boolean: 1,
  string: 2,
  int: 3,
  long: 5,
  double: 6,
  list: 7,
};

export interface ConfigEntry {
  readonly name: string;
  readonly value: string;
  readonly source: number;
  readonly type: number;
  readonly doc: string;
  /** What it would be if it were not set. */
  readonly defaultValue: string;
}

/** All settings of a topic: a tool that writes back what it read must not lose any. */
export function topicConfigEntries(config: TopicConfig, options: ResolvedBrokerOptions): ConfigEntry[] {
  return Object.entries(topicSettings).map(([name, setting]) => {
    const defaultValue = setting.defaultOf(options);
    return {
      name,
      value: config[name] ?? defaultValue,
      source: config[name] === undefined ? CONFIG_SOURCE.default : CONFIG_SOURCE.topic,
      type: CONFIG_TYPE[setting.type],
      doc: setting.doc,
      defaultValue,
    };
  });
}

/** Those of the broker's options that Kafka has too, under Kafka's names. */
export function brokerConfigEntries(options: ResolvedBrokerOptions): ConfigEntry[] {
  const values: Readonly<Record<string, unknown>> = options;
  const entries = new Map<string, ConfigEntry>();
  for (const [name, option] of Object.entries<Option<unknown>>(brokerOptions.entries)) {
    if (option.kafka === undefined || option.isCodeOnly === true) continue;
    const value = String(values[name] ?? "");
    const defaultValue = String(option.default ?? "");
    entries.set(option.kafka, {
      name: option.kafka,
      value,
      source: value === defaultValue ? CONFIG_SOURCE.default : CONFIG_SOURCE.staticBroker,
      type: typeOf(option.default),
      doc: option.doc,
      defaultValue,
    });
  }
  return [...entries.values()];
}

function typeOf(value: unknown): number {
  if (typeof value === "boolean") return CONFIG_TYPE.boolean;
  return typeof value === "number" ? CONFIG_TYPE.long : CONFIG_TYPE.string;
}
