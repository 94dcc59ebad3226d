import assert from "node:assert/strict";
import { test } from "node:test";
import { progressLine } from "./progress.ts";

test("the bar shows the part done, the rates and the time left", () => {
  const line = progressLine("orders", { recordCount: 50_000, sizeBytes: 5 * 1024 * 1024, fraction: 0.25 }, 5_000);

  assert.equal(line, "orders  [=====>                  ]   25 %  50,000 records  10,000/s  1.0 MiB/s  0:15 left");
});

test("without a known end there are counts and no bar", () => {
  const line = progressLine("orders", { recordCount: 12, sizeBytes: 1200, fraction: null }, 1_000);

  assert.equal(line, "orders  12 records  12/s  1.2 KiB/s");
});
