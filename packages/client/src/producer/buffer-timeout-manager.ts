/** BufferTimeoutManager: tells when a batch has lingered long enough and when a record's time is up. Kafka's terms: linger.ms, delivery.timeout.ms. */

import { BoundedQueue, type Clock, type Timer } from "@millrace/base";
import type { PartitionQueue } from "./partition-queue.ts";

/** Open batches whose linger runs. Each holds memory that bufferMemory bounds. */
const LINGERING_LIMIT = 1_000_000;

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
 * There are two timers however many batches there are. Lingering batches are in the order of their age, since all linger
 * equally long, so the front of one queue is the next to be due. A deadline is looked for only when the oldest record
 * known at the last look would have reached it: with records acknowledged in time, once in deliveryTimeoutMs.
 */
export class BufferTimeoutManager {
  readonly #parts: BufferTimeoutParts;
  readonly #lingering = new BoundedQueue<{ readonly queue: PartitionQueue; readonly dueMs: number }>(LINGERING_LIMIT);
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

  /** The queue has a new open batch, whose first record came now. */
  markActivity(queue: PartitionQueue): void {
    if (!this.#isMonitoring) return;
    const { lingerMs } = this.#parts.options;
    if (lingerMs > 0) {
      this.#lingering.push({ queue, dueMs: this.#parts.clock.nowMs() + lingerMs });
      this.#armLinger();
    }
    this.#watched.add(queue);
    this.#armDeadline();
  }

  /** The queue owes nothing to anybody. */
  markIdle(queue: PartitionQueue): void {
    this.#watched.delete(queue);
  }

  #armLinger(): void {
    const next = this.#lingering.peek();
    if (next === undefined || this.#lingerTimer !== null) return;
    this.#lingerTimer = this.#parts.clock.schedule(next.dueMs - this.#parts.clock.nowMs(), () => {
      this.#lingerTimer = null;
      const nowMs = this.#parts.clock.nowMs();
      for (
        let first = this.#lingering.peek();
        first !== undefined && first.dueMs <= nowMs;
        first = this.#lingering.peek()
      ) {
        this.#lingering.shift();
        if (this.#isLingering(first.queue, nowMs)) this.#parts.onLingered(first.queue);
      }
      this.#armLinger();
    });
  }

  /** The batch that the entry was made for may have left full long ago, and a younger one have taken its place. */
  #isLingering(queue: PartitionQueue, nowMs: number): boolean {
    const { lingerMs } = this.#parts.options;
    // A timer may fire a fraction of a millisecond before its time.
    return queue.open.some((open) => open && nowMs - open.createdAtMs >= lingerMs - 1);
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
