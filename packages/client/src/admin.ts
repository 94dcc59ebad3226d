/** Topics and what belongs to them: list, create, describe, alter, delete; and where their partitions begin and end. */

import { setMaxListeners } from "node:events";
import { type Clock, defineOptions, millis, type OptionsOf, sleep } from "@millrace/base";
import {
  type Api,
  BrokerError,
  createPartitionsApi,
  createTopicsApi,
  deleteRecordsApi,
  deleteTopicsApi,
  describeConfigsApi,
  describeLogDirsApi,
  errorByCode,
  errorByNumber,
  incrementalAlterConfigsApi,
  isRetriable,
  KafkaError,
  metadataApi,
  NIL_UUID,
} from "@millrace/protocol";
import { Cluster } from "./cluster/cluster.ts";
import type { Connection } from "./cluster/connection.ts";
import { listOffsets, type OffsetAndTimestamp, type OffsetSpec } from "./cluster/list-offsets.ts";
import type { ClusterMetadata } from "./cluster/metadata.ts";
import { retrying } from "./cluster/retrying.ts";
import { type PartitionMetadata, type TopicMetadata, topicOf } from "./cluster/topic-metadata.ts";
import { type ConfigOf, commonOptions } from "./common-options.ts";
import { ClosedError } from "./errors.ts";

export const adminOptions = defineOptions({
  ...commonOptions.entries,
  apiTimeoutMs: millis({
    default: 60_000,
    min: 1,
    kafka: "default.api.timeout.ms",
    doc: "Longest that one call may take, with all its retries.",
  }),
});

export type AdminOptions = OptionsOf<typeof adminOptions.entries>;
export type AdminConfig = ConfigOf<AdminOptions>;

export interface NewTopic {
  readonly name: string;
  /** The broker's default if it is not given. */
  readonly partitions?: number | undefined;
  /** The broker's default if it is not given. */
  readonly replicationFactor?: number | undefined;
  /** Kafka's topic options: {"retention.ms": "60000"}. */
  readonly config?: Readonly<Record<string, string>> | undefined;
}

export interface CallOptions {
  /** Instead of apiTimeoutMs. */
  readonly timeoutMs?: number | undefined;
}

export interface CreateTopicsOptions extends CallOptions {
  /** Checks whether it would work, and creates nothing. */
  readonly validateOnly?: boolean | undefined;
}

export interface ListTopicsOptions {
  /** Kafka's own too, like __consumer_offsets. */
  readonly includeInternal?: boolean | undefined;
}

/** A topic by its name, or a broker by its node id as text. */
export interface ConfigResource {
  readonly type: "topic" | "broker";
  readonly name: string;
}

export interface ConfigEntry {
  readonly name: string;
  /** Null: not set, or not to be shown. */
  readonly value: string | null;
  readonly source: ConfigSource;
  readonly isReadOnly: boolean;
  readonly isSensitive: boolean;
}

export type ConfigSource = "topic" | "dynamic broker" | "dynamic default" | "static broker" | "default" | "unknown";

/** How long a change that is made waits for all brokers to have heard of it. It holds either way. */
const PROPAGATION_WAIT_MS = 5_000;
/** Between two questions whether all brokers know a topic: metadata travels in a few milliseconds. */
const PROPAGATION_POLL_MS = 20;
const RESOURCE_TYPES = { topic: 2, broker: 4 } as const;
const SET_CONFIG = 0;
const DELETE_CONFIG = 1;
const BROKER_DEFAULT = -1;

export class Admin {
  readonly #options: AdminOptions;
  readonly #closing = createClosing();
  readonly #cluster: Cluster;

  constructor(config: AdminConfig = {}) {
    this.#options = adminOptions.resolve(config);
    this.#cluster = new Cluster(this.#options);
  }

