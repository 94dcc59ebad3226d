/** OpenBatch: a batch that records are still appended to, with those who wait for them. All of one codec. */

import type { RecordBatchBuilder } from "@millrace/protocol";
import type { RecordCompletion } from "./completion.ts";
import type { BatchRecords } from "./message-batch.ts";
import type { RecordRun, RunValues } from "./record-run.ts";
import type { SerializedRecord } from "./record-serializer.ts";

export interface OpenBatchParts {
  readonly builder: RecordBatchBuilder;
  readonly codecId: number;
  /** How large it may become, before compression. */
  readonly limitBytes: number;
  /** Its records are stored together or not at all: never to be split. */
  readonly isWhole: boolean;
  /** When its first record came, on the monotonic clock. */
  readonly createdAtMs: number;
}

export class OpenBatch {
  readonly builder: RecordBatchBuilder;
  readonly codecId: number;
  readonly limitBytes: number;
  readonly isWhole: boolean;
  readonly createdAtMs: number;
  readonly #completions: RecordCompletion[] = [];
  readonly #timestampsMs: number[] = [];
  /** Null as long as all slots are 0. */
  #slots: number[] | null = null;

  constructor({ builder, codecId, limitBytes, isWhole, createdAtMs }: OpenBatchParts) {
    this.builder = builder;
    this.codecId = codecId;
    this.limitBytes = limitBytes;
    this.isWhole = isWhole;
    this.createdAtMs = createdAtMs;
  }

  get records(): BatchRecords {
    return { completions: this.#completions, slots: this.#slots, timestampsMs: this.#timestampsMs };
  }

  isAwaitedBy(completion: RecordCompletion): boolean {
    return this.#completions.includes(completion);
  }

  /** False if the record may not fit the rest of the slab: nothing was appended. */
  append(record: SerializedRecord): boolean {
    const { timestampMs, key, keySizeBytes, value, headers, slot } = record;
    if (!this.builder.append(timestampMs, key, keySizeBytes, value, headers)) return false;
    if (this.#slots !== null) this.#slots.push(slot);
    else if (slot !== 0) this.#slotsFromHere().push(slot);
    this.#completions.push(record.completion);
    this.#timestampsMs.push(timestampMs);
    record.onBuffered?.();
    return true;
  }

  /**
   * Appends values of a run, from the one at `from` on: as many as surely fit the slab, and none once they have taken
   * limitBytes. Returns how many.
   */
  appendValues(completion: RecordRun["completion"], values: RunValues, from: number, limitBytes: number): number {
    const { timestampMs } = values;
    const count = this.builder.appendValues(timestampMs, values, from, limitBytes);
    const slots = this.#slots ?? this.#slotsFromHere();
    for (let slot = from; slot < from + count; slot++) {
      this.#completions.push(completion);
      this.#timestampsMs.push(timestampMs);
      slots.push(slot);
    }
    return count;
  }

  #slotsFromHere(): number[] {
    this.#slots = new Array<number>(this.#completions.length).fill(0);
    return this.#slots;
  }
}
