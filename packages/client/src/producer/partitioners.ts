/** Partitioners: which partition a record goes to when its sender did not say. */

import { crc32 } from "node:zlib";
import type { Clock, Random } from "@millrace/base";
import { murmur2 } from "@millrace/protocol";

/** What a partitioner sees of a topic. */
export interface PartitionedTopic {
  readonly name: string;
  readonly partitionCount: number;
  /** Partitions that have a leader now; all of them if none has. */
  availablePartitions(): readonly number[];
}

/**
 * Chooses a partition. A number outside the topic's partitions fails the record with INVALID_PARTITIONS.
 *
 * key and value are the serialized bytes.
 */
export type PartitionerFunction = (
  topic: string,
  key: Uint8Array | null,
  value: Uint8Array | null,
  partitionCount: number,
  availablePartitions: readonly number[],
) => number;

/** A partitioner with state of its own. */
export interface Partitioner {
  partition: PartitionerFunction;
}

export const partitionerTypes = [
  "default",
  "key_hash",
  "round_robin",
  "sticky",
  "consistent",
  "consistent_random",
  "murmur2",
  "murmur2_random",
] as const;
export type PartitionerType = (typeof partitionerTypes)[number];

/** The names that have two words, in JavaScript's spelling. */
export type PartitionerAlias = "keyHash" | "roundRobin" | "consistentRandom" | "murmur2Random";

export const partitionerAliases: ReadonlyMap<unknown, PartitionerType> = new Map<PartitionerAlias, PartitionerType>([
  ["keyHash", "key_hash"],
  ["roundRobin", "round_robin"],
  ["consistentRandom", "consistent_random"],
  ["murmur2Random", "murmur2_random"],
]);

/** The answer of a partitioner that leaves the choice to the sticky one: records gather in one partition's batch. */
export const STICKY = -1;

/** A partitioner as the batch manager calls it. Throws TypeError for a record that it cannot place. */
export interface BoundPartitioner {
  /** It answers STICKY for each record without a key, so that several need not be asked about one by one. */
  readonly isSticky?: boolean;
  /** key: the first keySizeBytes bytes of memory that is used again for the next record, or null. */
  partition(
    topic: PartitionedTopic,
    key: Uint8Array | null,
    keySizeBytes: number,
    value: Uint8Array | string | null,
  ): number;
}

export function bindPartitioner(
  given: PartitionerType | PartitionerFunction | Partitioner,
  random: Random,
): BoundPartitioner {
  if (typeof given === "function") return customPartitioner(given);
  if (typeof given === "object") return customPartitioner((...args) => given.partition(...args));
  switch (given) {
    case "default":
      return {
        isSticky: true,
        partition: (topic, key, keySizeBytes) =>
          key === null ? STICKY : murmur2Partition(key, topic.partitionCount, keySizeBytes),
      };
    case "key_hash":
      return {
        partition: (topic, key, keySizeBytes) =>
          murmur2Partition(required(key, topic.name), topic.partitionCount, keySizeBytes),
      };
    case "sticky":
      return { isSticky: true, partition: () => STICKY };
    case "round_robin":
      return roundRobinPartitioner();
    case "consistent":
      return {
        partition: (topic, key, keySizeBytes) => crc32Partition(key ?? EMPTY, topic.partitionCount, keySizeBytes),
      };
    case "consistent_random":
      // librdkafka's default: a key without bytes counts as no key.
      return {
        partition: (topic, key, keySizeBytes) =>
          key === null || keySizeBytes === 0
            ? anyAvailable(topic, random)
            : crc32Partition(key, topic.partitionCount, keySizeBytes),
      };
    case "murmur2":
      return {
        partition: (topic, key, keySizeBytes) => murmur2Partition(key ?? EMPTY, topic.partitionCount, keySizeBytes),
      };
    case "murmur2_random":
      return {
        partition: (topic, key, keySizeBytes) =>
          key === null ? anyAvailable(topic, random) : murmur2Partition(key, topic.partitionCount, keySizeBytes),
      };
  }
}

const EMPTY = new Uint8Array(0);

/** As Java's BuiltInPartitioner: the sign bit is cleared, not the absolute value taken. */
export function murmur2Partition(key: Uint8Array, partitionCount: number, keySizeBytes = key.length): number {
  return (murmur2(key, keySizeBytes) & 0x7fffffff) % partitionCount;
}

/** As librdkafka's "consistent": CRC-32, unsigned. */
export function crc32Partition(key: Uint8Array, partitionCount: number, keySizeBytes = key.length): number {
  return crc32(key.subarray(0, keySizeBytes)) % partitionCount;
}

function required(key: Uint8Array | null, topic: string): Uint8Array {
  if (key !== null) return key;
  throw new TypeError(`the key_hash partitioner needs a key; a record for ${topic} has none`);
}

