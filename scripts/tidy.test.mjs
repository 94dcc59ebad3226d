import assert from "node:assert/strict";
import { test } from "node:test";
import { tidy } from "./tidy.mjs";

test("the tree is tidy", () => {
  assert.deepEqual(tidy(), []);
});
