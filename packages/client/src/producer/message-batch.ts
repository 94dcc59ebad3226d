/** MessageBatch: a sealed record batch on its way, with those who wait for its records. Kafka's term: ProducerBatch. */

import { assert } from "@millrace/base";
import { type KafkaError, type ProducerStamp, stampBatch } from "@millrace/protocol";
import { failRecord, type RecordCompletion, succeedRecord } from "./completion.ts";
import type { BatchReceipt } from "./record.ts";

/** The records of a batch and who waits for each; three lists of one length. */
export interface BatchRecords {
  readonly completions: readonly RecordCompletion[];
  /** What each completion wants to be told with; null where all would be 0. */
  readonly slots: readonly number[] | null;
  readonly timestampsMs: readonly number[];
}

export interface MessageBatchParts {
  readonly topic: string;
  readonly partition: number;
  readonly records: BatchRecords;
  /** The record batch without its stamp, or what will give it: a large one is compressed off the event loop. */
  readonly payload: Buffer | Promise<Buffer>;
  /** When its oldest record came, on the monotonic clock. */
  readonly createdAtMs: number;
  /** Its place in the order in which its partition's batches were sealed. */
  readonly ordinal: number;
  /** For a part of a batch that was split: where in that batch its records began. 0 if not given. */
  readonly firstIndex?: number;
  /** Before compression. */
  readonly sizeBytes: number;
  /** Its records are stored together or not at all: it may not be split. */
  readonly isWhole?: boolean;
  /** Gives back what the batch holds of the producer's memory. isReusable: nobody can be reading it any more. */
  readonly release: (options: { readonly isReusable: boolean }) => void;
}

const NONE_WITHDRAWN: ReadonlySet<number> = new Set();

/** Seals: checks that the parts belong together. From here on the records of the batch are what they are. */
export function createMessageBatch(parts: MessageBatchParts): MessageBatch {
  const { completions, slots, timestampsMs } = parts.records;
  assert(parts.topic !== "" && parts.partition >= 0, "a batch needs a topic and a partition");
  assert(completions.length > 0, "a batch has records");
  assert(timestampsMs.length === completions.length, "each record of a batch has a timestamp");
  assert(slots === null || slots.length === completions.length, "each record of a batch has a slot");
  return new MessageBatch(parts);
}

/**
 *     sealed ──► (compressed) ──► in flight ──► settled
 *                                  ▲      │
 *                                  └ retry┘   the same bytes, the same stamp
 *
 * Its records are told once: a batch whose deadline passes in flight is settled then, and what the broker answers later
 * only matters for the sequence of its partition.
 */
export class MessageBatch {
  readonly topic: string;
  readonly partition: number;
  readonly createdAtMs: number;
  readonly ordinal: number;
  readonly firstIndex: number;
  readonly sizeBytes: number;
  readonly recordCount: number;
  readonly isWhole: boolean;
  readonly #records: BatchRecords;
  readonly #release: MessageBatchParts["release"];
  readonly #settledListeners: (() => void)[] = [];
  /** Places of records that their senders took back before it left. Few batches have any: made for the first. */
  #withdrawn: Set<number> | null = null;
  #payload: Buffer | null = null;
  #stamp: ProducerStamp | null = null;
  #isSettled = false;
  /** Requests that carried it, the one under way included. */
  attemptCount = 0;
  /** True once bytes left and no answer said that they were refused. */
  isOutcomeUnknown = false;
  lastError: KafkaError | null = null;

  constructor(parts: MessageBatchParts) {
    this.topic = parts.topic;
    this.partition = parts.partition;
    this.createdAtMs = parts.createdAtMs;
    this.ordinal = parts.ordinal;
    this.firstIndex = parts.firstIndex ?? 0;
    this.sizeBytes = parts.sizeBytes;
    this.isWhole = parts.isWhole ?? false;
    this.recordCount = parts.records.completions.length;
    this.#records = parts.records;
    this.#release = parts.release;
    if (Buffer.isBuffer(parts.payload)) this.#payload = parts.payload;
  }

  get records(): BatchRecords {
    return this.#records;
  }

