import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualClock } from "@millrace/base";
import { Intake } from "./intake.ts";

function open(): Intake {
  return new Intake({ clock: new VirtualClock(), requestLimit: 10, limitBytes: 1_000 });
}

test("what is counted of a request that has ended is not held", () => {
  const intake = open();
  const share = intake.open();
  intake.begin(share);
  intake.close(share);

  intake.resize(share, 500);
  intake.receive(share, 100);
  intake.receivePart(share, 100, () => {});

  assert.deepEqual([intake.sizeBytes, intake.requestCount, intake.fill], [0, 0, 0]);
});

test("a share that shrinks and grows counts as what it is", () => {
  const intake = open();
  const share = intake.open();
  intake.receivePart(share, 700, () => {});

  intake.resize(share, 200);
  const afterShrinking = [intake.sizeBytes, intake.fill];
  intake.receivePart(share, 500, () => {});

  assert.deepEqual(afterShrinking, [200, 200 / 750]);
  assert.equal(intake.sizeBytes, 700);
  assert.throws(() => intake.resize(share, 1_001), { code: "OVERLOADED" });
});

test("uploads fill their part of the room only, and what is whole has the rest", () => {
  const intake = open();
  const upload = intake.open();
  intake.receivePart(upload, 750, () => {});

  assert.throws(() => intake.receivePart(intake.open(), 1, () => {}), { code: "OVERLOADED" });
  intake.receive(intake.open(), 250);

  assert.equal(intake.fill, 1);
});

test("after something was refused there counts as no room for a while, whatever there is", async () => {
  const clock = new VirtualClock();
  const intake = new Intake({ clock, requestLimit: 10, limitBytes: 1_000 });

  assert.throws(() => intake.receive(intake.open(), 1_001), { code: "OVERLOADED" });
  const fillAtOnce = intake.fill;
  await clock.advance(2_000);

  assert.deepEqual([fillAtOnce, intake.fill], [1, 0]);
});
