/** Who waits for a record: one entry a record in its batch, told once, with where it landed or why it did not. */

import { createDeferred, type Deferred } from "@millrace/base";
import type { KafkaError } from "@millrace/protocol";
import { SendBatchError } from "../errors.ts";
import { type BatchReceipt, RecordMetadata } from "./record.ts";

/**
 * Waits for one record or several.
 *
 * index: the record's place in its batch. slot: what `RecordCompletion` was appended with, the record's place among
 * those that this completion waits for.
 */
export interface Completion {
  succeed(receipt: BatchReceipt, index: number, slot: number): void;
  fail(error: KafkaError, slot: number): void;
}

/**
 * The resolve function alone stands for the promise of `send`: at a million records a second an object around it
 * would be the most expensive part of the record. It rejects by resolving with a rejected promise.
 */
export type RecordCompletion = Completion | ((outcome: RecordMetadata | Promise<never>) => void);

export function succeedRecord(completion: RecordCompletion, receipt: BatchReceipt, index: number, slot: number): void {
  if (typeof completion === "function") completion(new RecordMetadata(receipt, index));
  else completion.succeed(receipt, index, slot);
}

export function failRecord(completion: RecordCompletion, error: KafkaError, slot: number): void {
  if (typeof completion === "function") completion(Promise.reject(error));
  else completion.fail(error, slot);
}

/**
 * The fate of one record that is buffered.
 *
 * `acknowledged` is made when it is first read: a failure that nobody looks at raises no unhandledRejection.
 */
export class Delivery implements Completion {
  #outcome: RecordMetadata | KafkaError | null = null;
  #deferred: Deferred<RecordMetadata> | null = null;

  /** Resolves once the record is acknowledged; rejects with a KafkaError once it never will be. */
  get acknowledged(): Promise<RecordMetadata> {
    if (this.#deferred === null) {
      this.#deferred = createDeferred<RecordMetadata>();
      if (this.#outcome !== null) this.#settle(this.#deferred, this.#outcome);
    }
    return this.#deferred.promise;
  }

  /** "pending" until the record's fate is known. */
  get status(): "pending" | "acknowledged" | "failed" {
    if (this.#outcome === null) return "pending";
    return this.#outcome instanceof RecordMetadata ? "acknowledged" : "failed";
  }

  succeed(receipt: BatchReceipt, index: number): void {
    this.#finish(new RecordMetadata(receipt, index));
  }

  fail(error: KafkaError): void {
    this.#finish(error);
  }

  #finish(outcome: RecordMetadata | KafkaError): void {
    this.#outcome = outcome;
    if (this.#deferred !== null) this.#settle(this.#deferred, outcome);
  }

  #settle(deferred: Deferred<RecordMetadata>, outcome: RecordMetadata | KafkaError): void {
    if (outcome instanceof RecordMetadata) deferred.resolve(outcome);
    else deferred.reject(outcome);
  }
}

/** Waits for all records of one `sendBatch`: one promise and one completion, however many records. */
export class BatchCompletion implements Completion {
  readonly #results: (RecordMetadata | KafkaError)[];
  readonly #deferred = createDeferred<RecordMetadata[]>();
  #pendingCount: number;
  #failedCount = 0;

  constructor(recordCount: number) {
    this.#results = new Array(recordCount);
    this.#pendingCount = recordCount;
    if (recordCount === 0) this.#deferred.resolve([]);
  }

  /** Metadata per record, in order. Rejects with SendBatchError, with all results, if any record failed. */
  get promise(): Promise<RecordMetadata[]> {
    return this.#deferred.promise;
  }

  succeed(receipt: BatchReceipt, index: number, slot: number): void {
    this.#results[slot] = new RecordMetadata(receipt, index);
    this.#countDown();
  }

  fail(error: KafkaError, slot: number): void {
    this.#results[slot] = error;
    this.#failedCount += 1;
    this.#countDown();
  }

  #countDown(): void {
    this.#pendingCount -= 1;
    if (this.#pendingCount > 0) return;
    if (this.#failedCount > 0) this.#deferred.reject(new SendBatchError<RecordMetadata>(this.#results));
    else this.#deferred.resolve(this.#results.filter((result) => result instanceof RecordMetadata));
  }
}
