/** All topics of the broker: created, found, changed and deleted; on disk before anybody is told. */

import { type Clock, createDeferred, type FileSystem, type Logger, type Random, type Timer } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { LogManager } from "../log/log-manager.ts";
import { PartitionLog } from "../log/partition-log.ts";
import type { ResolvedBrokerOptions } from "../options.ts";
import { PartitionFolders } from "./partition-folders.ts";
import { Topic } from "./topic.ts";
import { checkTopicName, newTopicId } from "./topic-names.ts";
import { type TopicRecord, TopicRecords } from "./topic-records.ts";
import { logSettingsOf, type TopicConfig } from "./topic-settings.ts";

/** Logs opened at the same time: enough to keep the thread pool busy, with few files open and little in memory. */
const PARALLEL_OPENS = 64;

export interface NewTopic {
  readonly name: string;
  readonly partitions: number;
  readonly config: TopicConfig;
  readonly isInternal?: boolean;
}

interface TopicManagerParts {
  readonly dataDir: string;
  readonly isCleanStart: boolean;
  readonly options: ResolvedBrokerOptions;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/**
 * topics.json is the truth about which topics there are; a partition has a folder from its first record on. A topic is
 * deleted by renaming its folders first: a renamed folder finishes the deletion at the next start, so that a topic never
 * comes back without its records.
 */
export class TopicManager {
  readonly #parts: TopicManagerParts;
  readonly #logs: LogManager;
  readonly #records: TopicRecords;
  readonly #folders: PartitionFolders;
  readonly #topics = new Map<string, Topic>();
  readonly #topicsById = new Map<string, Topic>();
  /** The last change under way of each name: changes of one topic happen one after the other. */
  readonly #changes = new Map<string, Promise<unknown>>();
  readonly #openSlots = new Slots(PARALLEL_OPENS);
  #retentionTimer: Timer | null = null;
  #isClosed = false;

  static async open(parts: TopicManagerParts): Promise<TopicManager> {
    const logs = await LogManager.open(parts);
    const records = await TopicRecords.open(parts.fileSystem, parts.dataDir);
    const manager = new TopicManager(parts, logs, records, await PartitionFolders.open(parts));
    await manager.#load();
    manager.#watchRetention();
    return manager;
  }

  private constructor(parts: TopicManagerParts, logs: LogManager, records: TopicRecords, folders: PartitionFolders) {
    this.#parts = parts;
    this.#logs = logs;
    this.#records = records;
    this.#folders = folders;
  }

  get(name: string): Topic | undefined {
    return this.#topics.get(name);
  }

  getById(topicId: string): Topic | undefined {
    return this.#topicsById.get(topicId);
  }

  /** Throws KafkaError UNKNOWN_TOPIC_OR_PARTITION. */
  expect(name: string): Topic {
    const topic = this.#topics.get(name);
    if (topic !== undefined) return topic;
    throw new KafkaError("UNKNOWN_TOPIC_OR_PARTITION", `there is no topic ${name}`);
  }

  /** Throws KafkaError UNKNOWN_TOPIC_ID. */
  expectById(topicId: string): Topic {
    const topic = this.#topicsById.get(topicId);
    if (topic !== undefined) return topic;
    throw new KafkaError("UNKNOWN_TOPIC_ID", `there is no topic with id ${topicId}`);
  }

  list(): Topic[] {
    return [...this.#topics.values()];
  }

  /**
   * Throws a KafkaError if there can be no such topic: INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS,
   * INVALID_PARTITIONS.
   */
  check(topic: NewTopic): void {
    checkTopicName(topic.name);
    const limit = this.#parts.options.maxPartitionsPerTopic;
    if (topic.partitions < 1 || topic.partitions > limit) {
      throw new KafkaError("INVALID_PARTITIONS", `${topic.name}: ${topic.partitions} partitions; 1 to ${limit} may be`);
    }
    if (this.#records.get(topic.name) !== undefined) {
      throw new KafkaError("TOPIC_ALREADY_EXISTS", `topic ${topic.name} exists already`);
    }
    const collided = this.#records.collidingWith(topic.name);
    if (collided !== undefined) {
      throw new KafkaError(
        "INVALID_TOPIC_EXCEPTION",
        `topic ${topic.name} collides with ${collided}: names must differ in more than "." and "_"`,
      );
    }
  }

  /** Resolves once the topic would outlive a crash and can be written to. Rejects as `check`, or KAFKA_STORAGE_ERROR. */
  create(topic: NewTopic): Promise<Topic> {
    return this.#change(topic.name, async () => {
      this.check(topic);
      const record: TopicRecord = {
        name: topic.name,
        id: newTopicId(this.#parts.random),
        partitions: topic.partitions,
        isInternal: topic.isInternal === true,
        config: topic.config,
      };
      this.#records.set(record);
      try {
        await this.#records.save();
        return this.#show(record, await this.#openPartitions(record, 0));
      } catch (error) {
        this.#records.delete(record.name);
        await this.#records.save().catch(() => {});
        throw storageError(`create topic ${record.name}`, error);
      }
    });
  }

