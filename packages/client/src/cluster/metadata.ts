/** What is known of the cluster: topics, their partitions and leaders; kept fresh, and never turned back by an old answer. */

import { type Clock, type Logger, type Random, sleep, type Timer } from "@millrace/base";
import { BrokerError, errorByCode, errorByNumber, isRetriable, KafkaError, metadataApi } from "@millrace/protocol";
import { ClosedError } from "../errors.ts";
import { backoffMs } from "../retry.ts";
import type { Connection } from "./connection.ts";
import {
  type LeaderHint,
  type MetadataResponse,
  mergeTopic,
  type PartitionMetadata,
  type TopicMetadata,
  topicOf,
  withLeader,
} from "./topic-metadata.ts";
import { until } from "./until.ts";

/** A broker of the cluster and where it listens. */
export interface BrokerNode {
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
}

/** What a Metadata answer says about the cluster, beside topics. */
export interface ClusterMetadata {
  readonly clusterId: string | null;
  /** -1: unknown. */
  readonly controllerId: number;
  readonly brokers: readonly BrokerNode[];
}

export interface FetchTopicOptions {
  readonly allowAutoTopicCreation: boolean;
  /** Latest time to resolve, as clock.nowMs() gives it. */
  readonly deadlineMs: number;
}

export interface MetadataOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metadataMaxAgeMs: number;
  readonly metadataMaxIdleMs: number;
  readonly retryBackoffMs: number;
  readonly retryBackoffMaxMs: number;
  /** Any broker that can answer. */
  anyConnection(): Promise<Connection>;
  /** The brokers as the newest answer has them. */
  onBrokers(cluster: ClusterMetadata): void;
  /** The brokers that are known are no longer those of this cluster (KIP-1102). */
  onRebootstrapRequired(): void;
}

interface Entry {
  topic: TopicMetadata;
  /** Looked at since the last refresh. A flag, because reading the clock at every record would cost more than the lookup. */
  isUsed: boolean;
  lastUsedMs: number;
  /** Since when brokers say that they do not know it; null while they do. */
  missingSinceMs: number | null;
}

/**
 * A topic that all brokers deny for so long is gone; before that, one of them may just not have heard of it. Source:
 * librdkafka's topic.metadata.propagation.max.ms.
 */
const MISSING_TOPIC_GRACE_MS = 30_000;

export class Metadata {
  readonly #options: MetadataOptions;
  readonly #topics = new Map<string, Entry>();
  readonly #listeners = new Set<() => void>();
  /** Lookups that wait for the end of this turn of the event loop, to go out as one request. */
  readonly #lookups: { [allow in "create" | "find"]: Lookup | null } = { create: null, find: null };
  readonly #closing = new AbortController();
  #ageTimer: Timer | null = null;
  #refreshTimer: Timer | null = null;
  #isRefreshing = false;
  #isRefreshWanted = false;
  #refreshFailures = 0;
  #lastRefreshMs = Number.NEGATIVE_INFINITY;

  constructor(options: MetadataOptions) {
    this.#options = options;
  }

  /** What is known of a topic; undefined if it was never fetched, or not used for long. */
  topic(name: string): TopicMetadata | undefined {
    const entry = this.#topics.get(name);
    if (entry === undefined) return undefined;
    entry.isUsed = true;
    return entry.topic;
  }

  /** As `topic`, but no reason to ask for it any longer. */
  peek(name: string): TopicMetadata | undefined {
    return this.#topics.get(name)?.topic;
  }

  /** One partition with its leader; undefined if topic or partition are not known. */
  partition(topic: string, partition: number): PartitionMetadata | undefined {
    return this.topic(topic)?.partitions[partition];
  }

