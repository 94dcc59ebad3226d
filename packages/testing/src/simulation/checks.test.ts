import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import type { ConsumedRecord } from "@millrace/client";
import {
  changed,
  duplicates,
  holes,
  misplaced,
  missingAcknowledged,
  strangers,
  unsettled,
  vanished,
} from "./checks.ts";
import { Ledger, type LedgerEntry, type Outcome, recordId } from "./ledger.ts";

const TIMESTAMP = 1000;
const DEADLINE_MS = 500;

let ledger: Ledger;

beforeEach(() => {
  ledger = new Ledger();
});

/** Four records of one producer; each but the last is acknowledged at the offset of its own number. */
function sendFour(): LedgerEntry[] {
  const entries = [0, 1, 2, 3].map((index) => {
    const value = Buffer.from(`${recordId("p", index)}value`);
    return ledger.add({ producer: "p", index, topic: "t", key: null, value, sentAtMs: 0, deadlineMs: DEADLINE_MS });
  });
  for (const [index, entry] of entries.entries()) {
    if (index === 3) settle(entry, { kind: "refused", code: "PURGED", persisted: "no" });
    else settle(entry, { kind: "acknowledged", partition: 0, offset: BigInt(index), timestamp: TIMESTAMP });
  }
  return entries;
}

function settle(entry: LedgerEntry | undefined, outcome: Outcome, atMs = 100): void {
  entry?.outcomes.push(outcome);
  if (entry !== undefined) entry.settledAtMs = atMs;
}

function logOf(...indexes: readonly number[]): ReadonlyMap<string, readonly ConsumedRecord[]> {
  const records = indexes.map((index, offset) => ({
    topic: "t",
    partition: 0,
    offset: BigInt(offset),
    timestamp: TIMESTAMP,
    key: null,
    value: ledger.entries[index]?.value ?? Buffer.from("who is this?"),
    headers: [],
  }));
  return new Map([["t-0", records]]);
}

test("a run in which all went well passes every check", () => {
  sendFour();
  const log = logOf(0, 1, 2);

  const found = [
    ...missingAcknowledged(ledger, log),
    ...strangers(ledger, log),
    ...duplicates(ledger, log),
    ...misplaced(ledger, log),
    ...unsettled(ledger),
    ...holes(log),
    ...vanished([{ partition: "t-0", offset: 1n, value: ledger.entries[1]?.value ?? null }], log),
    ...changed(log, log),
  ];

  assert.deepEqual(found, []);
});

test("an acknowledged record that is not in the log, or is another one there, is found", () => {
  sendFour();

  assert.deepEqual(
    [...missingAcknowledged(ledger, logOf(0, 2))],
    [
      'record 1 of p was acknowledged at offset 1 of t-0: there is "p/2;value"',
      "record 2 of p was acknowledged at offset 2 of t-0: the log ends before it",
    ],
  );
});

test("a record that was refused for good, and one that nobody sent, are found in the log", () => {
  sendFour();

  assert.deepEqual(
    [...strangers(ledger, logOf(0, 3, 77))],
    [
      "record 3 of p was refused with PURGED, surely not persisted: it is at t-0:1",
      't-0:2 holds "who is this?", which nobody sent',
    ],
  );
});

test("a record that is there twice, and one that stands before an earlier one, are found", () => {
  sendFour();

  assert.deepEqual([...duplicates(ledger, logOf(0, 1, 1))], ["record 1 of p is at t-0:1 and again at t-0:2"]);
  assert.deepEqual([...misplaced(ledger, logOf(0, 2, 1))], ["record 1 of p stands behind record 2 of p at t-0:2"]);
});

test("promises that are settled late, twice or never are found", () => {
  const [first, second] = sendFour();
  if (first !== undefined) first.settledAtMs = DEADLINE_MS + 1;
  settle(second, { kind: "refused", code: "CLOSED", persisted: "maybe" });
  ledger.entries[2]?.outcomes.pop();

  assert.deepEqual(
    [...unsettled(ledger)],
    [
      "record 0 of p, sent at 0 ms, was settled at 501 ms; its deadline was 500 ms",
      "record 1 of p was settled 2 times: acknowledged, refused",
      "record 2 of p was never settled",
    ],
  );
});

test("what a reader saw and the log no longer has is found", () => {
  sendFour();
  const sighting = { partition: "t-0", offset: 2n, value: Buffer.from("seen") };

  assert.deepEqual([...vanished([sighting], logOf(0, 1))], ['a reader saw "seen" at t-0:2: the log ends before it']);
  assert.equal([...changed(logOf(0, 1, 2), logOf(0, 1))].length, 1);
});
