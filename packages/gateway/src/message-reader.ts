/** Reads messages of a topic: those that are there, in the order of time, or those that come, for as long as it is asked. */

import { type ConsumedRecord, Reader } from "@millrace/client";
import { KafkaError } from "@millrace/protocol";
import { Follower, type FollowerParts } from "./follower.ts";
import { clientConfig, type GatewayOptions } from "./options.ts";
import type { PartitionRange } from "./positions.ts";

/** A read of what is there is not meant to wait for more. */
const READ_WAIT_MS = 100;
/** Of one partition, asked for at once: what it takes to unpack that is how long others wait. */
const READ_FETCH_BYTES = 256 * 1024;
/** Partitions that are read at the same time. */
const READ_CONCURRENCY = 4;
/** How long a fetch for what is to come waits at the broker. */
const FOLLOW_WAIT_MS = 5_000;
/** Bytes asked for at once, of all tails that there may be. */
const FOLLOW_BUFFER_BYTES = 4 * 1024 * 1024;

export interface MessageSlice {
  readonly records: readonly ConsumedRecord[];
  /** Where the next read goes on, by partition. */
  readonly position: ReadonlyMap<number, bigint>;
}

/** Up to limit messages of the ranges: the first of them, or with isTail the last. */
export async function readMessages(
  options: GatewayOptions,
  topic: string,
  ranges: readonly PartitionRange[],
  { limit, isTail }: { readonly limit: number; readonly isTail: boolean },
): Promise<MessageSlice> {
  const slice = { limit, isTail, limitBytes: Math.floor(options.messagesLimitBytes / Math.max(1, ranges.length)) };
  const runs: ConsumedRecord[][] = ranges.map(() => []);
  const waiting = ranges.entries();
  const work = async () => {
    for (const [index, range] of waiting) runs[index] = await readRange(options, topic, range, slice);
  };
  await Promise.all(Array.from({ length: READ_CONCURRENCY }, work));
  const merged = mergeByTime(runs);
  const records = isTail ? merged.slice(-limit) : merged.slice(0, limit);
  const position = new Map(ranges.map(({ partition, start, end }) => [partition, isTail ? end : start]));
  if (!isTail) for (const record of records) position.set(record.partition, record.offset + 1n);
  return { records, position };
}

/** The same ranges, from where the newest messages of all of them together begin, so many at most. */
export async function newestOf(
  options: GatewayOptions,
  topic: string,
  ranges: readonly PartitionRange[],
  recordCount: number,
): Promise<PartitionRange[]> {
  const { records } = await readMessages(options, topic, ranges, { limit: recordCount, isTail: true });
  const firstOf = (partition: number) => records.find((record) => record.partition === partition)?.offset;
  return ranges.map((range) => ({ ...range, start: firstOf(range.partition) ?? range.end }));
}

interface RangeSlice {
  readonly limit: number;
  readonly limitBytes: number;
  /** What does not fit is left out at the beginning, not at the end. */
  readonly isTail: boolean;
}

async function readRange(
  options: GatewayOptions,
  topic: string,
  { partition, start, end }: PartitionRange,
  { limit, limitBytes, isTail }: RangeSlice,
): Promise<ConsumedRecord[]> {
  const records: ConsumedRecord[] = [];
  if (start >= end || limit === 0) return records;
  const reader = openReader(options, {
    topic,
    partition,
    from: start,
    maxWaitMs: READ_WAIT_MS,
    maxBytes: READ_FETCH_BYTES,
  });
  const deadlineMs = options.clock.nowMs() + options.maxBlockMs;
  let sizeBytes = 0;
  try {
    for (;;) {
      const read = await reader.read();
      for (const record of read) {
        if (record.offset >= end) return records;
        sizeBytes += contentBytes(record);
        const isFull = () => records.length >= limit || (records.length > 0 && sizeBytes > limitBytes);
        while (isTail && isFull()) sizeBytes -= contentBytes(records.shift());
        if (isFull()) return records;
        records.push(record);
      }
      if ((reader.position ?? end) >= end) return records;
      // Below its end a log has more: a read that gave none was only slow, unless that goes on.
      if (read.length === 0 && options.clock.nowMs() > deadlineMs) throw tooSlow(topic, partition, options.maxBlockMs);
    }
  } finally {
    await reader.close();
  }
}

function contentBytes(record: ConsumedRecord | undefined): number {
  return (record?.key?.length ?? 0) + (record?.value?.length ?? 0);
}

function tooSlow(topic: string, partition: number, waitedMs: number): KafkaError {
  return new KafkaError("TIMED_OUT", `${topic}-${partition}: the brokers gave no messages within ${waitedMs} ms`);
}

/** Each run keeps its own order, as its partition has it; between runs the earlier time comes first. */
function mergeByTime(runs: readonly (readonly ConsumedRecord[])[]): ConsumedRecord[] {
  const [only] = runs;
  if (runs.length === 1 && only !== undefined) return [...only];
  const next = runs.map(() => 0);
  const merged: ConsumedRecord[] = [];
  for (;;) {
    let earliest: ConsumedRecord | undefined;
    let from = -1;
    for (const [index, run] of runs.entries()) {
      const head = run[next[index] ?? 0];
      if (head === undefined || (earliest !== undefined && head.timestamp >= earliest.timestamp)) continue;
      earliest = head;
      from = index;
    }
    if (earliest === undefined) return merged;
    merged.push(earliest);
    next[from] = (next[from] ?? 0) + 1;
  }
}

/** Reads on for a tail. signal: ends it. */
export function followMessages(
  options: GatewayOptions,
  topic: string,
  ranges: readonly PartitionRange[],
  parts: Omit<FollowerParts, "clock" | "partitions">,
): Follower {
  // A fetch gives at least one batch, however little it asks for.
  const maxBytes = Math.floor(FOLLOW_BUFFER_BYTES / Math.max(1, options.tailLimit));
  const partitions = ranges.map(({ partition, start, end }) => {
    const reader = openReader(options, { topic, partition, from: start, maxWaitMs: FOLLOW_WAIT_MS, maxBytes });
    return { reader, start, end };
  });
  return new Follower({ ...parts, clock: options.clock, partitions });
}

interface ReaderPlace {
  readonly topic: string;
  readonly partition: number;
  readonly from: bigint;
  readonly maxWaitMs: number;
  readonly maxBytes?: number;
}

function openReader(options: GatewayOptions, place: ReaderPlace): Reader {
  return new Reader({ ...clientConfig(options), ...place });
}
