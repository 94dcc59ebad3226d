/** What must hold after a run, whatever the seed. Each check gives a line for each thing that does not. */

import type { ConsumedRecord } from "@millrace/client";
import type { Ledger, LedgerEntry } from "./ledger.ts";

/** What was read of each partition after the run, by "topic-partition". */
export type Logs = ReadonlyMap<string, readonly ConsumedRecord[]>;

/** What a reader saw while the run was going on. */
export interface Sighting {
  readonly partition: string;
  readonly offset: bigint;
  readonly value: Buffer | null;
}

/** Every acknowledged record is in the log, where and as it was acknowledged. */
export function* missingAcknowledged(ledger: Ledger, logs: Logs): Iterable<string> {
  for (const entry of ledger.entries) {
    const outcome = entry.outcomes[0];
    if (outcome?.kind !== "acknowledged") continue;
    const where = `${entry.topic}-${outcome.partition}`;
    const what = `${nameOf(entry)} was acknowledged at offset ${outcome.offset} of ${where}`;
    const found = logs.get(where)?.[Number(outcome.offset)];
    if (found === undefined) yield `${what}: the log ends before it`;
    else if (!isSame(found.value, entry.value)) yield `${what}: there is ${startOf(found.value)}`;
    else if (!isSame(found.key, entry.key)) yield `${what}: its key is ${startOf(found.key)} there`;
    else if (found.timestamp !== outcome.timestamp)
      yield `${what} with timestamp ${outcome.timestamp}: its timestamp is ${found.timestamp} there`;
  }
}

/** Nothing is in the log that was not sent, or that was refused for good. */
export function* strangers(ledger: Ledger, logs: Logs): Iterable<string> {
  for (const { record, entry } of all(ledger, logs)) {
    const where = placeOf(record);
    if (entry === undefined) {
      yield `${where} holds ${startOf(record.value)}, which nobody sent`;
      continue;
    }
    const outcome = entry.outcomes[0];
    if (outcome?.kind === "refused" && outcome.persisted === "no") {
      yield `${nameOf(entry)} was refused with ${outcome.code}, surely not persisted: it is at ${where}`;
    }
    if (!isSame(record.value, entry.value)) yield `${nameOf(entry)} has another value at ${where}`;
  }
}

/** Each record is in the log at most once. */
export function* duplicates(ledger: Ledger, logs: Logs): Iterable<string> {
  const places = new Map<LedgerEntry, string>();
  for (const { record, entry } of all(ledger, logs)) {
    if (entry === undefined) continue;
    const before = places.get(entry);
    if (before !== undefined) yield `${nameOf(entry)} is at ${before} and again at ${placeOf(record)}`;
    places.set(entry, placeOf(record));
  }
}

/** In each partition the records of one producer stand in the order in which they were sent. */
export function* misplaced(ledger: Ledger, logs: Logs): Iterable<string> {
  for (const records of logs.values()) {
    const last = new Map<string, LedgerEntry>();
    for (const record of records) {
      const entry = ledger.entryOf(record.value);
      if (entry === undefined) continue;
      const before = last.get(entry.producer);
      if (before !== undefined && before.index > entry.index)
        yield `${nameOf(entry)} stands behind ${nameOf(before)} at ${placeOf(record)}`;
      last.set(entry.producer, entry);
    }
  }
}

/** Every promise was settled, once, and in time. */
export function* unsettled(ledger: Ledger): Iterable<string> {
  for (const entry of ledger.entries) {
    const { outcomes, settledAtMs, deadlineMs } = entry;
    if (outcomes.length === 0) yield `${nameOf(entry)} was never settled`;
    if (outcomes.length > 1)
      yield `${nameOf(entry)} was settled ${outcomes.length} times: ${outcomes.map(({ kind }) => kind).join(", ")}`;
    if (settledAtMs !== null && settledAtMs > deadlineMs)
      yield `${nameOf(entry)}, sent at ${entry.sentAtMs.toFixed(0)} ms, was settled at ${settledAtMs.toFixed(0)} ms; its deadline was ${deadlineMs.toFixed(0)} ms`;
  }
}

/** Offsets are dense. */
export function* holes(logs: Logs): Iterable<string> {
  for (const [name, records] of logs) {
    for (const [index, { offset }] of records.entries()) {
      if (offset !== BigInt(index)) {
        yield `${name}: offset ${offset} stands where ${index} should be`;
        break;
      }
    }
  }
}

/** What a reader has seen once is in the log for ever. */
export function* vanished(sightings: Iterable<Sighting>, logs: Logs): Iterable<string> {
  for (const { partition, offset, value } of sightings) {
    const found = logs.get(partition)?.[Number(offset)];
    if (found === undefined) yield `a reader saw ${startOf(value)} at ${partition}:${offset}: the log ends before it`;
    else if (!isSame(found.value, value))
      yield `a reader saw ${startOf(value)} at ${partition}:${offset}: there is ${startOf(found.value)}`;
  }
}

/** A log that is read a second time, after another crash, is the same. */
export function* changed(before: Logs, after: Logs): Iterable<string> {
  for (const [name, records] of before) {
    const again = after.get(name) ?? [];
    if (again.length !== records.length) yield `${name} held ${records.length} records, and now holds ${again.length}`;
    const index = records.findIndex(
      (record, at) => at < again.length && !isSame(record.value, again[at]?.value ?? null),
    );
    if (index >= 0) yield `${name}:${index} has become another record`;
  }
}

function* all(ledger: Ledger, logs: Logs) {
  for (const records of logs.values()) {
    for (const record of records) yield { record, entry: ledger.entryOf(record.value) };
  }
}

function isSame(a: Buffer | null, b: Buffer | null): boolean {
  return a === null || b === null ? a === b : a.equals(b);
}

function nameOf({ producer, index }: LedgerEntry): string {
  return `record ${index} of ${producer}`;
}

function placeOf({ topic, partition, offset }: ConsumedRecord): string {
  return `${topic}-${partition}:${offset}`;
}

function startOf(value: Buffer | null): string {
  return value === null ? "null" : JSON.stringify(value.toString("latin1", 0, 30));
}