  /** All topics that the user may see, by name; without Kafka's internal ones unless asked. */
  async listTopics(options: ListTopicsOptions = {}): Promise<TopicMetadata[]> {
    const topics = await this.#retry(this.#deadline(), () => this.#cluster.metadata.allTopics());
    return topics
      .filter((topic) => options.includeInternal === true || !topic.isInternal)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Creates topics, and resolves once they can be produced to: every broker knows them, and every partition has a leader
   * that serves it.
   *
   * Rejects with BrokerError (TOPIC_ALREADY_EXISTS, INVALID_TOPIC_EXCEPTION, INVALID_PARTITIONS, …); if more than one
   * topic failed, with KafkaError, whose cause is an AggregateError of all. The others are created.
   */
  async createTopics(topics: readonly NewTopic[], options: CreateTopicsOptions = {}): Promise<void> {
    const deadlineMs = this.#deadline(options.timeoutMs);
    const validateOnly = options.validateOnly === true;
    await this.#forEachTopic(
      topics.map((topic) => topic.name),
      "create topic",
      deadlineMs,
      async (names) => {
        const connection = await this.#cluster.controller();
        const asked = topics.filter((topic) => names.includes(topic.name));
        const response = await this.#request(connection, deadlineMs, createTopicsApi, {
          topics: asked.map(toWire),
          timeoutMs: this.#remainingMs(deadlineMs),
          validateOnly,
        });
        return response.topics;
      },
    );
    if (!validateOnly) await this.#untilUsable(new Map(topics.map(({ name }) => [name, 1])), deadlineMs);
  }

  /**
   * Deletes topics, and resolves once the brokers that can be reached have heard of it.
   *
   * Rejects like createTopics, with UNKNOWN_TOPIC_OR_PARTITION for a topic that is not there.
   */
  async deleteTopics(names: readonly string[], options: CallOptions = {}): Promise<void> {
    const deadlineMs = this.#deadline(options.timeoutMs);
    await this.#forEachTopic(names, "delete topic", deadlineMs, async (asked) => {
      const connection = await this.#cluster.controller();
      const response = await this.#request(connection, deadlineMs, deleteTopicsApi, {
        topics: asked.map((name) => ({ name, topicId: NIL_UUID })),
        topicNames: asked,
        timeoutMs: this.#remainingMs(deadlineMs),
      });
      return response.responses;
    });
    for (const name of names) this.#cluster.metadata.forget(name);
    await this.#untilAllHeard(deadlineMs, async (connection) => {
      const answers = await askTopics(connection, names);
      return answers.every((answer) => answer.errorCode !== 0);
    });
  }

  /** One topic, asked for now. Rejects with BrokerError UNKNOWN_TOPIC_OR_PARTITION if it is not there. */
  async describeTopic(name: string): Promise<TopicMetadata> {
    return this.#retry(this.#deadline(), async () => {
      const [answer] = await askTopics(await this.#cluster.anyConnection(), [name]);
      const where = `describe topic ${name}`;
      if (answer === undefined) throw new BrokerError(errorByCode("UNKNOWN_SERVER_ERROR"), where);
      if (answer.errorCode !== 0) throw answerError(answer.errorCode, where);
      return topicOf(answer, name);
    });
  }

  /** The brokers of the cluster, asked for now. */
  async describeCluster(): Promise<ClusterMetadata> {
    await this.#retry(this.#deadline(), () => this.#cluster.metadata.refreshBrokers());
    return this.#cluster.description;
  }

  /** Where each partition begins or ends, or its first record at or after a time. Keys are partitions. */
  async listOffsets(topic: string, spec: OffsetSpec): Promise<Map<number, OffsetAndTimestamp>> {
    const deadlineMs = this.#deadline();
    const found = new Map<number, OffsetAndTimestamp>();
    await this.#retry(deadlineMs, async () => {
      for (const [leader, partitions] of await this.#partitionsByLeader(topic, deadlineMs)) {
        const connection = await this.#cluster.connectionTo(leader);
        for (const [partition, offset] of await listOffsets(connection, topic, partitions, spec)) {
          found.set(partition, offset);
        }
      }
    });
    return new Map([...found].sort(([a], [b]) => a - b));
  }

  /** Bytes that each partition takes on its leader's disk. Keys are partitions. */
  async describeLogSizes(topic: string): Promise<Map<number, bigint>> {
    const deadlineMs = this.#deadline();
    const sizes = new Map<number, bigint>();
    await this.#retry(deadlineMs, async () => {
      for (const [leader, partitions] of await this.#partitionsByLeader(topic, deadlineMs)) {
        const connection = await this.#cluster.connectionTo(leader);
        const response = await this.#request(connection, deadlineMs, describeLogDirsApi, {
          topics: [{ topic, partitions: partitions.map(({ partition }) => partition) }],
        });
        for (const { errorCode, topics } of response.results) {
          if (errorCode !== 0) throw BrokerError.fromNumber(errorCode, `log size of ${topic}`);
          for (const { partitionIndex, partitionSize, isFutureKey } of topics.flatMap((entry) => entry.partitions)) {
            if (!isFutureKey) sizes.set(partitionIndex, partitionSize);
          }
        }
      }
    });
    return new Map([...sizes].sort(([a], [b]) => a - b));
  }

  /** Makes the records before an offset go away; -1n means all that readers can see. Resolves with where each log begins now. */
  async deleteRecords(topic: string, before: ReadonlyMap<number, bigint>): Promise<Map<number, bigint>> {
    const deadlineMs = this.#deadline();
    const startOffsets = new Map<number, bigint>();
    await this.#retry(deadlineMs, async () => {
      for (const [leader, partitions] of await this.#partitionsByLeader(topic, deadlineMs)) {
        const asked = partitions.flatMap(({ partition }) => {
          const offset = startOffsets.has(partition) ? undefined : before.get(partition);
          return offset === undefined ? [] : [{ partitionIndex: partition, offset }];
        });
        if (asked.length === 0) continue;
        const connection = await this.#cluster.connectionTo(leader);
        const response = await this.#request(connection, deadlineMs, deleteRecordsApi, {
          topics: [{ name: topic, partitions: asked }],
          timeoutMs: this.#remainingMs(deadlineMs),
        });
        for (const answer of response.topics.flatMap((entry) => entry.partitions)) {
          const where = `delete records of ${topic}-${answer.partitionIndex}`;
          if (answer.errorCode !== 0) throw BrokerError.fromNumber(answer.errorCode, where);
          startOffsets.set(answer.partitionIndex, answer.lowWatermark);
        }
      }
    });
    for (const partition of before.keys()) {
      if (startOffsets.has(partition)) continue;
      throw new BrokerError(errorByCode("UNKNOWN_TOPIC_OR_PARTITION"), `delete records of ${topic}-${partition}`);
    }
    return startOffsets;
  }

  /** Gives a topic more partitions, so that it has partitionCount; resolves once they can be produced to. */
  async createPartitions(topic: string, partitionCount: number, options: CallOptions = {}): Promise<void> {
    const deadlineMs = this.#deadline(options.timeoutMs);
    await this.#forEachTopic([topic], "create partitions of", deadlineMs, async () => {
      const response = await this.#request(await this.#cluster.controller(), deadlineMs, createPartitionsApi, {
        topics: [{ name: topic, count: partitionCount, assignments: null }],
        timeoutMs: this.#remainingMs(deadlineMs),
        validateOnly: false,
      });
      return response.results;
    });
    await this.#untilUsable(new Map([[topic, partitionCount]]), deadlineMs);
  }

  /** All options of a topic or broker, with where each value comes from. */
  async describeConfigs(resource: ConfigResource): Promise<ConfigEntry[]> {
    const deadlineMs = this.#deadline();
    return this.#retry(deadlineMs, async () => askConfigs(await this.#connectionFor(resource), resource));
  }

  /**
   * Sets options of a topic or broker; null puts one back to its default. Those that are not named stay as they are.
   * Resolves once the brokers that can be reached have heard of it.
   */
  async alterConfigs(resource: ConfigResource, changes: Readonly<Record<string, string | null>>): Promise<void> {
    const deadlineMs = this.#deadline();
    await this.#retry(deadlineMs, async () => {
      const connection = await this.#connectionFor(resource);
      const response = await this.#request(connection, deadlineMs, incrementalAlterConfigsApi, {
        resources: [
          {
            resourceType: RESOURCE_TYPES[resource.type],
            resourceName: resource.name,
            configs: Object.entries(changes).map(([name, value]) => ({
              name,
              configOperation: value === null ? DELETE_CONFIG : SET_CONFIG,
              value,
            })),
          },
        ],
        validateOnly: false,
      });
      const [result] = response.responses;
      const where = `alter configs of ${resource.type} ${resource.name}`;
      if (result !== undefined && result.errorCode !== 0) {
        throw answerError(result.errorCode, where, result.errorMessage);
      }
    });
    if (resource.type === "broker") return;
    await this.#untilAllHeard(deadlineMs, async (connection) => {
      const entries = new Map((await askConfigs(connection, resource)).map((entry) => [entry.name, entry]));
      return Object.entries(changes).every(([name, value]) => {
        const entry = entries.get(name);
        if (entry === undefined || entry.isSensitive) return true;
        return value === null ? entry.source !== "topic" : entry.source === "topic" && entry.value === value;
      });
    });
  }

  /** Closes its connections; calls that wait reject with ClosedError. May be called twice. */
  close(): Promise<void> {
    this.#closing.abort(new ClosedError("admin call"));
    return this.#cluster.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #clock(): Clock {
    return this.#options.clock;
  }

  #deadline(timeoutMs: number = this.#options.apiTimeoutMs): number {
    return this.#clock.nowMs() + timeoutMs;
  }

  /** Whole, and at least 1: a broker takes 0 for "do not wait". */
  #remainingMs(deadlineMs: number): number {
    return Math.max(1, Math.floor(deadlineMs - this.#clock.nowMs()));
  }

  #retry<T>(deadlineMs: number, attempt: () => Promise<T>): Promise<T> {
    return retrying(this.#options, { deadlineMs, signal: this.#closing.signal }, attempt);
  }

  #request<Request, RequestInput, Response, ResponseInput>(
    connection: Connection,
    deadlineMs: number,
    api: Api<Request, RequestInput, Response, ResponseInput>,
    body: RequestInput,
  ): Promise<Response> {
    const timeoutMs = Math.min(this.#options.requestTimeoutMs, this.#remainingMs(deadlineMs));
    return connection.request(api, body, { timeoutMs });
  }

  /** Asks for several topics at once, and again for those that failed with what may work later. */
  async #forEachTopic(
    names: readonly string[],
    what: string,
    deadlineMs: number,
    ask: (names: readonly string[]) => Promise<readonly TopicResult[]>,
  ): Promise<void> {
    const failures = new Map<string, KafkaError>();
    let remaining = names;
    await this.#retry(deadlineMs, async () => {
      const results = await ask(remaining);
      const errors = results.flatMap((result) => {
        const { name, errorCode, errorMessage = null } = result;
        if (errorCode === 0 || name === null) return [];
        return [{ name, error: answerError(errorCode, `${what} ${name}`, errorMessage) }];
      });
      for (const { name, error } of errors) if (!error.retriable) failures.set(name, error);
      const retriable = errors.filter(({ error }) => error.retriable);
      remaining = retriable.map(({ name }) => name);
      const [first] = retriable;
      if (first === undefined) return;
      if (first.error.code === "NOT_CONTROLLER") this.#cluster.forgetController();
      throw first.error;
    });
    throwFailures(failures);
  }

  /**
   * Resolves once all brokers that can be reached tell of the topics, and the partitions' leaders serve.
   *
   * topics: how many partitions each must have at least.
   */
  async #untilUsable(topics: ReadonlyMap<string, number>, deadlineMs: number): Promise<void> {
    const names = [...topics.keys()];
    await this.#untilAllBrokers(deadlineMs, async (connection) => {
      const answers = await askTopics(connection, names);
      const isUsable = ({ name, errorCode, partitions }: (typeof answers)[number]) =>
        errorCode === 0 &&
        partitions.length >= (topics.get(name ?? "") ?? 1) &&
        partitions.every((partition) => partition.errorCode === 0 && partition.leaderId >= 0);
      return answers.length === names.length && answers.every(isUsable);
    });
    // Metadata names a leader a moment before that broker has taken the partition up; only the leader itself tells.
    await Promise.all(names.map((name) => this.#retry(deadlineMs, () => this.#askLeaders(name, deadlineMs))));
  }

  async #askLeaders(topic: string, deadlineMs: number): Promise<void> {
    for (const [leader, partitions] of await this.#partitionsByLeader(topic, deadlineMs)) {
      await listOffsets(await this.#cluster.connectionTo(leader), topic, partitions, "latest");
    }
  }

  async #untilAllHeard(deadlineMs: number, ask: (connection: Connection) => Promise<boolean>): Promise<void> {
    await this.#untilAllBrokers(Math.min(deadlineMs, this.#clock.nowMs() + PROPAGATION_WAIT_MS), ask);
  }

  /** Asks every broker again and again, until each that can be reached says yes, or the deadline has come. */
  async #untilAllBrokers(deadlineMs: number, ask: (connection: Connection) => Promise<boolean>): Promise<void> {
    for (const nodeId of this.#cluster.nodeIds) {
      while (this.#clock.nowMs() < deadlineMs) {
        try {
          if (await ask(await this.#cluster.connectionTo(nodeId))) break;
        } catch (error) {
          // A broker that is down hears of it when it comes back; nobody is led to it meanwhile.
          if (!isRetriable(error)) throw error;
          break;
        }
        await sleep(this.#clock, PROPAGATION_POLL_MS, this.#closing.signal);
      }
    }
  }

  async #partitionsByLeader(topic: string, deadlineMs: number): Promise<Map<number, PartitionMetadata[]>> {
    const { partitions } = await this.#cluster.metadata.fetchTopic(topic, {
      allowAutoTopicCreation: false,
      deadlineMs,
    });
    const byLeader = new Map<number, PartitionMetadata[]>();
    for (const partition of partitions) {
      if (partition.leaderId < 0) {
        throw new BrokerError(errorByCode("LEADER_NOT_AVAILABLE"), `${topic}-${partition.partition}`);
      }
      const led = byLeader.get(partition.leaderId) ?? [];
      led.push(partition);
      byLeader.set(partition.leaderId, led);
    }
    return byLeader;
  }

  /** A broker's own options are asked of itself. */
  async #connectionFor(resource: ConfigResource): Promise<Connection> {
    if (resource.type === "topic") return this.#cluster.anyConnection();
    const nodeId = Number(resource.name);
    if (!this.#cluster.nodeIds.includes(nodeId)) await this.#cluster.metadata.refreshBrokers();
    return this.#cluster.connectionTo(nodeId);
  }
}

