import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePosition } from "./start-position.ts";

const NOW_MS = Date.UTC(2026, 0, 31, 10);

test("a position is earliest, latest, an offset, a count from the end, a time or an age", () => {
  assert.deepEqual(parsePosition("earliest", NOW_MS), { kind: "earliest" });
  assert.deepEqual(parsePosition("12", NOW_MS), { kind: "offset", offset: 12n });
  assert.deepEqual(parsePosition("-100", NOW_MS), { kind: "tail", recordCount: 100n });
  assert.deepEqual(parsePosition("@1517966773840", NOW_MS), { kind: "time", timestampMs: 1517966773840 });
  assert.deepEqual(parsePosition("2026-01-31T10:00:00Z", NOW_MS), { kind: "time", timestampMs: NOW_MS });
  assert.deepEqual(parsePosition("90m", NOW_MS), { kind: "time", timestampMs: NOW_MS - 90 * 60_000 });
});

test("what is none of these is refused, even where Date.parse would take it", () => {
  for (const text of ["", "first", "12 apples", "1.5", "10w", "2026-13-45", "@"]) {
    assert.equal(parsePosition(text, NOW_MS), null, text);
  }
});
