/** TopicQueues: the partition queues of one topic, and what partitioners see of it. */

import { CompressionRatios } from "./compression-ratios.ts";
import { PartitionQueue } from "./partition-queue.ts";
import type { PartitionedTopic, StickyPartition } from "./partitioners.ts";

/**
 * A topic keeps a queue for every partition that it ever had, with its batches and its sequence, as long as the producer
 * lives: metadata may forget a partition for a moment, and a topic that was deleted may be created again with fewer.
 */
export class TopicQueues implements PartitionedTopic {
  readonly name: string;
  readonly sticky: StickyPartition;
  readonly ratios = new CompressionRatios();
  /** Those of the partitions that the topic has now. */
  queues: readonly PartitionQueue[] = [];
  /** Those of partitions that it had once as well, which may still hold records. */
  allQueues: readonly PartitionQueue[] = [];
  /** Its metadata is there: records can be appended at once. */
  isKnown = false;
  /** A record was appended since this was last set to false. */
  isUsed = true;
  /** When brokers were last asked whether it has got more partitions, on the monotonic clock; and how many were hoped for. */
  askedIfGrownAtMs = Number.NEGATIVE_INFINITY;
  askedPartitionCount = 0;

  constructor(name: string, sticky: StickyPartition) {
    this.name = name;
    this.sticky = sticky;
  }

  get partitionCount(): number {
    return this.queues.length;
  }

  get isIdle(): boolean {
    return this.allQueues.every((queue) => queue.isEmpty);
  }

  availablePartitions(): readonly number[] {
    const available = this.queues.filter((queue) => queue.hasLeader);
    return (available.length > 0 ? available : this.queues).map((queue) => queue.partition);
  }

  /** Takes what the metadata says. Queues of partitions that are gone are left without a leader. */
  resizeTo(partitionCount: number): void {
    if (partitionCount > this.allQueues.length) {
      const added = Array.from(
        { length: partitionCount - this.allQueues.length },
        (_, index) => new PartitionQueue(this.name, this.allQueues.length + index),
      );
      this.allQueues = [...this.allQueues, ...added];
    }
    if (partitionCount !== this.queues.length) this.queues = this.allQueues.slice(0, partitionCount);
  }
}
