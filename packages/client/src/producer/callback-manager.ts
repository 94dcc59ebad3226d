/** CallbackManager: runs what callers asked to be called back with, and keeps its failures from doing harm. Kafka's term: Thunk. */

import type { Logger } from "@millrace/base";
import type { KafkaError } from "@millrace/protocol";
import type { Completion } from "./completion.ts";
import { type BatchReceipt, RecordMetadata } from "./record.ts";

export type SuccessCallback = (metadata: RecordMetadata) => void | Promise<void>;
export type ErrorCallback = (error: KafkaError) => void | Promise<void>;

export interface UserCallbacks {
  readonly onSuccess?: SuccessCallback | undefined;
  readonly onError?: ErrorCallback | undefined;
}

export interface CallbackStats {
  readonly available: number;
  readonly inUse: number;
  readonly created: number;
  readonly reused: number;
  /** How often each that was created has been used again, on average: reused / created; 0 before the first. */
  readonly reuseRatio: number;
}

/** Callbacks kept for the next records; beyond that the garbage collector has them. */
const POOL_LIMIT = 1_000;

/**
 * Hands out the completion of a record that carries callbacks, from a pool unless told otherwise.
 *
 * The pool is the AIOProducer document's. Callbacks run on the event loop in the order in which records settle; one that
 * returns a promise is not waited for.
 */
export class CallbackManager {
  readonly #logger: Logger;
  readonly #isPooled: boolean;
  readonly #free: ReusableMessageCallback[] = [];
  #created = 0;
  #reused = 0;
  #inUse = 0;

  constructor(logger: Logger, options: { readonly isPooled: boolean }) {
    this.#logger = logger;
    this.#isPooled = options.isPooled;
  }

  getCallback(
    callbacks: UserCallbacks,
    settle: (outcome: RecordMetadata | KafkaError) => void,
  ): ReusableMessageCallback {
    let callback = this.#free.pop();
    if (callback === undefined) {
      callback = new ReusableMessageCallback(this);
      this.#created += 1;
    } else this.#reused += 1;
    this.#inUse += 1;
    callback.reset(callbacks, settle);
    return callback;
  }

  returnCallback(callback: ReusableMessageCallback): void {
    this.#inUse -= 1;
    if (this.#isPooled && this.#free.length < POOL_LIMIT) this.#free.push(callback);
  }

  getStats(): CallbackStats {
    return {
      available: this.#free.length,
      inUse: this.#inUse,
      created: this.#created,
      reused: this.#reused,
      reuseRatio: this.#created === 0 ? 0 : this.#reused / this.#created,
    };
  }

  /** Calls the user's function. What it throws, at once or later, is logged and goes no further. */
  handleUserCallback<T>(callback: ((outcome: T) => void | Promise<void>) | undefined, outcome: T): void {
    if (callback === undefined) return;
    try {
      const result = callback(outcome);
      if (result instanceof Promise) result.catch((error: unknown) => this.#report(error));
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error: unknown): void {
    this.#logger.error({ err: error }, "a delivery callback threw");
  }
}

/** One record's callbacks, for as long as the record is under way. */
export class ReusableMessageCallback implements Completion {
  readonly #manager: CallbackManager;
  #callbacks: UserCallbacks = {};
  #settle: (outcome: RecordMetadata | KafkaError) => void = noop;

  constructor(manager: CallbackManager) {
    this.#manager = manager;
  }

  /** Readies it for a record. */
  reset(callbacks: UserCallbacks, settle: (outcome: RecordMetadata | KafkaError) => void): void {
    this.#callbacks = callbacks;
    this.#settle = settle;
  }

  succeed(receipt: BatchReceipt, index: number): void {
    const metadata = new RecordMetadata(receipt, index);
    const { onSuccess } = this.#callbacks;
    this.#finish(metadata);
    this.#manager.handleUserCallback(onSuccess, metadata);
  }

  fail(error: KafkaError): void {
    const { onError } = this.#callbacks;
    this.#finish(error);
    this.#manager.handleUserCallback(onError, error);
  }

  /** Goes back to the pool before the user's function runs: that may send the next record. */
  #finish(outcome: RecordMetadata | KafkaError): void {
    const settle = this.#settle;
    this.#callbacks = {};
    this.#settle = noop;
    this.#manager.returnCallback(this);
    settle(outcome);
  }
}

function noop(): void {}
