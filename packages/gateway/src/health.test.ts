import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "@millrace/base";
import { Health } from "./health.ts";

test("while brokers are silent, readiness goes as soon as there is no room, not when they have been waited for", async () => {
  const producers = { bufferFill: 0 };
  const health = new Health({
    admin: { describeCluster: () => new Promise(() => {}) },
    producers,
    intake: { fill: 0 },
    clock: systemClock,
  });

  const isReady = health.isReady();
  producers.bufferFill = 0.95;
  const report = await health.report();

  assert.equal(await isReady, false);
  assert.equal(report.components.producer.status, "degraded");
  assert.equal(report.components.cluster.message, "not asked yet");
});
