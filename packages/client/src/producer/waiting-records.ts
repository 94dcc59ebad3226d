/** Records that wait for room in bufferMemory: first come, first served, for no longer than maxBlockMs, and bounded themselves. */

import { BoundedQueue, type Clock, type Timer } from "@millrace/base";
import type { KafkaError } from "@millrace/protocol";
import { BufferExhaustedError } from "../errors.ts";
import { failRecord, type RecordCompletion } from "./completion.ts";
import { type SerializedRecord, withOwnKey } from "./record-serializer.ts";
import type { TopicQueues } from "./topic-queues.ts";

/** What a waiting record costs beside its bytes: its objects, its promise. */
const OVERHEAD_BYTES = 400;
const COUNT_LIMIT = 1_000_000;
/**
 * The bytes of those that wait are bounded by this share of bufferMemory. Under a caller that never stops they become
 * garbage every maxBlockMs, and the heap grows by several times what waits before V8 collects it: measured with a
 * broker that never answers and 32 MiB, by 170 MiB with a share of 1, by 80 MiB with 4.
 */
const WAITING_SHARE = 4;
/** A small buffer does not make few callers fail at once. */
const WAITING_BYTES = 1024 * 1024;

export interface WaitingRecordsOptions {
  readonly maxBlockMs: number;
  /** Bounds the buffer; a share of it bounds the bytes of those that wait. */
  readonly bufferMemory: number;
}

interface Waiter {
  readonly topic: TopicQueues;
  readonly record: SerializedRecord;
  readonly sizeBytes: number;
  readonly sinceMs: number;
  /** How many had joined before it. */
  readonly ordinal: number;
}

export class WaitingRecords {
  readonly #options: WaitingRecordsOptions;
  readonly #clock: Clock;
  readonly #waiters = new BoundedQueue<Waiter>(COUNT_LIMIT);
  /** Those who wait for all that waited when they came; in the order in which they came. */
  readonly #barriers: { readonly ordinal: number; readonly resolve: () => void }[] = [];
  #sizeBytes = 0;
  #joinedCount = 0;
  #timer: Timer | null = null;
  #isAdmitting = false;
  #refused: BufferExhaustedError | null = null;

  constructor(options: WaitingRecordsOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  get count(): number {
    return this.#waiters.length;
  }

  /** Lets a record wait, or fails it with BUFFER_EXHAUSTED if too many wait already. */
  join(topic: TopicQueues, record: SerializedRecord): void {
    const { maxBlockMs, bufferMemory } = this.#options;
    const sizeBytes = OVERHEAD_BYTES + record.keySizeBytes + (record.value?.length ?? 0);
    const limitBytes = Math.max(bufferMemory / WAITING_SHARE, WAITING_BYTES);
    const hasRoom = this.#sizeBytes + sizeBytes <= limitBytes || this.#waiters.length === 0;
    const sinceMs = this.#clock.nowMs();
    const waiter: Waiter = { topic, record: withOwnKey(record), sizeBytes, sinceMs, ordinal: this.#joinedCount };
    if (maxBlockMs <= 0 || !hasRoom || !this.#waiters.push(waiter)) {
      failRecord(record.completion, this.#refusal(), record.slot);
      return;
    }
    this.#sizeBytes += sizeBytes;
    this.#joinedCount += 1;
    this.#armTimer();
  }

  /** One error for all that are refused: who pushes on while there is no room would fill the heap with their stacks. */
  #refusal(): KafkaError {
    this.#refused ??= new BufferExhaustedError(0, this.#options.bufferMemory);
    return this.#refused;
  }

  /** Lets in as many as `append` takes, from the front: who does not fit keeps those behind from overtaking. */
  admit(append: (topic: TopicQueues, record: SerializedRecord) => boolean): void {
    // Telling a failed record's owner may send another record, and settle a batch, before this returns.
    if (this.#isAdmitting) return;
    this.#isAdmitting = true;
    for (let waiter = this.#waiters.peek(); waiter !== undefined; waiter = this.#waiters.peek()) {
      if (!append(waiter.topic, waiter.record)) break;
      // Whoever was told of a failure may have had all that wait failed, and others may wait since.
      if (this.#waiters.peek() === waiter) this.#leave();
    }
    this.#isAdmitting = false;
  }

  /** Resolves once all that wait now have been let in or have failed. */
  whenAdmitted(): Promise<void> {
    if (this.#waiters.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#barriers.push({ ordinal: this.#joinedCount, resolve });
    });
  }

  /** Takes one record out of the line. False if it is not in it. The caller tells its completion. */
  withdraw(completion: RecordCompletion): boolean {
    let isFound = false;
    // Once round the queue, so that the others keep their order.
    for (let left = this.#waiters.length; left > 0; left--) {
      const waiter = this.#waiters.shift();
      if (waiter === undefined) break;
      if (waiter.record.completion === completion) {
        this.#sizeBytes -= waiter.sizeBytes;
        isFound = true;
      } else this.#waiters.push(waiter);
    }
    this.#openBarriers();
    return isFound;
  }

  /** Fails all of them. Returns how many they were. */
  failAll(error: KafkaError): number {
    let failedCount = 0;
    for (let waiter = this.#leave(); waiter !== undefined; waiter = this.#leave()) {
      failedCount += 1;
      failRecord(waiter.record.completion, error, waiter.record.slot);
    }
    return failedCount;
  }

  /** Stops the clock; whoever still waits is the caller's to fail first. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #leave(): Waiter | undefined {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) return undefined;
    this.#sizeBytes -= waiter.sizeBytes;
    this.#openBarriers();
    return waiter;
  }

  #openBarriers(): void {
    const firstOrdinal = this.#waiters.peek()?.ordinal ?? this.#joinedCount;
    while (this.#barriers[0] !== undefined && this.#barriers[0].ordinal <= firstOrdinal) {
      this.#barriers.shift()?.resolve();
    }
  }

  #armTimer(): void {
    const oldest = this.#waiters.peek();
    if (oldest === undefined || this.#timer !== null) return;
    const dueMs = oldest.sinceMs + this.#options.maxBlockMs;
    this.#timer = this.#clock.schedule(dueMs - this.#clock.nowMs(), () => {
      this.#timer = null;
      this.#expire();
      this.#armTimer();
    });
  }

  #expire(): void {
    const { maxBlockMs, bufferMemory } = this.#options;
    const nowMs = this.#clock.nowMs();
    const error = new BufferExhaustedError(maxBlockMs, bufferMemory);
    for (let waiter = this.#waiters.peek(); waiter !== undefined; waiter = this.#waiters.peek()) {
      if (nowMs - waiter.sinceMs < maxBlockMs) break;
      this.#leave();
      failRecord(waiter.record.completion, error, waiter.record.slot);
    }
  }
}
