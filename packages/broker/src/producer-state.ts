/** What a partition knows of the producers that write to it, to tell a retry from a new batch (KIP-98). */

import { type BatchHeader, KafkaError } from "@millrace/protocol";

/** Kafka's window: a producer has at most five requests in flight, so a retry is among the last five batches. */
const BATCH_LIMIT = 5;
/** Producers that a partition remembers. One more, and those that have been silent longest are forgotten. */
const PRODUCER_LIMIT = 20_000;
const SEQUENCE_LIMIT = 2 ** 31 - 1;

export interface ProducerBatch {
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly baseOffset: bigint;
  readonly lastOffset: bigint;
  readonly timestamp: bigint;
}

export interface ProducerEntry {
  readonly producerId: bigint;
  epoch: number;
  /** Oldest first, at most five; never empty. */
  readonly batches: ProducerBatch[];
  /** By the broker's clock. */
  lastAppendMs: number;
}

/**
 * Every step is synchronous and happens with the assignment of offsets, before the bytes are written: between two
 * batches of one producer there is no moment in which a third could slip in.
 */
export class ProducerState {
  readonly #entries = new Map<bigint, ProducerEntry>();

  get size(): number {
    return this.#entries.size;
  }

  entries(): IterableIterator<ProducerEntry> {
    return this.#entries.values();
  }

  /**
   * Returns the batch that this one is a retry of, or null if it is the next one of its producer.
   *
   * A producer id that is not known may begin with any sequence: its state may have been lost to retention.
   * Throws INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER. where: "orders-3", for the message.
   */
  check(header: BatchHeader, where: string): ProducerBatch | null {
    const entry = this.#entries.get(header.producerId);
    if (entry === undefined) return null;
    if (header.producerEpoch < entry.epoch) {
      throw new KafkaError(
        "INVALID_PRODUCER_EPOCH",
        `${where}: producer ${header.producerId} sent epoch ${header.producerEpoch}; its epoch is ${entry.epoch}`,
      );
    }
    const firstSequence = header.baseSequence;
    if (header.producerEpoch > entry.epoch) {
      if (firstSequence !== 0) throw outOfOrder(header, 0, where);
      return null;
    }
    const lastSequence = addToSequence(firstSequence, header.lastOffsetDelta);
    for (const batch of entry.batches) {
      if (batch.firstSequence === firstSequence && batch.lastSequence === lastSequence) return batch;
    }
    const last = entry.batches.at(-1);
    if (last !== undefined) {
      const expectedSequence = addToSequence(last.lastSequence, 1);
      if (firstSequence !== expectedSequence) throw outOfOrder(header, expectedSequence, where);
    }
    return null;
  }

  /** Takes a batch that was read from the log: it was checked when it was written. */
  replay(header: BatchHeader, nowMs: number): void {
    if (header.producerId < 0n || header.baseSequence < 0 || header.isControl) return;
    this.advance(header, header.baseOffset, nowMs);
  }

  /** Takes a batch as its producer's last one. */
  advance(header: BatchHeader, baseOffset: bigint, nowMs: number): void {
    this.add(header.producerId, header.producerEpoch, nowMs, {
      firstSequence: header.baseSequence,
      lastSequence: addToSequence(header.baseSequence, header.lastOffsetDelta),
      baseOffset,
      lastOffset: baseOffset + BigInt(header.lastOffsetDelta),
      timestamp: header.maxTimestamp,
    });
  }

  add(producerId: bigint, epoch: number, nowMs: number, batch: ProducerBatch): void {
    const entry = this.#entries.get(producerId);
    if (entry === undefined) {
      if (this.#entries.size >= PRODUCER_LIMIT) this.#forgetOldest();
      this.#entries.set(producerId, { producerId, epoch, batches: [batch], lastAppendMs: nowMs });
      return;
    }
    if (epoch !== entry.epoch) {
      entry.epoch = epoch;
      entry.batches.length = 0;
    }
    if (entry.batches.length === BATCH_LIMIT) entry.batches.shift();
    entry.batches.push(batch);
    entry.lastAppendMs = nowMs;
  }

  /** Makes room by a tenth, so that not each new producer costs a walk through all. */
  #forgetOldest(): void {
    const byAge = [...this.#entries.values()].sort((a, b) => a.lastAppendMs - b.lastAppendMs);
    for (const { producerId } of byAge.slice(0, PRODUCER_LIMIT / 10)) this.#entries.delete(producerId);
  }

  /** Whether the batch that ends at the offset is the producer's newest. */
  isLastBatch(producerId: bigint, lastOffset: bigint): boolean {
    return this.#entries.get(producerId)?.batches.at(-1)?.lastOffset === lastOffset;
  }

  /** Forgets producers that wrote nothing since the time. */
  expire(beforeMs: number): void {
    for (const entry of this.#entries.values()) {
      if (entry.lastAppendMs < beforeMs) this.#entries.delete(entry.producerId);
    }
  }
}

/** Sequences wrap from 2^31 - 1 to 0. */
function addToSequence(sequence: number, increment: number): number {
  const room = SEQUENCE_LIMIT - sequence;
  return increment > room ? increment - room - 1 : sequence + increment;
}

function outOfOrder(header: BatchHeader, expectedSequence: number, where: string): KafkaError {
  return new KafkaError(
    "OUT_OF_ORDER_SEQUENCE_NUMBER",
    `${where}: expected sequence ${expectedSequence} of producer ${header.producerId} epoch ${header.producerEpoch}, found ${header.baseSequence}`,
  );
}
