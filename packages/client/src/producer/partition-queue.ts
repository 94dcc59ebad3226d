/** PartitionQueue: everything the producer knows and holds of one partition, from the open batch to those in flight. Kafka's term: the deque of a RecordAccumulator. */

import { BoundedQueue } from "@millrace/base";
import type { KafkaError } from "@millrace/protocol";
import { PartitionSequence } from "./idempotence.ts";
import type { MessageBatch } from "./message-batch.ts";
import type { OpenBatch } from "./open-batch.ts";
import type { StickyCandidate } from "./partitioners.ts";

/** Batches wait in memory that bufferMemory bounds; this only ends a mistake of ours. */
const SEALED_LIMIT = 1_000_000;

/**
 * The order in which batches leave is the order of these fields, top to bottom:
 *
 *     inFlight   sent, not answered                      at most 5 (KIP-98: what a broker remembers)
 *     retries    sent before, to be sent again           by sequence, one at a time, nothing else in flight
 *     sealed     full, lingered or flushed
 *     open       growing; a record with another codec seals it, or records would change places
 */
export class PartitionQueue implements StickyCandidate {
  readonly topic: string;
  readonly partition: number;
  readonly sequence = new PartitionSequence();
  readonly inFlight: MessageBatch[] = [];
  readonly retries: MessageBatch[] = [];
  readonly sealed = new BoundedQueue<MessageBatch>(SEALED_LIMIT);
  open: OpenBatch | null = null;
  /** -1 while nobody leads the partition. */
  leaderId = -1;
  leaderEpoch = -1;
  /** The leader that has acknowledged a batch of ours: until then it gets one at a time (KAFKA-14359). */
  provenLeaderId = -1;
  /** Who has the batches in flight. */
  inFlightLeaderId = -1;
  /** What keeps its records from leaving; null once one was acknowledged since. */
  lastError: KafkaError | null = null;
  /** No retry leaves before this time, on the monotonic clock. */
  backoffUntilMs = 0;
  /** Listed with its broker as having something to send. */
  isListed = false;
  /** An open batch is to leave although it is neither full nor old: lingered, flushed, or memory is short. */
  isDue = false;
  /** Size of the slab that the last batch filled: the next one starts with it. */
  slabHintBytes = 0;

  constructor(topic: string, partition: number) {
    this.topic = topic;
    this.partition = partition;
  }

  get hasLeader(): boolean {
    return this.leaderId >= 0;
  }

  get queuedBatchCount(): number {
    return this.sealed.length;
  }

  /** Something is to be sent, now or later. */
  get hasUnsent(): boolean {
    return this.retries.length > 0 || this.sealed.length > 0 || this.open !== null;
  }

  /** Nothing is owed to anybody. */
  get isEmpty(): boolean {
    return this.inFlight.length === 0 && !this.hasUnsent;
  }

  /** When its oldest record without a fate came; infinity if there is none. */
  get oldestCreatedAtMs(): number {
    let oldestMs = Number.POSITIVE_INFINITY;
    // One that was given up in flight waits for its answer, and for no deadline any more.
    for (const batch of this.batches()) if (!batch.isSettled) oldestMs = Math.min(oldestMs, batch.createdAtMs);
    return Math.min(oldestMs, this.open?.createdAtMs ?? Number.POSITIVE_INFINITY);
  }

  /** All sealed batches, wherever they are on their way. */
  *batches(): Iterable<MessageBatch> {
    yield* this.inFlight;
    yield* this.retries;
    yield* this.sealed;
  }

  /** When the oldest record came that is to be sent; infinity if there is none. */
  get waitingSinceMs(): number {
    const first = this.retries[0] ?? this.sealed.peek() ?? this.open;
    return first?.createdAtMs ?? Number.POSITIVE_INFINITY;
  }

  /** Puts a batch among the retries, in the order in which their records were sent. */
  retryLater(batch: MessageBatch): void {
    const at = this.retries.findIndex((other) => batch.isBefore(other));
    this.retries.splice(at < 0 ? this.retries.length : at, 0, batch);
  }

  landed(batch: MessageBatch): void {
    const at = this.inFlight.indexOf(batch);
    if (at >= 0) this.inFlight.splice(at, 1);
  }

  /** Takes out a batch that is not in flight. */
  remove(batch: MessageBatch): void {
    const at = this.retries.indexOf(batch);
    if (at >= 0) this.retries.splice(at, 1);
    else if (this.sealed.peek() === batch) this.sealed.shift();
    else {
      for (let left = this.sealed.length; left > 0; left--) {
        const other = this.sealed.shift();
        if (other !== undefined && other !== batch) this.sealed.push(other);
      }
    }
  }
}