  /** Records in it; the documents' name. */
  get size(): number {
    return this.recordCount;
  }

  /** What a person wants to see of it. */
  get info(): { topic: string; partition: number; recordCount: number; sizeBytes: number; attemptCount: number } {
    const { topic, partition, recordCount, sizeBytes, attemptCount } = this;
    return { topic, partition, recordCount, sizeBytes, attemptCount };
  }

  /** The record batch as it goes over the wire; null while it is being compressed. */
  get payload(): Buffer | null {
    return this.#payload;
  }

  get stamp(): ProducerStamp | null {
    return this.#stamp;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** True if its records were sent before those of the other, a batch of the same partition. */
  isBefore(other: MessageBatch): boolean {
    return this.ordinal < other.ordinal || (this.ordinal === other.ordinal && this.firstIndex < other.firstIndex);
  }

  get withdrawn(): ReadonlySet<number> {
    return this.#withdrawn ?? NONE_WITHDRAWN;
  }

  /** Takes a record back. False if it is not here, or the batch is on its way or was. The caller tells the completion. */
  withdraw(completion: RecordCompletion): boolean {
    if (this.#isSettled || this.attemptCount > 0) return false;
    const index = this.#records.completions.indexOf(completion);
    if (index < 0 || this.withdrawn.has(index)) return false;
    this.#withdrawn ??= new Set();
    this.#withdrawn.add(index);
    return true;
  }

  compressed(payload: Buffer): void {
    this.#payload = payload;
  }

  /** Writes id, epoch and sequence into the bytes: when they first leave, and again only for a new epoch. */
  stampWith(stamp: ProducerStamp): void {
    assert(this.#payload !== null, "a batch is stamped after it was compressed");
    this.#stamp = stamp;
    stampBatch(this.#payload, stamp);
  }

  onSettled(listener: () => void): void {
    if (this.#isSettled) listener();
    else this.#settledListeners.push(listener);
  }

  succeed(baseOffset: bigint, logAppendTimeMs: number | null): void {
    if (!this.#settle()) return;
    const { completions, slots, timestampsMs } = this.#records;
    const receipt: BatchReceipt = {
      topic: this.topic,
      partition: this.partition,
      baseOffset,
      logAppendTimeMs,
      timestampsMs,
    };
    for (let index = 0; index < completions.length; index++) {
      const completion = completions[index];
      if (completion !== undefined) succeedRecord(completion, receipt, index, slots === null ? 0 : (slots[index] ?? 0));
    }
    this.#tellSettled();
  }

  /** errorOf: the error of each record; most often the same for all. */
  fail(errorOf: (index: number) => KafkaError): void {
    if (!this.#settle()) return;
    const { completions, slots } = this.#records;
    for (let index = 0; index < completions.length; index++) {
      const completion = completions[index];
      if (completion === undefined || this.withdrawn.has(index)) continue;
      failRecord(completion, errorOf(index), slots === null ? 0 : (slots[index] ?? 0));
    }
    this.#tellSettled();
  }

  /** Others carry its records from now on, or none do; it is over, and its memory free, when they are. */
  replaceBy(parts: readonly MessageBatch[]): void {
    assert(this.#settle(), "a settled batch cannot be replaced");
    if (parts.length === 0) {
      this.#tellSettled();
      this.release({ isReusable: true });
      return;
    }
    let pendingCount = parts.length;
    for (const part of parts) {
      part.onSettled(() => {
        pendingCount -= 1;
        if (pendingCount > 0) return;
        this.#tellSettled();
        this.release({ isReusable: false });
      });
    }
  }

  /**
   * Gives its memory back. isReusable: the answer is in, so that no socket can still be reading the bytes. While it is
   * being compressed off the event loop they are read all the same, and written to if they do not shrink.
   */
  release(options: { readonly isReusable: boolean }): void {
    this.#release({ isReusable: options.isReusable && this.#payload !== null });
  }

  #settle(): boolean {
    if (this.#isSettled) return false;
    this.#isSettled = true;
    return true;
  }

  #tellSettled(): void {
    for (const listener of this.#settledListeners) listener();
  }
}
