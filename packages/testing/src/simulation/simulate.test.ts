import assert from "node:assert/strict";
import { test } from "node:test";
import { simulate } from "./simulate.ts";

/** Few, and short ones: `npm run sim -- --seeds COUNT` runs as many as there is time for. */
const SEEDS = [3, 9, 12, 18, 19, 21];

for (const seed of SEEDS) {
  test(`all holds, whatever goes wrong in the run of seed ${seed}`, async () => {
    const { violations, summary } = await simulate({ seed });

    assert.deepEqual(violations, [], `repeat it: npm run sim -- --seed ${seed}`);
    assert.ok(summary.acknowledged > 0 && summary.inLog >= summary.acknowledged);
  });
}

test("the same seed gives the same run, step by step, and another seed another one", async () => {
  const minutes = 0.1;
  const first = await simulate({ seed: 21, minutes });
  const second = await simulate({ seed: 21, minutes });
  const other = await simulate({ seed: 3, minutes });

  assert.equal(second.traceHash, first.traceHash);
  assert.notEqual(other.traceHash, first.traceHash);
});