function anyAvailable(topic: PartitionedTopic, random: Random): number {
  const available = topic.availablePartitions();
  return available[random.integer(available.length)] ?? 0;
}

function roundRobinPartitioner(): BoundPartitioner {
  const nextByTopic = new Map<string, number>();
  return {
    partition(topic) {
      const available = topic.availablePartitions();
      const next = nextByTopic.get(topic.name) ?? 0;
      nextByTopic.set(topic.name, (next + 1) % available.length);
      return available[next % available.length] ?? 0;
    },
  };
}

function customPartitioner(choose: PartitionerFunction): BoundPartitioner {
  return {
    partition(topic, key, keySizeBytes, value) {
      const valueBytes = typeof value === "string" ? Buffer.from(value) : value;
      const ownKey = key === null ? null : Uint8Array.prototype.slice.call(key, 0, keySizeBytes);
      const chosen = choose(topic.name, ownKey, valueBytes, topic.partitionCount, topic.availablePartitions());
      if (Number.isInteger(chosen) && chosen >= 0 && chosen < topic.partitionCount) return chosen;
      throw new TypeError(
        `the partitioner chose ${chosen} for ${topic.name}, which has ${topic.partitionCount} partitions`,
      );
    },
  };
}

/** What the sticky choice sees of a partition. */
export interface StickyCandidate {
  readonly hasLeader: boolean;
  readonly leaderId: number;
  /** Batches that wait to be sent. */
  readonly queuedBatchCount: number;
  /** When the oldest record came that waits to be sent; infinity if there is none. */
  readonly waitingSinceMs: number;
}

/** Which brokers are too slow to be given more: Kafka's partitioner.availability.timeout.ms. */
export interface AvailabilityRule {
  readonly clock: Clock;
  /** A broker for which a record has waited longer is left out. */
  readonly timeoutMs: number;
}

/**
 * The partition that a topic's keyless records stick to (KIP-794, "uniform sticky").
 *
 * It is left after batchSize bytes: as soon as its batch is full, so that no fragment stays behind, and after twice that
 * in any case. The next one is drawn at random, with partitions that have fewer batches waiting drawn more often, and
 * those of brokers that the availability rule leaves out not at all, as long as there are others.
 */
export class StickyPartition {
  readonly #batchSizeBytes: number;
  readonly #random: Random;
  readonly #availability: AvailabilityRule | null;
  #partition = -1;
  #producedBytes = 0;

  constructor(batchSizeBytes: number, random: Random, availability: AvailabilityRule | null = null) {
    this.#batchSizeBytes = batchSizeBytes;
    this.#random = random;
    this.#availability = availability;
  }

  current(candidates: readonly StickyCandidate[]): number {
    if (this.#partition < 0 || this.#partition >= candidates.length) this.#partition = this.#draw(candidates);
    return this.#partition;
  }

  /** What the partition may be given before it is left in any case. */
  get roomBytes(): number {
    return 2 * this.#batchSizeBytes - this.#producedBytes;
  }

  /** True when the partition should be left rather than given a new batch. */
  get isDone(): boolean {
    return this.#producedBytes >= this.#batchSizeBytes;
  }

  leave(): void {
    this.#partition = -1;
    this.#producedBytes = 0;
  }

  /** Counts what a record added to the partition. */
  produced(sizeBytes: number): void {
    this.#producedBytes += sizeBytes;
    if (this.roomBytes <= 0) this.leave();
  }

  #draw(candidates: readonly StickyCandidate[]): number {
    const usable = this.#usable(candidates);
    let longest = 0;
    for (const candidate of usable) longest = Math.max(longest, candidate.queuedBatchCount);
    let total = 0;
    for (const candidate of usable) total += longest + 1 - candidate.queuedBatchCount;
    let rest = this.#random.integer(total);
    for (const candidate of usable) {
      rest -= longest + 1 - candidate.queuedBatchCount;
      if (rest < 0) return candidates.indexOf(candidate);
    }
    return 0;
  }

  /** Never empty: a partition that is slow, or has no leader now, is better than none. */
  #usable(candidates: readonly StickyCandidate[]): readonly StickyCandidate[] {
    const led = candidates.filter((candidate) => candidate.hasLeader);
    if (led.length === 0) return candidates;
    if (this.#availability === null) return led;
    const { clock, timeoutMs } = this.#availability;
    const sinceMs = clock.nowMs() - timeoutMs;
    const slowLeaders = new Set(
      led.filter((candidate) => candidate.waitingSinceMs < sinceMs).map(({ leaderId }) => leaderId),
    );
    const quick = led.filter(({ leaderId }) => !slowLeaders.has(leaderId));
    return quick.length === 0 ? led : quick;
  }
}
