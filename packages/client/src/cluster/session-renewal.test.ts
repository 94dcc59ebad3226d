import assert from "node:assert/strict";
import { test } from "node:test";
import { createDeferred, type Deferred, SeededRandom, VirtualClock } from "@millrace/base";
import { SessionRenewal } from "./session-renewal.ts";

const LIFETIME_MS = 100_000;

function renewalOf() {
  const clock = new VirtualClock();
  const exchanges: Deferred<number>[] = [];
  const failures: unknown[] = [];
  const renewal = new SessionRenewal({
    clock,
    random: new SeededRandom(1),
    authenticate: () => {
      const exchange = createDeferred<number>();
      exchanges.push(exchange);
      return exchange.promise;
    },
    onFailed: (error) => failures.push(error),
  });
  return { clock, exchanges, failures, renewal };
}

test("a session is renewed when most of its lifetime has passed, and again after that", async () => {
  const { clock, exchanges, renewal } = renewalOf();
  renewal.scheduleWithin(LIFETIME_MS);

  await clock.advance(0.8 * LIFETIME_MS);
  const early = exchanges.length;
  await clock.advance(0.16 * LIFETIME_MS);
  exchanges[0]?.resolve(LIFETIME_MS);
  await clock.advance(0.96 * LIFETIME_MS);

  assert.equal(early, 0);
  assert.equal(exchanges.length, 2);
});

test("requests that are held go out in order once the exchange is over", async () => {
  const { clock, exchanges, renewal } = renewalOf();
  renewal.scheduleWithin(LIFETIME_MS);
  await clock.advance(LIFETIME_MS);
  const sent: string[] = [];
  const answers = ["a", "b"].map((name) =>
    renewal.hold(async () => {
      sent.push(name);
      return name;
    }),
  );
  const sentMeanwhile = [...sent];

  exchanges[0]?.resolve(0);

  assert.deepEqual(await Promise.all(answers), ["a", "b"]);
  assert.deepEqual(sentMeanwhile, []);
  assert.deepEqual(sent, ["a", "b"]);
  assert.equal(renewal.isRunning, false);
});

test("closing fails what is held, and sends none of it", async () => {
  const { clock, renewal } = renewalOf();
  renewal.scheduleWithin(LIFETIME_MS);
  await clock.advance(LIFETIME_MS);
  const held = renewal.hold(async () => assert.fail("it was sent"));

  renewal.close(new Error("closed"));

  await assert.rejects(held, /closed/);
});
