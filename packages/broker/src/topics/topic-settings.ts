/** Topic settings under Kafka's names: which there are, what they may be, and what the log makes of them. */

import { KafkaError } from "@millrace/protocol";
import type { CleanupPolicy, FlushMode, LogSettings } from "../log/log-settings.ts";
import type { ResolvedBrokerOptions } from "../options.ts";

/** What was set on a topic, by Kafka's names, as the text that was given. What is not in it has its default. */
export type TopicConfig = Readonly<Record<string, string>>;

export type SettingType = "boolean" | "string" | "int" | "long" | "double" | "list";

export interface TopicSetting {
  readonly type: SettingType;
  readonly doc: string;
  /** As text, from the broker's options where they have a say. */
  defaultOf(options: ResolvedBrokerOptions): string;
  /** What is wrong with a text ("must be …"), or null. */
  problemOf(text: string): string | null;
}

const LONG_MAX = "9223372036854775807";
const INT_MAX = 2 ** 31 - 1;

type Default = string | ((options: ResolvedBrokerOptions) => string | number);

function setting(
  type: SettingType,
  standard: Default,
  doc: string,
  problemOf: (text: string) => string | null,
): TopicSetting {
  const defaultOf = (options: ResolvedBrokerOptions) =>
    typeof standard === "string" ? standard : String(standard(options));
  return { type, doc, defaultOf, problemOf };
}

function whole(type: "int" | "long", standard: Default, min: number, doc: string): TopicSetting {
  const max = type === "int" ? BigInt(INT_MAX) : BigInt(LONG_MAX);
  return setting(type, standard, doc, (text) => {
    const isFine = /^-?\d{1,19}$/.test(text) && BigInt(text) >= BigInt(min) && BigInt(text) <= max;
    return isFine ? null : `must be a whole number of at least ${min}`;
  });
}

function fraction(standard: string, doc: string): TopicSetting {
  return setting("double", standard, doc, (text) => {
    const value = Number(text);
    return text.trim() !== "" && value >= 0 && value <= 1 ? null : "must be a number from 0 to 1";
  });
}

function oneOf(choices: readonly string[], standard: Default, doc: string): TopicSetting {
  return setting("string", standard, doc, (text) =>
    choices.includes(text) ? null : `must be one of ${choices.join(", ")}`,
  );
}

function flag(standard: "true" | "false", doc: string): TopicSetting {
  return setting("boolean", standard, doc, (text) =>
    text === "true" || text === "false" ? null : "must be true or false",
  );
}

/** Accepted and kept so that tools which set it work; one broker with one copy of each partition has no use for it. */
const UNUSED = "Kept, without effect on a single broker.";

/** Source: Kafka 4.3, org.apache.kafka.common.config.TopicConfig, and flush.mode, which is ours. */
export const topicSettings: Readonly<Record<string, TopicSetting>> = {
  "cleanup.policy": setting(
    "list",
    "delete",
    "Old segments are deleted, or keep the last record of each key.",
    (text) =>
      text !== "" && text.split(",").every((part) => part.trim() === "delete" || part.trim() === "compact")
        ? null
        : "must be delete, compact, or both",
  ),
  "compression.gzip.level": whole("int", "-1", -1, UNUSED),
  "compression.lz4.level": whole("int", "9", 1, UNUSED),
  "compression.type": oneOf(
    ["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"],
    "producer",
    "Kept; batches stay as their producer compressed them.",
  ),
  "compression.zstd.level": whole("int", "3", -131072, UNUSED),
  "delete.retention.ms": whole("long", "86400000", 0, "How long a compacted topic keeps the mark of a deleted key."),
  "file.delete.delay.ms": whole("long", "60000", 0, UNUSED),
  "flush.messages": whole("long", LONG_MAX, 1, "Kept; flush.mode says when records reach the disk."),
  "flush.mode": oneOf(
    ["always", "interval", "os"],
    (options) => options.flush,
    "When written records reach the disk: before acks=all is answered, every flush.ms, or when the system likes.",
  ),
  "flush.ms": whole("long", (options) => options.flushIntervalMs, 1, "With flush.mode=interval: how often."),
  "follower.replication.throttled.replicas": setting("list", "", UNUSED, () => null),
  "index.interval.bytes": whole(
    "int",
    (options) => options.indexIntervalBytes,
    0,
    "Bytes of a segment between two entries of its index.",
  ),
  "leader.replication.throttled.replicas": setting("list", "", UNUSED, () => null),
  "local.retention.bytes": whole("long", "-2", -2, UNUSED),
  "local.retention.ms": whole("long", "-2", -2, UNUSED),
  "max.compaction.lag.ms": whole("long", LONG_MAX, 1, UNUSED),
  "max.message.bytes": whole("int", (options) => options.maxMessageBytes, 0, "Largest record batch, as sent."),
  "message.timestamp.after.max.ms": whole("long", "3600000", 0, "How far a record's timestamp may lie ahead."),
  "message.timestamp.before.max.ms": whole("long", LONG_MAX, 0, "How far a record's timestamp may lie back."),
  "message.timestamp.type": oneOf(
    ["CreateTime", "LogAppendTime"],
    "CreateTime",
    "Whether records carry the producer's time or the broker's.",
  ),
  "min.cleanable.dirty.ratio": fraction("0.5", "Share of a compacted log that is new before it is compacted again."),
  "min.compaction.lag.ms": whole("long", "0", 0, "How long a record stays before it may be compacted away."),
  "min.insync.replicas": whole("int", "1", 1, UNUSED),
  preallocate: flag("false", UNUSED),
  "remote.log.copy.disable": flag("false", UNUSED),
  "remote.log.delete.on.disable": flag("false", UNUSED),
  "remote.storage.enable": flag("false", UNUSED),
  "retention.bytes": whole("long", (options) => options.retentionBytes, -1, "Bytes that a partition keeps."),
  "retention.ms": whole("long", (options) => options.retentionMs, -1, "Milliseconds that records are kept."),
  "segment.bytes": whole("int", (options) => options.segmentBytes, 14, "Size at which a new segment is started."),
  "segment.index.bytes": whole("int", "10485760", 4, UNUSED),
  "segment.jitter.ms": whole("long", "0", 0, UNUSED),
  "segment.ms": whole("long", (options) => options.segmentMs, 1, "Age at which a new segment is started."),
  "unclean.leader.election.enable": flag("false", UNUSED),
};

