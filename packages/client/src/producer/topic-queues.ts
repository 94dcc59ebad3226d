/** TopicQueues: the partition queues of one topic, and what partitioners see of it. */

import { CompressionRatios } from "./compression-ratios.ts";
import { PartitionQueue } from "./partition-queue.ts";
import type { PartitionedTopic, StickyPartition } from "./partitioners.ts";

/** Partitions only ever become more: a topic keeps its queues, with their batches and sequences, as long as the producer lives. */
export class TopicQueues implements PartitionedTopic {
  readonly name: string;
  readonly sticky: StickyPartition;
  readonly ratios = new CompressionRatios();
  queues: readonly PartitionQueue[] = [];
  /** Its metadata is there: records can be appended at once. */
  isKnown = false;
  /** A record was appended since this was last set to false. */
  isUsed = true;

  constructor(name: string, sticky: StickyPartition) {
    this.name = name;
    this.sticky = sticky;
  }

  get partitionCount(): number {
    return this.queues.length;
  }

  get isIdle(): boolean {
    return this.queues.every((queue) => queue.isEmpty);
  }

  availablePartitions(): readonly number[] {
    const available = this.queues.filter((queue) => queue.hasLeader);
    return (available.length > 0 ? available : this.queues).map((queue) => queue.partition);
  }

  /** Partitions only ever become more; those that are there keep their batches and their sequence. */
  growTo(partitionCount: number): void {
    if (partitionCount <= this.queues.length) return;
    const added = Array.from(
      { length: partitionCount - this.queues.length },
      (_, index) => new PartitionQueue(this.name, this.queues.length + index),
    );
    this.queues = [...this.queues, ...added];
  }
}