interface TopicResult {
  readonly name: string | null;
  readonly errorCode: number;
  readonly errorMessage?: string | null;
}

/** By their number in DescribeConfigs. */
const configSources: readonly (ConfigSource | undefined)[] = [
  undefined,
  "topic",
  "dynamic broker",
  "dynamic default",
  "static broker",
  "default",
];

function toWire(topic: NewTopic) {
  return {
    name: topic.name,
    numPartitions: topic.partitions ?? BROKER_DEFAULT,
    replicationFactor: topic.replicationFactor ?? BROKER_DEFAULT,
    configs: Object.entries(topic.config ?? {}).map(([name, value]) => ({ name, value })),
  };
}

async function askTopics(connection: Connection, names: readonly string[]) {
  const response = await connection.request(metadataApi, {
    topics: names.map((name) => ({ name })),
    allowAutoTopicCreation: false,
  });
  return response.topics;
}

async function askConfigs(connection: Connection, resource: ConfigResource): Promise<ConfigEntry[]> {
  const response = await connection.request(describeConfigsApi, {
    resources: [{ resourceType: RESOURCE_TYPES[resource.type], resourceName: resource.name, configurationKeys: null }],
  });
  const where = `describe configs of ${resource.type} ${resource.name}`;
  const [result] = response.results;
  if (result === undefined) throw new BrokerError(errorByCode("UNKNOWN_SERVER_ERROR"), where);
  if (result.errorCode !== 0) throw answerError(result.errorCode, where, result.errorMessage);
  return result.configs.map((entry) => ({
    name: entry.name,
    value: entry.value,
    source: configSources[entry.configSource] ?? "unknown",
    isReadOnly: entry.readOnly,
    isSensitive: entry.isSensitive,
  }));
}

/** Kafka calls an unknown topic retriable, for those who wait until it appears. Who names a topic to Admin does not. */
function answerError(errorNumber: number, where: string, brokerMessage: string | null = null): BrokerError {
  const entry = errorByNumber(errorNumber);
  const retriable = entry.retriable && entry.code !== "UNKNOWN_TOPIC_OR_PARTITION";
  return new BrokerError(entry, where, brokerMessage, { retriable });
}

function throwFailures(failures: ReadonlyMap<string, KafkaError>): void {
  const errors = [...failures.values()];
  const [first] = errors;
  if (first === undefined) return;
  if (errors.length === 1) throw first;
  throw new KafkaError(
    first.code,
    `${errors.length} topics failed: ${errors.map((error) => error.message).join("; ")}`,
    {
      cause: new AggregateError(errors),
      retriable: false,
    },
  );
}

/** Ends all waits of an Admin: as many listen to it as there are topics in a call, which is no leak. */
function createClosing(): AbortController {
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  return closing;
}