  /**
   * Asks brokers for a topic until it can be used: it is there, and at least one of its partitions has a leader.
   *
   * Rejects with BrokerError at once for what waiting does not mend (UNKNOWN_TOPIC_OR_PARTITION if it may not be
   * created, INVALID_TOPIC_EXCEPTION, TOPIC_AUTHORIZATION_FAILED, …), with KafkaError METADATA_TIMEOUT at the deadline;
   * its cause is the last answer.
   */
  async fetchTopic(name: string, options: FetchTopicOptions): Promise<TopicMetadata> {
    const { clock } = this.#options;
    const startMs = clock.nowMs();
    const abort = new AbortController();
    const signal = AbortSignal.any([abort.signal, this.#closing.signal]);
    let lastError: unknown;
    const timer = clock.schedule(options.deadlineMs - startMs, () => {
      const waitedMs = Math.round(clock.nowMs() - startMs);
      const last = lastError instanceof Error ? `; last answer: ${lastError.message}` : "; no broker answered";
      abort.abort(
        new KafkaError("METADATA_TIMEOUT", `metadata of topic ${name} did not come within ${waitedMs} ms${last}`, {
          cause: lastError,
        }),
      );
    });
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          return await until(this.#lookUp(name, options.allowAutoTopicCreation), signal);
        } catch (error) {
          if (signal.aborted) throw signal.reason;
          if (isUnknownTopic(error) && !options.allowAutoTopicCreation) throw notThere(name);
          if (!isRetriable(error)) throw error;
          lastError = error;
        }
        await sleep(clock, this.#backoffMs(attempt), signal);
      }
    } finally {
      timer.cancel();
    }
  }

  /** All topics of the cluster, asked for now. */
  async allTopics(): Promise<TopicMetadata[]> {
    const response = await this.#request(null, false);
    return response.topics.filter((topic) => topic.errorCode === 0).map((topic) => topicOf(topic, topic.name ?? ""));
  }

  /** Asks which brokers there are, now. */
  async refreshBrokers(): Promise<void> {
    await this.#request([], false);
  }

  /** Asks for what is in use again, soon: calls that come close together lead to one request. */
  requestRefresh(): void {
    if (this.#closing.signal.aborted) return;
    this.#isRefreshWanted = true;
    if (this.#isRefreshing || this.#refreshTimer !== null) return;
    const { clock } = this.#options;
    const dueMs = this.#lastRefreshMs + this.#backoffMs(Math.max(0, this.#refreshFailures - 1));
    const timer = clock.schedule(
      dueMs - clock.nowMs(),
      () => {
        this.#refreshTimer = null;
        void this.#refresh();
      },
      { background: true },
    );
    this.#refreshTimer = timer;
  }

  /** Takes a leader that a broker named with its error, unless a newer one is known. */
  updateLeader(hint: LeaderHint): void {
    const entry = this.#topics.get(hint.topic);
    const changed = entry === undefined ? null : withLeader(entry.topic, hint);
    if (entry === undefined || changed === null) return;
    entry.topic = changed;
    this.#tellListeners();
  }

  /** Forgets a topic: it was deleted by us. */
  forget(name: string): void {
    if (this.#topics.delete(name)) this.#tellListeners();
  }

  /**
   * Calls back after each change, and whenever all that is known was asked for again: who looks up a topic then keeps it
   * from being forgotten. Returns what ends that.
   */
  onUpdate(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Ends all waits with ClosedError. May be called twice. */
  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new ClosedError("metadata"));
    this.#ageTimer?.cancel();
    this.#refreshTimer?.cancel();
    this.#listeners.clear();
  }

  /** One try for one topic; lookups of the same turn share a request. */
  async #lookUp(name: string, allowAutoTopicCreation: boolean): Promise<TopicMetadata> {
    const kind = allowAutoTopicCreation ? "create" : "find";
    const lookup = this.#lookups[kind] ?? this.#startLookup(kind);
    lookup.names.add(name);
    const response = await lookup.response;
    const answer = response.topics.find((topic) => topic.name === name);
    const where = `metadata of topic ${name}`;
    if (answer === undefined) throw new BrokerError(errorByCode("UNKNOWN_TOPIC_OR_PARTITION"), where);
    if (answer.errorCode !== 0) throw BrokerError.fromNumber(answer.errorCode, where);
    const entry = this.#topics.get(name);
    if (entry?.topic.partitions.some((partition) => partition.leaderId >= 0) !== true) {
      throw new BrokerError(errorByCode("LEADER_NOT_AVAILABLE"), where);
    }
    entry.isUsed = true;
    return entry.topic;
  }

  #startLookup(kind: "create" | "find"): Lookup {
    const names = new Set<string>();
    const response = new Promise<void>((resolve) => this.#options.clock.defer(resolve)).then(() => {
      this.#lookups[kind] = null;
      return this.#request([...names], kind === "create");
    });
    const lookup = { names, response };
    this.#lookups[kind] = lookup;
    return lookup;
  }

