/** RequestResult: where the records of an async request landed, short enough to be kept for thousands of requests. */

import type { BatchReceipt } from "@millrace/client/internal";
import { failedEntry } from "../produce-response.ts";
import { offsetAt, RecordOutcomes, timestampAt } from "../record-outcomes.ts";
import type { ScannedRecords } from "../scanned-records.ts";

/** Records that follow each other in the request and in the log, and have one timestamp; mostly a whole batch. */
type StoredRun = readonly [slot: number, count: number, partition: number, offset: string, timestampMs: number];

export interface RequestResult {
  readonly runs: readonly StoredRun[];
  /** Entries of records that failed, as the answer has them. */
  readonly failures: readonly (readonly [slot: number, entryJson: string])[];
  /** JSON source of what records want carried back. */
  readonly ids?: readonly (readonly [slot: number, idJson: string])[];
  /** Of key and value, a pair a record; where details were asked for. */
  readonly sizes?: readonly (readonly [keySizeBytes: number, valueSizeBytes: number])[];
}

export function resultOf(outcomes: RecordOutcomes, records: ScannedRecords, isDetailed: boolean): RequestResult {
  const ids: [slot: number, idJson: string][] = [];
  const failures: [slot: number, entryJson: string][] = [];
  for (let slot = 0; slot < records.length; slot++) {
    const id = records.idOf(slot);
    if (id !== null) ids.push([slot, id]);
    const failure = outcomes.failure(slot);
    if (failure !== null) failures.push([slot, failedEntry(failure, records, slot)]);
  }
  return {
    runs: runsOf(outcomes),
    failures,
    ...(ids.length === 0 ? {} : { ids }),
    ...(isDetailed ? { sizes: Array.from({ length: records.length }, (_, slot) => records.sizesOf(slot)) } : {}),
  };
}

export function runsOf(outcomes: RecordOutcomes): StoredRun[] {
  const runs: StoredRun[] = [];
  let start = 0;
  while (start < outcomes.recordCount) {
    const receipt = outcomes.receipt(start);
    if (receipt === null) {
      start += 1;
      continue;
    }
    const place = outcomes.place(start);
    const timestampMs = timestampAt(receipt, place);
    let end = start + 1;
    while (
      end < outcomes.recordCount &&
      outcomes.receipt(end) === receipt &&
      outcomes.place(end) === place + end - start &&
      timestampAt(receipt, place + end - start) === timestampMs
    ) {
      end += 1;
    }
    runs.push([start, end - start, receipt.partition, offsetAt(receipt, place).toString(), timestampMs]);
    start = end;
  }
  return runs;
}

/** Outcomes in which what was stored has its fate, and all else is pending. */
export function restoreOutcomes(topic: string, recordCount: number, runs: readonly StoredRun[]): RecordOutcomes {
  const outcomes = new RecordOutcomes(recordCount);
  for (const [slot, count, partition, offset, timestampMs] of runs) {
    const baseOffset = BigInt(offset);
    const receipt: BatchReceipt = { topic, partition, baseOffset, logAppendTimeMs: timestampMs, timestampsMs: [] };
    for (let place = 0; place < count; place++) outcomes.succeed(receipt, place, slot + place);
  }
  return outcomes;
}

/** The JSON array that the answer to a synchronous request would have had as its `offsets`. */
export function offsetsJson(result: RequestResult, recordCount: number): string {
  const ids = new Map(result.ids);
  const entries = new Array<string>(recordCount).fill("null");
  for (const [slot, entryJson] of result.failures) entries[slot] = entryJson;
  for (const [slot, count, partition, offset, timestampMs] of result.runs) {
    const baseOffset = BigInt(offset);
    const timestamp = timestampMs < 0 ? "" : `,"timestamp":${timestampMs}`;
    for (let at = 0; at < count; at++) {
      const landed = baseOffset < 0n ? -1n : baseOffset + BigInt(at);
      entries[slot + at] = `{"partition":${partition},"offset":${landed}${timestamp}${extras(result, ids, slot + at)}}`;
    }
  }
  return `[${entries.join(",")}]`;
}

function extras(result: RequestResult, ids: ReadonlyMap<number, string>, slot: number): string {
  const id = ids.get(slot);
  const sizes = result.sizes?.[slot];
  const detail =
    sizes === undefined ? "" : `,"index":${slot},"serializedKeySize":${sizes[0]},"serializedValueSize":${sizes[1]}`;
  return `${id === undefined ? "" : `,"id":${id}`}${detail}`;
}
