import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededRandom } from "@millrace/base";
import { backoffMs } from "./retry.ts";

const limits = { baseMs: 100, maxMs: 1000 };
const withoutJitter = { float: () => 0, integer: () => 0, bytes: (sizeBytes: number) => Buffer.alloc(sizeBytes) };

test("the wait doubles with each attempt, up to the limit", () => {
  const waits = [0, 1, 2, 3, 4, 5].map((attempt) => backoffMs(attempt, withoutJitter, limits));

  assert.deepEqual(waits, [100, 200, 400, 800, 1000, 1000]);
});

test("jitter adds up to a fifth and never takes away", () => {
  const random = new SeededRandom(1);
  const waits = Array.from({ length: 1000 }, () => backoffMs(1, random, limits));

  assert.ok(Math.min(...waits) >= 200);
  assert.ok(Math.max(...waits) <= 240);
  assert.ok(Math.max(...waits) - Math.min(...waits) > 35);
});

test("after very many attempts the wait is the limit", () => {
  assert.equal(backoffMs(100_000, withoutJitter, limits), 1000);
});
