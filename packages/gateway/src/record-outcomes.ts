/** RecordOutcomes: what became of each record of a request, and when all have their fate. */

import { createDeferred } from "@millrace/base";
import type { BatchReceipt, Completion } from "@millrace/client/internal";
import { KafkaError } from "@millrace/protocol";
import { RecordFailure } from "./formats.ts";

/** Why a record is not stored: refused for its own content, or failed on the way. */
export type Failure = RecordFailure | KafkaError;

/** A fate and a place. */
const RECORD_BYTES = 16;

/**
 * The completion of a run: told once a record, by the record's place in the request.
 *
 * Holds two numbers a record and no object: a body has thousands of them.
 */
export class RecordOutcomes implements Completion {
  /** About how much memory the outcomes of so many records take. */
  static sizeBytes(recordCount: number): number {
    return recordCount * RECORD_BYTES;
  }

  readonly recordCount: number;
  readonly #fates: (BatchReceipt | Failure | null)[];
  /** Places in their batches, of those that are stored. */
  readonly #places: number[];
  #settled = createDeferred<void>();
  #pendingCount: number;
  #failedCount = 0;

  constructor(recordCount: number) {
    this.recordCount = recordCount;
    this.#fates = new Array<null>(recordCount).fill(null);
    this.#places = new Array<number>(recordCount).fill(0);
    this.#pendingCount = recordCount;
    if (recordCount === 0) this.#settled.resolve();
  }

  /** Resolves once no record is pending; never rejects. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  get pendingCount(): number {
    return this.#pendingCount;
  }

  get failedCount(): number {
    return this.#failedCount;
  }

  get storedCount(): number {
    return this.recordCount - this.#pendingCount - this.#failedCount;
  }

  succeed(receipt: BatchReceipt, place: number, slot: number): void {
    // A fate that came after the request had given up on it.
    if (this.#fates[slot] !== null) return;
    this.#fates[slot] = receipt;
    this.#places[slot] = place;
    this.#countDown();
  }

  fail(failure: Failure, slot: number): void {
    if (this.#fates[slot] !== null) return;
    this.#fates[slot] = failure;
    this.#failedCount += 1;
    this.#countDown();
  }

  /** Gives up on the records that have no fate yet. */
  failPending(failure: KafkaError): void {
    for (let slot = 0; slot < this.recordCount; slot++) if (this.#fates[slot] === null) this.fail(failure, slot);
  }

  /** Makes failed records pending again, to be sent once more. Returns how many. */
  reopen(isReopened: (failure: Failure) => boolean): number {
    let count = 0;
    for (const [slot, fate] of this.#fates.entries()) {
      if (fate === null || !isFailure(fate) || !isReopened(fate)) continue;
      this.#fates[slot] = null;
      count += 1;
    }
    if (count > 0 && this.#pendingCount === 0) this.#settled = createDeferred<void>();
    this.#failedCount -= count;
    this.#pendingCount += count;
    return count;
  }

  isPending(slot: number): boolean {
    return this.#fates[slot] === null;
  }

  /** The batch that a record is stored in; null for one that failed or is pending. */
  receipt(slot: number): BatchReceipt | null {
    const fate = this.#fates[slot] ?? null;
    return fate === null || isFailure(fate) ? null : fate;
  }

  /** Of a stored record: its place in its batch. */
  place(slot: number): number {
    return this.#places[slot] ?? 0;
  }

  /** How many records from this stored one on are stored one behind the other in its batch. */
  runLength(slot: number): number {
    const receipt = this.#fates[slot];
    const first = this.place(slot);
    let end = slot + 1;
    while (end < this.recordCount && this.#fates[end] === receipt && this.#places[end] === first + end - slot) end += 1;
    return end - slot;
  }

  /** Of a request whose records are all stored. */
  runCount(): number {
    let count = 0;
    for (let slot = 0; slot < this.recordCount; slot += this.runLength(slot)) count += 1;
    return count;
  }

  failure(slot: number): Failure | null {
    const fate = this.#fates[slot] ?? null;
    return fate !== null && isFailure(fate) ? fate : null;
  }

  /** All failures, in the order of the records. */
  *failures(): Iterable<Failure> {
    if (this.#failedCount === 0) return;
    for (const fate of this.#fates) if (fate !== null && isFailure(fate)) yield fate;
  }

  #countDown(): void {
    this.#pendingCount -= 1;
    if (this.#pendingCount === 0) this.#settled.resolve();
  }
}

function isFailure(fate: BatchReceipt | Failure): fate is Failure {
  return fate instanceof KafkaError || fate instanceof RecordFailure;
}

/** -1 where the broker gave none. */
export function offsetAt(receipt: BatchReceipt, place: number): bigint {
  return receipt.baseOffset < 0n ? -1n : receipt.baseOffset + BigInt(place);
}

/** Milliseconds since 1970, as stored; -1 where that is not known. */
export function timestampAt(receipt: BatchReceipt, place: number): number {
  return receipt.logAppendTimeMs ?? receipt.timestampsMs[place] ?? -1;
}
