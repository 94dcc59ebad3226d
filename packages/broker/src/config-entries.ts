/** Settings as Kafka's tools show them: value, where it comes from, and what it may be. */

import { type Address, MINUTE_MS, type Option, SECOND_MS } from "@millrace/base";
import { brokerOptions, type ResolvedBrokerOptions } from "./options.ts";
import { type SettingType, type TopicConfig, topicSettings } from "./topics/topic-settings.ts";

/** Kafka's numbers for what has settings. Source: org.apache.kafka.common.config.ConfigResource. */
export const RESOURCE = { topic: 2, broker: 4, brokerLogger: 8 } as const;

/** Kafka's numbers for where a value comes from. Source: DescribeConfigsResponse. */
export const CONFIG_SOURCE = { topic: 1, staticBroker: 4, default: 5 } as const;

/** Kafka's numbers for types. Source: DescribeConfigsResponse. */
const CONFIG_TYPE: Readonly<Record<SettingType, number>> = {
  boolean: 1,
  string: 2,
  int: 3,
  long: 5,
  double: 6,
  list: 7,
};

export interface ConfigEntry {
  readonly name: string;
  readonly type: number;
  readonly doc: string;
  /** Where its value comes from, and what it would be otherwise: from the nearest to the farthest. */
  readonly synonyms: readonly [ConfigValue, ...ConfigValue[]];
}

export interface ConfigValue {
  /** A topic's default is one of the broker's settings, which may have another name. */
  readonly name: string;
  readonly value: string;
  readonly source: number;
}

/** Those defaults of topics that brokers know by another name. Source: Kafka, ServerTopicConfigSynonyms. */
const brokerNames: Readonly<Record<string, string>> = {
  "cleanup.policy": "log.cleanup.policy",
  "delete.retention.ms": "log.cleaner.delete.retention.ms",
  "file.delete.delay.ms": "log.segment.delete.delay.ms",
  "flush.messages": "log.flush.interval.messages",
  "flush.ms": "log.flush.interval.ms",
  "index.interval.bytes": "log.index.interval.bytes",
  "local.retention.bytes": "log.local.retention.bytes",
  "local.retention.ms": "log.local.retention.ms",
  "max.compaction.lag.ms": "log.cleaner.max.compaction.lag.ms",
  "max.message.bytes": "message.max.bytes",
  "message.timestamp.after.max.ms": "log.message.timestamp.after.max.ms",
  "message.timestamp.before.max.ms": "log.message.timestamp.before.max.ms",
  "message.timestamp.type": "log.message.timestamp.type",
  "min.cleanable.dirty.ratio": "log.cleaner.min.cleanable.ratio",
  "min.compaction.lag.ms": "log.cleaner.min.compaction.lag.ms",
  preallocate: "log.preallocate",
  "retention.bytes": "log.retention.bytes",
  "retention.ms": "log.retention.ms",
  "segment.bytes": "log.segment.bytes",
  "segment.index.bytes": "log.index.size.max.bytes",
  "segment.jitter.ms": "log.roll.jitter.ms",
  "segment.ms": "log.roll.ms",
};

/** All settings of a topic: a tool that writes back what it read must not lose any. */
export function topicConfigEntries(config: TopicConfig, options: ResolvedBrokerOptions): ConfigEntry[] {
  const unset = brokerOptions.resolve({});
  return Object.entries(topicSettings).map(([name, setting]) => {
    const brokerName = brokerNames[name] ?? name;
    const synonyms = brokerValues(brokerName, setting.defaultOf(options), setting.defaultOf(unset));
    const own = config[name];
    return {
      name,
      type: CONFIG_TYPE[setting.type],
      doc: setting.doc,
      synonyms: own === undefined ? synonyms : [{ name, value: own, source: CONFIG_SOURCE.topic }, ...synonyms],
    };
  });
}

function brokerValues(name: string, value: string, defaultValue: string): ConfigEntry["synonyms"] {
  const standard = { name, value: defaultValue, source: CONFIG_SOURCE.default };
  return value === defaultValue ? [standard] : [{ name, value, source: CONFIG_SOURCE.staticBroker }, standard];
}

/** Kafka's names that say another unit than our milliseconds. */
const unitMs: Readonly<Record<string, number>> = {
  "offsets.retention.minutes": MINUTE_MS,
  "quota.window.size.seconds": SECOND_MS,
};

/** What one broker with one copy of each record can only have one value for; tools look for them all the same. */
const fixed: Readonly<Record<string, string>> = {
  "default.replication.factor": "1",
  "offsets.topic.num.partitions": "1",
  "offsets.topic.replication.factor": "1",
};

const ADVERTISED = "advertised.listeners";

/** What Kafka has too of the broker's options and of the defaults of topics, under Kafka's names. */
export function brokerConfigEntries(options: ResolvedBrokerOptions, advertised: Address): ConfigEntry[] {
  const entries = new Map<string, ConfigEntry>();
  for (const { name, ...entry } of topicConfigEntries({}, options)) {
    const brokerName = brokerNames[name] ?? name;
    entries.set(brokerName, { ...entry, name: brokerName });
  }
  const values: Readonly<Record<string, unknown>> = options;
  for (const [name, option] of Object.entries<Option<unknown>>(brokerOptions.entries)) {
    const { kafka } = option;
    if (kafka === undefined || kafka === ADVERTISED || option.isCodeOnly === true) continue;
    const textOf = (value: unknown) =>
      typeof value === "number" ? String(Math.ceil(value / (unitMs[kafka] ?? 1))) : String(value ?? "");
    entries.set(kafka, {
      name: kafka,
      type: typeOf(option.default),
      doc: option.doc,
      synonyms: brokerValues(kafka, textOf(values[name]), textOf(option.default)),
    });
  }
  for (const [name, value] of Object.entries(fixed)) {
    entries.set(name, { name, type: CONFIG_TYPE.int, doc: "", synonyms: brokerValues(name, value, value) });
  }
  const { host, port } = advertised;
  const listener = `PLAINTEXT://${host}:${port}`;
  const doc = "What this client is told to connect to.";
  entries.set(ADVERTISED, {
    name: ADVERTISED,
    type: CONFIG_TYPE.string,
    doc,
    synonyms: brokerValues(ADVERTISED, listener, ""),
  });
  return [...entries.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
}

function typeOf(value: unknown): number {
  if (typeof value === "boolean") return CONFIG_TYPE.boolean;
  return typeof value === "number" ? CONFIG_TYPE.long : CONFIG_TYPE.string;
}