/** Settings that Kafka no longer has and old clients still send: accepted, and forgotten. */
const RETIRED = new Set([
  "message.downconversion.enable",
  "message.format.version",
  "message.timestamp.difference.max.ms",
]);

/** The configuration that these pairs make. Throws KafkaError INVALID_CONFIG that names the setting. */
export function checkTopicConfig(pairs: Iterable<readonly [name: string, value: string | null]>): TopicConfig {
  const config: Record<string, string> = {};
  for (const [name, value] of pairs) {
    if (RETIRED.has(name)) continue;
    const found = topicSettings[name];
    if (found === undefined) throw new KafkaError("INVALID_CONFIG", `unknown topic setting ${name}`);
    if (value === null) throw new KafkaError("INVALID_CONFIG", `topic setting ${name} has no value`);
    const problem = found.problemOf(value);
    if (problem !== null) throw new KafkaError("INVALID_CONFIG", `topic setting ${name} is "${value}"; it ${problem}`);
    config[name] = value;
  }
  return config;
}

/** What a topic's setting is, set or by default. */
export function settingOf(name: string, config: TopicConfig, options: ResolvedBrokerOptions): string {
  return config[name] ?? topicSettings[name]?.defaultOf(options) ?? "";
}

export function logSettingsOf(config: TopicConfig, options: ResolvedBrokerOptions): LogSettings {
  const text = (name: string) => settingOf(name, config, options);
  const number = (name: string) => Number(text(name));
  /** Kafka's largest long stands for no limit, which is -1 in the log. */
  const limit = (name: string) => (number(name) > Number.MAX_SAFE_INTEGER ? -1 : number(name));
  return {
    segmentBytes: number("segment.bytes"),
    segmentMs: number("segment.ms"),
    indexIntervalBytes: number("index.interval.bytes"),
    maxMessageBytes: number("max.message.bytes"),
    flush: flushModeOf(text("flush.mode")),
    flushIntervalBytes: options.flushIntervalBytes,
    flushIntervalMs: number("flush.ms"),
    retentionMs: limit("retention.ms"),
    retentionBytes: limit("retention.bytes"),
    cleanupPolicy: cleanupPolicyOf(text("cleanup.policy")),
    messageTimestampType: text("message.timestamp.type") === "LogAppendTime" ? "LogAppendTime" : "CreateTime",
    messageTimestampBeforeMaxMs: limit("message.timestamp.before.max.ms"),
    messageTimestampAfterMaxMs: limit("message.timestamp.after.max.ms"),
    deleteRetentionMs: number("delete.retention.ms"),
    minCleanableDirtyRatio: number("min.cleanable.dirty.ratio"),
    minCompactionLagMs: number("min.compaction.lag.ms"),
    producerIdExpirationMs: options.producerIdExpirationMs,
    queuedBytesLimit: options.queuedBytesPerPartition,
  };
}

function flushModeOf(text: string): FlushMode {
  return text === "interval" || text === "os" ? text : "always";
}

function cleanupPolicyOf(text: string): CleanupPolicy {
  const isCompacted = text.includes("compact");
  if (isCompacted && text.includes("delete")) return "compact,delete";
  return isCompacted ? "compact" : "delete";
}
