import assert from "node:assert/strict";
import { test } from "node:test";
import { formatBytes } from "./units.ts";

test("sizes are shown in the largest unit that they fill", () => {
  assert.deepEqual([0, 1023, 1024, 1536, 1_048_588, 3 * 1024 ** 3].map(formatBytes), [
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.5 KiB",
    "1.0 MiB",
    "3.00 GiB",
  ]);
});
