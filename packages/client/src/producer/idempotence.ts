/** Idempotence: which producer id, epoch and sequence a partition's batches carry, and what an unclear outcome means for them (KIP-98, KIP-360). */

import { assert } from "@millrace/base";
import type { ProducerStamp } from "@millrace/protocol";

export interface ProducerIdentity {
  readonly producerId: bigint;
  readonly producerEpoch: number;
}

const SEQUENCE_LIMIT = 2 ** 31;
const EPOCH_LIMIT = 32767;

/**
 * The sequence of one partition.
 *
 * The broker keeps epoch and sequence per producer id and partition, so an epoch can be raised for one partition alone:
 * what went wrong in it troubles no other.
 *
 *     steady ──── a batch failed for good, or its outcome is unknown ────► unresolved
 *        ▲                                                                     │ nothing of the partition in flight
 *        ├──── what comes next follows on what was acknowledged ◄──────────────┤
 *        └──── a new epoch, sequences from 0 ◄─────────────────────────────────┘
 */
export class PartitionSequence {
  #identity: ProducerIdentity | null = null;
  #next = 0;
  #lastAcknowledged = -1;
  #state: "steady" | "unresolved" = "steady";
  #mustRaiseEpoch = false;
  #isIdSpent = false;

  get identity(): ProducerIdentity | null {
    return this.#identity;
  }

  get isUnresolved(): boolean {
    return this.#state === "unresolved";
  }

  /** Gives the partition a producer id, and sequences from 0. */
  begin(identity: ProducerIdentity): void {
    this.#identity = identity;
    this.#next = 0;
    this.#lastAcknowledged = -1;
    this.#state = "steady";
    this.#mustRaiseEpoch = false;
    this.#isIdSpent = false;
  }

  /** The stamp of the next batch. It is never taken back: not even a batch that failed gives its sequence to another. */
  take(recordCount: number): ProducerStamp {
    assert(this.#identity !== null, "a sequence was taken before there was a producer id");
    const { producerId, producerEpoch } = this.#identity;
    const baseSequence = this.#next;
    this.#next = addSequence(baseSequence, recordCount);
    return { producerId, producerEpoch, baseSequence };
  }

  acknowledge(stamp: ProducerStamp, recordCount: number): void {
    if (!this.owns(stamp)) return;
    this.#lastAcknowledged = addSequence(stamp.baseSequence, recordCount - 1);
  }

  /** True while the stamp is of the epoch that the partition is in. */
  owns(stamp: ProducerStamp): boolean {
    return (
      this.#identity !== null &&
      stamp.producerId === this.#identity.producerId &&
      stamp.producerEpoch === this.#identity.producerEpoch
    );
  }

  /** True if the broker can only be waiting for this batch: everything before it was acknowledged. */
  isNext(stamp: ProducerStamp): boolean {
    return stamp.baseSequence === addSequence(this.#lastAcknowledged, 1);
  }

  /** A stamped batch was given up: until it is clear whether the broker has it, no new batch may follow. */
  giveUp(): void {
    if (this.#identity !== null) this.#state = "unresolved";
  }

  /** The broker lost or refused our sequences: only a new epoch can go on; isIdSpent: only a new producer id. */
  requireNewEpoch(options: { readonly isIdSpent: boolean }): void {
    if (this.#identity === null) return;
    this.#state = "unresolved";
    this.#mustRaiseEpoch = true;
    this.#isIdSpent ||= options.isIdSpent;
  }

  /**
   * Decides how to go on once nothing of the partition is in flight. Only while `isUnresolved`.
   *
   * retry: the stamp of the first batch to be sent again, or null.
   * - "resume": what comes next follows on what was acknowledged.
   * - "ask": send that batch as it is; the broker's answer tells. If it has the batch already it says so, and a new
   *   epoch would have written it a second time.
   * - "raise": take a new epoch and stamp everything anew.
   */
  resolve(
    retry: { readonly stamp: ProducerStamp; readonly isOutcomeUnknown: boolean } | null,
  ): "resume" | "ask" | "raise" {
    const next = retry === null ? this.#next : retry.stamp.baseSequence;
    if (!this.#mustRaiseEpoch && next === addSequence(this.#lastAcknowledged, 1)) {
      this.#state = "steady";
      return "resume";
    }
    if (!this.#mustRaiseEpoch && retry?.isOutcomeUnknown === true && this.owns(retry.stamp)) return "ask";
    return "raise";
  }

  /** The next epoch of the same producer id, or null if there is none: a new id is needed. */
  nextIdentity(): ProducerIdentity | null {
    if (this.#identity === null || this.#isIdSpent || this.#identity.producerEpoch >= EPOCH_LIMIT) return null;
    return { producerId: this.#identity.producerId, producerEpoch: this.#identity.producerEpoch + 1 };
  }
}

/** Sequences count records and wrap from 2³¹−1 to 0. */
export function addSequence(sequence: number, count: number): number {
  return (sequence + count) % SEQUENCE_LIMIT;
}
