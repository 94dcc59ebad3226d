/** One topic: its name, id, settings, and the logs of its partitions. */

import { KafkaError } from "@millrace/protocol";
import type { AppendOptions, AppendResult, PartitionLog } from "../log/partition-log.ts";
import type { TopicConfig } from "./topic-settings.ts";

export class Topic {
  readonly name: string;
  readonly topicId: string;
  readonly isInternal: boolean;
  config: TopicConfig;
  /** Index = partition. Grows, never shrinks. */
  readonly partitions: PartitionLog[];
  readonly #deleteListeners = new Set<() => void>();
  #isDeleted = false;

  constructor(parts: {
    readonly name: string;
    readonly topicId: string;
    readonly isInternal: boolean;
    readonly config: TopicConfig;
    readonly partitions: PartitionLog[];
  }) {
    this.name = parts.name;
    this.topicId = parts.topicId;
    this.isInternal = parts.isInternal;
    this.config = parts.config;
    this.partitions = parts.partitions;
  }

  get isDeleted(): boolean {
    return this.#isDeleted;
  }

  /** Throws KafkaError UNKNOWN_TOPIC_OR_PARTITION. */
  partition(partition: number): PartitionLog {
    const log = this.partitions[partition];
    if (log !== undefined) return log;
    throw new KafkaError(
      "UNKNOWN_TOPIC_OR_PARTITION",
      `topic ${this.name} has partitions 0 to ${this.partitions.length - 1}; there is no ${partition}`,
    );
  }

  /** Takes effect at once: when it returns, the batch has its offsets. Throws what PartitionLog.append throws. */
  append(partition: number, batch: Buffer, options: AppendOptions): AppendResult {
    return this.partition(partition).append(batch, options);
  }

  /** Calls back when the topic is gone. Returns the function that takes the listener back. */
  onDelete(listener: () => void): () => void {
    this.#deleteListeners.add(listener);
    return () => this.#deleteListeners.delete(listener);
  }

  /** Tells those who wait for records that none will come. */
  markDeleted(): void {
    this.#isDeleted = true;
    for (const listener of this.#deleteListeners) listener();
    this.#deleteListeners.clear();
  }
}