  async #refresh(): Promise<void> {
    this.#isRefreshing = true;
    this.#isRefreshWanted = false;
    const { clock, logger } = this.#options;
    try {
      await this.#request(this.#topicsInUse(), false, { isRefresh: true });
      this.#refreshFailures = 0;
    } catch (error) {
      this.#refreshFailures += 1;
      this.#isRefreshWanted = true;
      logger.debug({ reason: String(error), failures: this.#refreshFailures }, "metadata refresh failed");
    }
    this.#isRefreshing = false;
    this.#lastRefreshMs = clock.nowMs();
    if (this.#isRefreshWanted) this.requestRefresh();
  }

  /** The names of the topics still in use; those that are not are forgotten. */
  #topicsInUse(): string[] {
    const nowMs = this.#options.clock.nowMs();
    for (const [name, entry] of this.#topics) {
      if (entry.isUsed) entry.lastUsedMs = nowMs;
      entry.isUsed = false;
      const isMissing = entry.missingSinceMs !== null && nowMs - entry.missingSinceMs > MISSING_TOPIC_GRACE_MS;
      if (isMissing || nowMs - entry.lastUsedMs >= this.#options.metadataMaxIdleMs) this.#topics.delete(name);
    }
    return [...this.#topics.keys()];
  }

  /** One Metadata request; its answer is taken over. names: null for all topics. */
  async #request(
    names: readonly string[] | null,
    allowAutoTopicCreation: boolean,
    { isRefresh } = { isRefresh: false },
  ): Promise<MetadataResponse> {
    const connection = await this.#options.anyConnection();
    const topics = names === null ? null : names.map((name) => ({ name }));
    const response = await connection.request(metadataApi, { topics, allowAutoTopicCreation });
    if (this.#closing.signal.aborted) throw this.#closing.signal.reason;
    if (response.errorCode !== 0) {
      if (errorByNumber(response.errorCode).code === "REBOOTSTRAP_REQUIRED") this.#options.onRebootstrapRequired();
      throw BrokerError.fromNumber(response.errorCode, "metadata");
    }
    const hasChanged = this.#apply(response, names);
    if (hasChanged || isRefresh) this.#tellListeners();
    return response;
  }

  /** True if anything about topics has changed. */
  #apply(response: MetadataResponse, asked: readonly string[] | null): boolean {
    this.#options.onBrokers(response);
    const nowMs = this.#options.clock.nowMs();
    const isAsked = new Set(asked);
    let hasChanged = false;
    for (const answer of response.topics) {
      const { name } = answer;
      if (name === null) continue;
      const entry = this.#topics.get(name);
      if (answer.errorCode !== 0) {
        if (entry !== undefined) entry.missingSinceMs ??= nowMs;
        continue;
      }
      if (entry === undefined) {
        // A list of all topics is no reason to follow all of them.
        if (!isAsked.has(name)) continue;
        this.#topics.set(name, {
          topic: topicOf(answer, name),
          isUsed: true,
          lastUsedMs: nowMs,
          missingSinceMs: null,
        });
        hasChanged = true;
        continue;
      }
      entry.missingSinceMs = null;
      const merged = mergeTopic(entry.topic, topicOf(answer, name));
      hasChanged ||= merged !== entry.topic;
      entry.topic = merged;
    }
    this.#armAgeTimer();
    return hasChanged;
  }

  #armAgeTimer(): void {
    const { clock, metadataMaxAgeMs } = this.#options;
    this.#ageTimer?.cancel();
    this.#ageTimer = clock.schedule(metadataMaxAgeMs, () => this.requestRefresh(), { background: true });
  }

  #tellListeners(): void {
    for (const listener of this.#listeners) listener();
  }

  #backoffMs(attempt: number): number {
    const { random, retryBackoffMs, retryBackoffMaxMs } = this.#options;
    return backoffMs(attempt, random, { baseMs: retryBackoffMs, maxMs: retryBackoffMaxMs });
  }
}

interface Lookup {
  readonly names: Set<string>;
  readonly response: Promise<MetadataResponse>;
}

function isUnknownTopic(error: unknown): boolean {
  return error instanceof BrokerError && error.code === "UNKNOWN_TOPIC_OR_PARTITION";
}

/** Kafka calls it retriable, for those who wait for the topic to be created. Nobody does here. */
function notThere(name: string): BrokerError {
  const entry = errorByCode("UNKNOWN_TOPIC_OR_PARTITION");
  return new BrokerError(entry, `metadata of topic ${name}`, null, { retriable: false });
}
