import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { VirtualClock } from "@millrace/base";
import { CircuitOpenError } from "../errors.ts";
import { CircuitBreaker } from "./circuit-breaker.ts";

let clock: VirtualClock;
let breaker: CircuitBreaker;

beforeEach(() => {
  clock = new VirtualClock();
  breaker = new CircuitBreaker({ failureThreshold: 3, recoveryTimeoutMs: 1000, clock });
});

async function fail(times: number): Promise<void> {
  for (let time = 0; time < times; time++) {
    await assert.rejects(
      breaker.call(() => Promise.reject(new Error("down"))),
      /down/,
    );
  }
}

test("it opens after as many failures in a row as its threshold says", async () => {
  await fail(2);
  assert.equal(breaker.state, "closed");
  await fail(1);
  assert.equal(breaker.state, "open");
});

test("a success in between starts the count anew", async () => {
  await fail(2);
  await breaker.call(() => "fine");
  await fail(2);

  assert.equal(breaker.state, "closed");
});

test("while open nothing is called, and the error says when to come back", async () => {
  await fail(3);
  await clock.advance(400);

  const error = await breaker.call(() => assert.fail("called")).catch((reason: unknown) => reason);

  assert.ok(error instanceof CircuitOpenError);
  assert.equal(error.retryAfterMs, 600);
  assert.equal(error.retriable, true);
});

test("half open, one call is let through and closes it if it succeeds", async () => {
  await fail(3);
  await clock.advance(1000);
  assert.equal(breaker.state, "half-open");

  let finish: (value: string) => void = () => {};
  const probe = breaker.call(() => new Promise<string>((resolve) => (finish = resolve)));
  await assert.rejects(
    breaker.call(() => "second"),
    CircuitOpenError,
  );
  finish("fine");

  assert.equal(await probe, "fine");
  assert.equal(breaker.state, "closed");
});

test("half open, a failure opens it for the whole time again", async () => {
  await fail(3);
  await clock.advance(1000);

  await fail(1);

  assert.equal(breaker.state, "open");
  await clock.advance(999);
  assert.equal(breaker.state, "open");
});

test("calls that were under way when it opened do not keep it open longer", async () => {
  const late = breaker.call(async () => {
    await fail(3);
    await clock.advance(900);
    throw new Error("late");
  });
  await assert.rejects(late, /late/);

  await clock.advance(100);

  assert.equal(breaker.state, "half-open");
});
