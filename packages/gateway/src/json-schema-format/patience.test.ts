import assert from "node:assert/strict";
import { test } from "node:test";
import { Patience } from "./patience.ts";

test("who takes too long again and again is let run ever more rarely, until it is done in time", () => {
  const patience = new Patience(1);
  let isEndless = true;
  let runCount = 0;
  const work = () => {
    runCount += 1;
    while (isEndless);
    return "done";
  };

  for (let count = 0; count < 1_000; count++) assert.equal(patience.run(work), null);
  assert.ok(runCount <= 10, `${runCount} of 1,000 were let run`);

  isEndless = false;
  let askCount = 1;
  while (patience.run(work) === null) askCount += 1;
  assert.ok(askCount <= 1_000);
  assert.deepEqual(patience.run(work), { result: "done" });
});

test("what the work throws is thrown", () => {
  const patience = new Patience(1_000);

  assert.throws(
    () =>
      patience.run(() => {
        throw new RangeError("too deep");
      }),
    RangeError,
  );
});
