import assert from "node:assert/strict";
import { test } from "node:test";
import { Histogram } from "./histogram.ts";

test("small values are counted exactly", () => {
  const histogram = new Histogram();

  for (let value = 1; value <= 100; value++) histogram.record(value);

  assert.equal(histogram.percentile(50), 50);
  assert.equal(histogram.percentile(99), 99);
  assert.equal(histogram.percentile(100), 100);
  assert.equal(histogram.mean, 50.5);
  assert.deepEqual([histogram.min, histogram.max, histogram.count], [1, 100, 100]);
});

test("a percentile of large values is less than 2 % above the true one, and never below", () => {
  const histogram = new Histogram();
  const values = Array.from({ length: 5000 }, (_, index) => Math.floor(1.003 ** index));

  for (const value of values) histogram.record(value);

  for (const percent of [1, 10, 50, 90, 99, 99.9, 100]) {
    const exact = values[Math.ceil((percent / 100) * values.length) - 1] ?? 0;
    const found = histogram.percentile(percent);
    assert.ok(found >= exact && found <= exact * 1.02 + 1, `p${percent}: ${found}, exactly ${exact}`);
  }
});

test("each value is counted between its bounds once", () => {
  const histogram = new Histogram();
  for (const value of [0, 1, 127, 128, 255, 256, 1000, 100_000, 2 ** 40]) histogram.record(value);

  const bounds = [0, 128, 256, 65_536];
  const counts = bounds.map((from, index) =>
    histogram.countBetween(from, bounds[index + 1] ?? Number.POSITIVE_INFINITY),
  );

  assert.deepEqual(counts, [3, 2, 2, 2]);
});

test("an empty histogram answers 0", () => {
  const histogram = new Histogram();

  assert.deepEqual([histogram.percentile(99), histogram.mean, histogram.min, histogram.max], [0, 0, 0, 0]);
});
