import assert from "node:assert/strict";
import { test } from "node:test";
import type { BatchReceipt } from "@millrace/client/internal";
import { RecordOutcomes } from "./record-outcomes.ts";
import { storedAnswer } from "./stored-answer.ts";

function receiptOf(partition: number, baseOffset: bigint, timestampsMs: readonly number[]): BatchReceipt {
  return { topic: "orders", partition, baseOffset, logAppendTimeMs: null, timestampsMs };
}

function expected(stored: readonly (readonly [BatchReceipt, number])[]): string {
  const entries = stored.map(([{ partition, baseOffset, timestampsMs }, place]) => {
    const timestamp = timestampsMs[place] ?? -1;
    const offset = baseOffset < 0n ? -1n : baseOffset + BigInt(place);
    return `{"partition":${partition},"offset":${offset}${timestamp < 0 ? "" : `,"timestamp":${timestamp}`}}`;
  });
  return `{"offsets":[${entries.join(",")}]}`;
}

function checkAnswer(stored: readonly (readonly [BatchReceipt, number])[]): void {
  const outcomes = new RecordOutcomes(stored.length);
  for (const [slot, [receipt, place]] of stored.entries()) outcomes.succeed(receipt, place, slot);

  assert.equal(storedAnswer(outcomes).toString(), expected(stored));
}

test("offsets are counted on through every carry, and past what a number can say", () => {
  for (const base of [0n, 5n, 95n, 990n, 9_995n, 99_990n, 2n ** 53n - 5n, 2n ** 62n]) {
    const receipt = receiptOf(3, base, new Array(12_000).fill(1_767_225_600_000));
    checkAnswer(Array.from({ length: 12_000 }, (_, place) => [receipt, place]));
  }
});

test("a record without a known offset or time says so", () => {
  const receipt = receiptOf(0, -1n, []);
  checkAnswer(Array.from({ length: 40 }, (_, place) => [receipt, place]));
});

test("times that change within a batch, and records that lie in several batches, keep their own", () => {
  const receipts = [0, 1, 2].map((partition) =>
    receiptOf(
      partition,
      BigInt(partition * 7_777),
      Array.from({ length: 300 }, (_, place) => Math.floor(place / 7)),
    ),
  );
  const runs = receipts.flatMap((receipt) => Array.from({ length: 40 }, (_, place) => [receipt, place + 50] as const));
  const mixed = Array.from(
    { length: 300 },
    (_, place) => [receipts[place % 3] ?? receiptOf(9, 0n, []), place] as const,
  );
  checkAnswer([...runs, ...mixed]);
});
