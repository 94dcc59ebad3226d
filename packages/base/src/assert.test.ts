import nodeAssert from "node:assert/strict";
import { test } from "node:test";
import { AssertionError, assert } from "./assert.ts";
import { createDeferred } from "./deferred.ts";

test("an assertion that does not hold throws its message", () => {
  assert(true, "holds");

  nodeAssert.throws(
    () => assert(1 + 1 === 3, "numbers are broken"),
    (error) => error instanceof AssertionError && error.message === "numbers are broken",
  );
});

test("a deferred settles its promise from outside", async () => {
  const good = createDeferred<number>();
  const bad = createDeferred<number>();

  good.resolve(1);
  bad.reject(new Error("no"));

  nodeAssert.equal(await good.promise, 1);
  await nodeAssert.rejects(bad.promise, /no/);
});
