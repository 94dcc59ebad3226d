/** The records of a topic, over its partitions: first what is there, in the order of time, then what comes. */

import { Admin, type ConsumedRecord, KafkaError, Reader } from "@millrace/client";
import { type ConnectionOptions, clientConfig } from "../options/connection.ts";
import type { StartPosition } from "../options/start-position.ts";

/** Bytes fetched and not yet handed on, over all partitions: a chunk in hand and one on its way for each. */
const BUFFER_BYTES = 16 * 1024 * 1024;
const MIN_FETCH_BYTES = 64 * 1024;
const MAX_FETCH_BYTES = 1024 * 1024;
/** Records handed on together, so that a slow reader is noticed soon. */
const YIELD_COUNT = 500;

/** What of a partition is to be read: from start up to and without end. */
export interface PartitionRange {
  readonly partition: number;
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * Asks the cluster for a topic's partitions and where reading begins and ends in each.
 *
 * partition: only this one, or null for all. Rejects with KafkaError (UNKNOWN_TOPIC_OR_PARTITION).
 */
export async function findRanges(
  connection: ConnectionOptions,
  topic: string,
  partition: number | null,
  from: StartPosition,
): Promise<PartitionRange[]> {
  const admin = new Admin(clientConfig(connection));
  try {
    const { partitions } = await admin.describeTopic(topic);
    if (partition !== null && partition >= partitions.length) {
      throw new KafkaError(
        "UNKNOWN_TOPIC_OR_PARTITION",
        `${topic} has the partitions 0 to ${partitions.length - 1}; ${partition} is none of them`,
      );
    }
    const [earliest, latest, timed] = await Promise.all([
      admin.listOffsets(topic, "earliest"),
      admin.listOffsets(topic, "latest"),
      from.kind === "time" ? admin.listOffsets(topic, from.timestampMs) : null,
    ]);
    return partitions
      .filter((candidate) => partition === null || candidate.partition === partition)
      .map((candidate) => {
        const first = earliest.get(candidate.partition)?.offset ?? 0n;
        const end = latest.get(candidate.partition)?.offset ?? first;
        const start = startIn(from, first, end, timed?.get(candidate.partition)?.offset);
        return { partition: candidate.partition, start, end };
      });
  } finally {
    await admin.close();
  }
}

/** timed: the first offset at the wanted time or later; missing or -1n where there is none. */
function startIn(from: StartPosition, first: bigint, end: bigint, timed: bigint | undefined): bigint {
  switch (from.kind) {
    case "earliest":
      return first;
    case "latest":
      return end;
    case "offset":
      return clamp(from.offset, first, end);
    case "tail":
      return clamp(end - from.recordCount, first, end);
    case "time":
      return timed === undefined || timed < 0n ? end : clamp(timed, first, end);
  }
}

function clamp(offset: bigint, first: bigint, end: bigint): bigint {
  return offset < first ? first : offset > end ? end : offset;
}

/**
 * Reads the ranges to their ends, and with follow goes on behind them for as long as it is asked.
 *
 * Up to the ends, records of different partitions come by their timestamps, which for records of one producer is the
 * order they were written in; within a partition the order is always that of the offsets.
 */
export async function* readRanges(
  connection: ConnectionOptions,
  topic: string,
  ranges: readonly PartitionRange[],
  follow: boolean,
): AsyncGenerator<ConsumedRecord[]> {
  const maxBytes = clampNumber(BUFFER_BYTES / 2 / Math.max(ranges.length, 1), MIN_FETCH_BYTES, MAX_FETCH_BYTES);
  const wanted = follow ? ranges : ranges.filter((range) => range.start < range.end);
  const sources = wanted.map((range) => {
    const { partition, start } = range;
    const reader = new Reader({ ...clientConfig(connection), topic, partition, from: start, maxBytes });
    return new PartitionSource(reader, range);
  });
  try {
    yield* mergeByTime(sources);
    if (follow) yield* followAll(sources);
  } finally {
    await Promise.all(sources.map((source) => source.close()));
  }
}

/** One partition's chunk in hand, and the next one on its way. */
class PartitionSource {
  readonly #reader: Reader;
  readonly #end: bigint;
  #records: readonly ConsumedRecord[] = [];
  #index = 0;
  #next: Promise<ConsumedRecord[]> | null = null;
  #isAtEnd: boolean;
  /** Read in the same chunk as the last record before the end: kept for those who follow. */
  #beyond: readonly ConsumedRecord[] = [];