  /** The topic, made if it is not there. Of several that ask at once, one makes it. */
  async getOrCreate(topic: NewTopic): Promise<Topic> {
    const found = this.#topics.get(topic.name);
    if (found !== undefined) return found;
    try {
      return await this.create(topic);
    } catch (error) {
      const made = this.#topics.get(topic.name);
      if (made !== undefined) return made;
      throw error;
    }
  }

  /**
   * Resolves once the topic is gone for good. Rejects with UNKNOWN_TOPIC_OR_PARTITION, or with KAFKA_STORAGE_ERROR; then
   * the topic takes no more records, keeps its name, and can be deleted again.
   */
  delete(name: string): Promise<void> {
    return this.#change(name, async () => {
      const topic = this.expect(name);
      const record = this.#records.get(name);
      this.#hide(topic);
      topic.markDeleted();
      try {
        await Promise.all(topic.partitions.map((log) => log.discard()));
        if (record !== undefined) await this.#folders.rename(record);
        this.#records.delete(name);
        await this.#records.save();
        this.#folders.removeRenamed(topic.topicId);
      } catch (error) {
        if (record !== undefined) this.#records.set(record);
        this.#expose(topic);
        throw storageError(`delete topic ${name}`, error);
      }
    });
  }

  /** Adds partitions until there are so many. Rejects with INVALID_PARTITIONS if there are as many already. */
  addPartitions(name: string, partitionCount: number): Promise<void> {
    return this.#change(name, async () => {
      this.checkPartitions(name, partitionCount);
      const topic = this.expect(name);
      const record = this.#records.get(name);
      if (record === undefined) return;
      const grown = { ...record, partitions: partitionCount };
      try {
        this.#records.set(grown);
        await this.#records.save();
        topic.partitions.push(...(await this.#openPartitions(grown, record.partitions)));
      } catch (error) {
        this.#records.set(record);
        // It may be saved already: those who were told that it failed are not to meet them after a restart.
        await this.#records.save().catch(() => {});
        throw storageError(`add partitions to ${name}`, error);
      }
    });
  }

  /** Throws what addPartitions would reject with. */
  checkPartitions(name: string, partitionCount: number): void {
    const { length } = this.expect(name).partitions;
    const limit = this.#parts.options.maxPartitionsPerTopic;
    if (partitionCount > length && partitionCount <= limit) return;
    throw new KafkaError(
      "INVALID_PARTITIONS",
      `${name} has ${length} partitions; it can have more, up to ${limit}, not ${partitionCount}`,
    );
  }

  /** Replaces the settings of a topic. Rejects with UNKNOWN_TOPIC_OR_PARTITION or KAFKA_STORAGE_ERROR. */
  configure(name: string, config: TopicConfig): Promise<void> {
    return this.#change(name, async () => {
      const topic = this.expect(name);
      const record = this.#records.get(name);
      if (record === undefined) return;
      try {
        this.#records.set({ ...record, config });
        await this.#records.save();
      } catch (error) {
        this.#records.set(record);
        throw storageError(`configure ${name}`, error);
      }
      topic.config = config;
      const settings = logSettingsOf(config, this.#parts.options);
      for (const log of topic.partitions) log.applySettings(settings);
    });
  }

  /** Closes all logs once they are flushed. Rejects if one of them must be recovered. May be called twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#retentionTimer?.cancel();
    await Promise.allSettled(this.#changes.values());
    await this.#folders.close();
    const closed = await Promise.allSettled(this.list().flatMap((topic) => topic.partitions.map((log) => log.close())));
    const failed = closed.find((result) => result.status === "rejected");
    await this.#logs.close();
    if (failed !== undefined) throw storageError("close the logs", failed.reason);
  }

  async #load(): Promise<void> {
    await this.#finishDeletions();
    this.#warnOfStrangers();
    const opened = await settleAll(
      this.#records.all().map(async (record) => ({ record, partitions: await this.#openPartitions(record, 0) })),
    );
    for (const { record, partitions } of opened) this.#show(record, partitions);
  }

  async #finishDeletions(): Promise<void> {
    const { deletedTopicIds } = this.#folders;
    if (deletedTopicIds.length === 0) return;
    for (const record of this.#records.all().filter(({ id }) => deletedTopicIds.includes(id))) {
      this.#parts.logger.info({ topic: record.name }, "finishing the deletion of a topic");
      await this.#folders.rename(record);
      this.#records.delete(record.name);
    }
    await this.#records.save();
    for (const topicId of deletedTopicIds) this.#folders.removeRenamed(topicId);
  }

  /** Somebody's records, perhaps from a backup: not ours to remove, nor to serve before somebody asks for the topic. */
  #warnOfStrangers(): void {
    for (const folder of this.#folders.strangersTo((topic) => this.#records.get(topic)?.partitions ?? 0)) {
      this.#parts.logger.warn({ folder }, "a folder belongs to no topic; creating a topic of its name brings it back");
    }
  }

  async #openPartitions(record: TopicRecord, firstPartition: number): Promise<PartitionLog[]> {
    const settings = logSettingsOf(record.config, this.#parts.options);
    const { name: topic, id: topicId } = record;
    const opened: PartitionLog[] = [];
    const open = async (partition: number) => {
      const hasFolder = this.#folders.had(topic, partition);
      const log = await PartitionLog.open({ manager: this.#logs, topic, topicId, partition, hasFolder, settings });
      opened.push(log);
      return log;
    };
    try {
      return await settleAll(
        partitionsFrom(record, firstPartition).map((partition) => this.#openSlots.run(() => open(partition))),
      );
    } catch (error) {
      await Promise.allSettled(opened.map((log) => log.close()));
      throw error;
    }
  }

  #show(record: TopicRecord, partitions: PartitionLog[]): Topic {
    const { name, id, isInternal, config } = record;
    const topic = new Topic({ name, topicId: id, isInternal, config, partitions });
    this.#expose(topic);
    return topic;
  }

  #expose(topic: Topic): void {
    this.#topics.set(topic.name, topic);
    this.#topicsById.set(topic.topicId, topic);
  }

  #hide({ name, topicId }: Topic): void {
    this.#topics.delete(name);
    this.#topicsById.delete(topicId);
  }

  /** Runs a change of a topic after those of the same name that came before it. */
  async #change<T>(name: string, change: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new KafkaError("CLOSED", "the broker is closed");
    const before = this.#changes.get(name);
    const done = createDeferred<void>();
    this.#changes.set(name, done.promise);
    try {
      await before;
      return await change();
    } finally {
      if (this.#changes.get(name) === done.promise) this.#changes.delete(name);
      done.resolve();
    }
  }

  #watchRetention(): void {
    const { clock, options } = this.#parts;
    const next = () => {
      if (!this.#isClosed) this.#watchRetention();
    };
    this.#retentionTimer = clock.schedule(
      options.retentionCheckIntervalMs,
      () => {
        this.#enforceRetention().then(next, next);
      },
      { background: true },
    );
  }

  async #enforceRetention(): Promise<void> {
    for (const topic of this.list()) {
      for (const log of topic.partitions) {
        if (this.#isClosed || topic.isDeleted) break;
        try {
          await log.enforceRetention();
        } catch (error) {
          this.#parts.logger.warn({ topic: topic.name, error }, "could not delete old segments");
        }
      }
    }
  }
}

function storageError(what: string, cause: unknown): KafkaError {
  if (cause instanceof KafkaError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new KafkaError("KAFKA_STORAGE_ERROR", `could not ${what}: ${reason}`, { cause });
}

function partitionsFrom(record: TopicRecord, firstPartition: number): number[] {
  return Array.from({ length: record.partitions - firstPartition }, (_, index) => firstPartition + index);
}

/** The results in the order of the promises. If one rejects, nothing is under way any more when this does. */
async function settleAll<Result>(promises: readonly Promise<Result>[]): Promise<Result[]> {
  const results: Result[] = [];
  for (const end of await Promise.allSettled(promises)) {
    if (end.status === "rejected") throw end.reason;
    results.push(end.value);
  }
  return results;
}

/** Lets so much work run at a time; the rest begins in the order in which it was asked for. */
class Slots {
  #freeCount: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#freeCount = count;
  }

  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#freeCount > 0) this.#freeCount -= 1;
    else await new Promise<void>((begin) => this.#waiting.push(begin));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#freeCount += 1;
      else next();
    }
  }
}
