import assert from "node:assert/strict";
import { test } from "node:test";
import { Patience } from "./patience.ts";

test("who takes too long again and again is let run ever more rarely, until it is done in time", () => {
  const patience = new Patience(50);
  let isEndless = true;
  let runCount = 0;
  const work = () => {
    runCount += 1;
    while (isEndless);
    return "done";
  };

  for (let count = 0; count < 1_000; count++) assert.equal(patience.run(work), null);
  assert.ok(runCount <= 12, `${runCount} of 1,000 were let run`);

  isEndless = false;
  while (patience.run(work) === null);
  assert.deepEqual(patience.run(work), { result: "done" });
});

test("honest work is done on after others took too long, though it takes a while", () => {
  const patience = new Patience(250);
  for (let count = 0; count < 20; count++) {
    patience.run(() => {
      for (;;);
    });
  }
  const honest = () => {
    const endMs = performance.now() + 5;
    while (performance.now() < endMs);
    return "done";
  };

  let done = patience.run(honest);
  while (done === null) done = patience.run(honest);

  assert.deepEqual(done, { result: "done" });
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
