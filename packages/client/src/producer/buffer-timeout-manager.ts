/** BufferTimeoutManager: tells when a batch has lingered long enough and when a record's time is up. Kafka's terms: linger.ms, delivery.timeout.ms. */

import type { Clock, Timer } from "@millrace/base";
import type { PartitionQueue } from "./partition-queue.ts";

export interface BufferTimeoutOptions {
  readonly lingerMs: number;
  readonly deliveryTimeoutMs: number;
}

export interface BufferTimeoutParts {
  readonly options: BufferTimeoutOptions;
  readonly clock: Clock;
  /** The queue's open batch is lingerMs old. */
  readonly onLingered: (queue: PartitionQueue) => void;
  /** A record of the queue may be deliveryTimeoutMs old: look, and fail those that are. */
  readonly onDeadline: (queue: PartitionQueue) => void;
}

/**
 * Time counts from a batch's oldest record and is never reset by a later one: a trickle of records is sent lingerMs
 * after the first. (A timer that starts anew with each record, as the AIOProducer document's does, never fires under a
 * trickle.)
 *
 * There are two timers however many batches there are. Partitions are in the order in which their open batches began,
 * since all linger equally long, so the first of them is the next to be due. A deadline is looked for only when the oldest
 * record known at the last look would have reached it: with records acknowledged in time, once in deliveryTimeoutMs.
 */
export class BufferTimeoutManager {
  readonly #parts: BufferTimeoutParts;
  /** When their open batches are due; one entry a partition, the earliest first. */
  readonly #lingering = new Map<PartitionQueue, number>();
  readonly #watched = new Set<PartitionQueue>();
  #lingerTimer: Timer | null = null;
  #deadlineTimer: Timer | null = null;
  #isMonitoring = false;

  constructor(parts: BufferTimeoutParts) {
    this.#parts = parts;
  }

  /** Queues that hold records or wait for an answer. */
  get watched(): ReadonlySet<PartitionQueue> {
    return this.#watched;
  }

  startMonitoring(): void {
    this.#isMonitoring = true;
  }

  stopMonitoring(): void {
    this.#isMonitoring = false;
    this.#lingerTimer?.cancel();
    this.#deadlineTimer?.cancel();
    this.#lingerTimer = null;
    this.#deadlineTimer = null;
  }

  /** The queue holds records: a new open batch, or one that was sealed. */
  markActivity(queue: PartitionQueue): void {
    if (!this.#isMonitoring) return;
    const { lingerMs } = this.#parts.options;
    if (lingerMs > 0 && queue.open !== null) this.#linger(queue, queue.open.createdAtMs + lingerMs);
    this.#watched.add(queue);
    this.#armDeadline();
  }

  /** The queue owes nothing to anybody. */
  markIdle(queue: PartitionQueue): void {
    this.#watched.delete(queue);
  }

  #linger(queue: PartitionQueue, dueMs: number): void {
    if (this.#lingering.get(queue) === dueMs) return;
    // Behind the others: the batch before this one left before it was due.
    this.#lingering.delete(queue);
    this.#lingering.set(queue, dueMs);
    this.#armLinger();
  }

  #armLinger(): void {
    if (this.#lingerTimer !== null) return;
    for (const dueMs of this.#lingering.values()) {
      this.#lingerTimer = this.#parts.clock.schedule(dueMs - this.#parts.clock.nowMs(), () => this.#onLingered());
      return;
    }
  }

  #onLingered(): void {
    this.#lingerTimer = null;
    const nowMs = this.#parts.clock.nowMs();
    for (const [queue, dueMs] of this.#lingering) {
      if (dueMs > nowMs) break;
      this.#lingering.delete(queue);
      if (queue.open !== null) this.#parts.onLingered(queue);
    }
    this.#armLinger();
  }

  #armDeadline(): void {
    if (this.#deadlineTimer !== null || this.#watched.size === 0) return;
    let oldestMs = Number.POSITIVE_INFINITY;
    for (const queue of this.#watched) oldestMs = Math.min(oldestMs, queue.oldestCreatedAtMs);
    const nowMs = this.#parts.clock.nowMs();
    const dueMs = Math.min(oldestMs, nowMs) + this.#parts.options.deliveryTimeoutMs;
    // In the background: what a record waits for, a socket or a timer of its own, keeps the process alive.
    this.#deadlineTimer = this.#parts.clock.schedule(dueMs - nowMs, () => this.#onDeadline(), { background: true });
  }

  #onDeadline(): void {
    this.#deadlineTimer = null;
    for (const queue of [...this.#watched]) this.#parts.onDeadline(queue);
    this.#armDeadline();
  }
}