  constructor(reader: Reader, range: PartitionRange) {
    this.#reader = reader;
    this.#end = range.end;
    this.#isAtEnd = range.start >= range.end;
    if (!this.#isAtEnd) this.#prefetch();
  }

  get head(): ConsumedRecord | undefined {
    return this.#records[this.#index];
  }

  /** Nothing in hand, and more to come before the end. */
  get needsFill(): boolean {
    return this.head === undefined && !this.#isAtEnd;
  }

  take(): void {
    this.#index += 1;
  }

  async fill(): Promise<void> {
    while (this.needsFill) {
      const records = await (this.#next ?? this.#reader.read());
      this.#isAtEnd = (this.#reader.position ?? 0n) >= this.#end;
      if (!this.#isAtEnd) this.#prefetch();
      const beyondFrom = records.findIndex((record) => record.offset >= this.#end);
      this.#records = beyondFrom === -1 ? records : records.slice(0, beyondFrom);
      this.#beyond = beyondFrom === -1 ? [] : records.slice(beyondFrom);
      this.#index = 0;
    }
  }

  /** What comes behind the end; waits for it, and gives none if none came in the reader's maxWaitMs. */
  async readOn(): Promise<readonly ConsumedRecord[]> {
    if (this.#beyond.length === 0) return this.#reader.read();
    const records = this.#beyond;
    this.#beyond = [];
    return records;
  }

  close(): Promise<void> {
    return Promise.resolve(this.#reader.close());
  }

  #prefetch(): void {
    this.#next = this.#reader.read();
    // Looked at in `fill`; if that is never called again, the error is nobody's.
    this.#next.catch(() => {});
  }
}

async function* mergeByTime(sources: readonly PartitionSource[]): AsyncGenerator<ConsumedRecord[]> {
  let chunk: ConsumedRecord[] = [];
  for (;;) {
    if (sources.some((source) => source.needsFill)) {
      if (chunk.length > 0) yield chunk;
      chunk = [];
      await Promise.all(sources.map((source) => source.fill()));
    }
    const { earliest, untilMs } = findEarliest(sources);
    if (earliest === null) break;
    for (let head = earliest.head; head !== undefined && head.timestamp <= untilMs; head = earliest.head) {
      chunk.push(head);
      earliest.take();
      if (chunk.length === YIELD_COUNT) {
        yield chunk;
        chunk = [];
      }
    }
  }
  if (chunk.length > 0) yield chunk;
}

/** The partition whose next record is the oldest, and the time up to which it stays that. */
function findEarliest(sources: readonly PartitionSource[]): { earliest: PartitionSource | null; untilMs: number } {
  let earliest: PartitionSource | null = null;
  let earliestMs = Number.POSITIVE_INFINITY;
  let untilMs = Number.POSITIVE_INFINITY;
  for (const source of sources) {
    const timeMs = source.head?.timestamp;
    if (timeMs === undefined) continue;
    if (timeMs < earliestMs) {
      untilMs = earliestMs;
      earliest = source;
      earliestMs = timeMs;
    } else if (timeMs < untilMs) untilMs = timeMs;
  }
  return { earliest, untilMs };
}

/** Each partition waits for its next records by itself, and with the next read until those were taken. */
async function* followAll(sources: readonly PartitionSource[]): AsyncGenerator<ConsumedRecord[]> {
  const ready: { readonly records: readonly ConsumedRecord[]; readonly taken: () => void }[] = [];
  let failure: unknown = null;
  let wake: (() => void) | null = null;
  const pump = async (source: PartitionSource) => {
    for (;;) {
      const records = await source.readOn();
      if (records.length === 0) continue;
      await new Promise<void>((taken) => {
        ready.push({ records, taken });
        wake?.();
      });
    }
  };
  for (const source of sources) {
    pump(source).catch((error: unknown) => {
      failure ??= error;
      wake?.();
    });
  }
  for (;;) {
    const next = ready.shift();
    if (next !== undefined) {
      yield [...next.records];
      next.taken();
    } else if (failure !== null) throw failure;
    else {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
}

function clampNumber(value: number, min: number, max: number): number {
  return Math.floor(Math.min(Math.max(value, min), max));
}
