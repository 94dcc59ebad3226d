import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { sleep, systemClock, VirtualClock } from "./clock.ts";
import { SeededRandom } from "./random.ts";

describe("SystemClock", () => {
  test("calls back no sooner than asked, and never after a cancel", async () => {
    const startMs = systemClock.nowMs();
    let wasCancelledCalled = false;
    systemClock
      .schedule(1, () => {
        wasCancelledCalled = true;
      })
      .cancel();

    await new Promise<void>((resolve) => systemClock.schedule(10, resolve));

    assert.ok(systemClock.nowMs() - startMs >= 10);
    assert.equal(wasCancelledCalled, false);
  });

  test("never calls back early, neither by a fraction nor by what the turn has taken already", async () => {
    for (const delayMs of [0.7, 1.9, 3.3, 10.6]) {
      const turnStartMs = systemClock.nowMs();
      while (systemClock.nowMs() < turnStartMs + 4);
      const startMs = systemClock.nowMs();

      await new Promise<void>((resolve) => systemClock.schedule(delayMs, resolve));

      const tookMs = systemClock.nowMs() - startMs;
      assert.ok(tookMs >= delayMs, `${tookMs} ms instead of ${delayMs}`);
    }
  });

  test("takes delays longer than a timer of Node's can be", async () => {
    let wasCalled = false;
    const timer = systemClock.schedule(2 ** 40, () => {
      wasCalled = true;
    });

    await new Promise<void>((resolve) => systemClock.schedule(5, resolve));

    timer.cancel();
    timer.cancel();
    assert.equal(wasCalled, false);
  });

  test("defers to the end of the turn, behind all microtasks", async () => {
    const order: string[] = [];
    const deferred = new Promise<void>((resolve) =>
      systemClock.defer(() => {
        order.push("deferred");
        resolve();
      }),
    );
    queueMicrotask(() => order.push("microtask"));
    order.push("now");

    await deferred;

    assert.deepEqual(order, ["now", "microtask", "deferred"]);
  });

  test("tells whole milliseconds since the epoch", () => {
    const timestampMs = systemClock.timestampMs();

    assert.ok(Number.isInteger(timestampMs) && timestampMs > Date.UTC(2026, 0, 1));
  });
});

describe("VirtualClock", () => {
  test("stands still until it is advanced, then stands where it was advanced to", async () => {
    const clock = new VirtualClock();

    await clock.advance(1234.5);

    assert.equal(clock.nowMs(), 1234.5);
    assert.equal(clock.timestampMs(), Date.UTC(2026, 0, 1) + 1234);
  });

  test("runs events in the order of their times, and of their scheduling within one time", async () => {
    const clock = new VirtualClock();
    const order: string[] = [];
    clock.schedule(20, () => order.push(`c at ${clock.nowMs()}`));
    clock.schedule(10, () => order.push(`a at ${clock.nowMs()}`));
    clock.schedule(10, () => order.push(`b at ${clock.nowMs()}`));

    await clock.advance(30);

    assert.deepEqual(order, ["a at 10", "b at 10", "c at 20"]);
  });

  test("never calls back a rounding error too soon", async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(1);
    let earlyCount = 0;
    for (let count = 0; count < 200; count++) {
      const dueMs = clock.nowMs() + 500 + random.float();
      await clock.advance(random.float());
      clock.schedule(dueMs - clock.nowMs(), () => {
        if (clock.nowMs() < dueMs) earlyCount += 1;
      });
    }

    await clock.advance(1000);

    assert.equal(earlyCount, 0);
  });

  test("keeps any number of events in order", async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(3);
    const seenMs: number[] = [];
    const delaysMs = Array.from({ length: 500 }, () => random.integer(100));
    for (const delayMs of delaysMs) clock.schedule(delayMs, () => seenMs.push(delayMs));

    await clock.advance(100);

    assert.deepEqual(
      seenMs,
      delaysMs.toSorted((a, b) => a - b),
    );
  });

  test("leaves what comes later for later", async () => {
    const clock = new VirtualClock();
    let callCount = 0;
    clock.schedule(10, () => {
      callCount += 1;
    });

    await clock.advance(9);
    assert.equal(callCount, 0);
    assert.equal(clock.pendingCount, 1);

    await clock.advance(1);
    assert.equal(callCount, 1);
    assert.equal(clock.pendingCount, 0);
  });

  test("does not run what was cancelled, nor count it", async () => {
    const clock = new VirtualClock();
    const timer = clock.schedule(10, () => assert.fail("was cancelled"));

    timer.cancel();
    timer.cancel();
    assert.equal(clock.pendingCount, 0);
    await clock.advance(20);
  });

  test("lets everything that awaits go on before the next event", async () => {
    const clock = new VirtualClock();
    const order: string[] = [];
    clock.schedule(1, () => {
      void (async () => {
        for (let step = 0; step < 5; step++) await Promise.resolve();
        order.push("after five awaits");
      })();
    });
    clock.schedule(2, () => order.push("next event"));

    await clock.advance(2);

    assert.deepEqual(order, ["after five awaits", "next event"]);
  });

  test("runs what events schedule while it advances", async () => {
    const clock = new VirtualClock();
    let tickCount = 0;
    const tick = () => {
      tickCount += 1;
      clock.schedule(10, tick);
    };
    clock.schedule(10, tick);

    await clock.advance(100);

    assert.equal(tickCount, 10);
  });

  test("runs until a promise settles, and no further", async () => {
    const clock = new VirtualClock();

    const value = await clock.runUntil(
      sleep(clock, 500).then(() => "done"),
      1000,
    );

    assert.equal(value, "done");
    assert.equal(clock.nowMs(), 500);
  });

  test("passes on what a promise rejects with", async () => {
    const clock = new VirtualClock();

    const failing = sleep(clock, 5).then(() => {
      throw new Error("as expected");
    });

    await assert.rejects(clock.runUntil(failing, 1000), /as expected/);
  });

  test("says so when a promise would never settle", async () => {
    const clock = new VirtualClock();

    await assert.rejects(clock.runUntil(new Promise(() => {}), 1000), /nothing settled the promise within 1000 ms/);
    await assert.rejects(clock.runUntil(sleep(clock, 2000), 1000), /nothing settled/);
  });
});

describe("sleep", () => {
  test("ends with the signal's reason as soon as it aborts, and leaves no timer", async () => {
    const clock = new VirtualClock();
    const controller = new AbortController();
    const sleeping = sleep(clock, 1000, controller.signal);

    controller.abort(new Error("woken"));

    await assert.rejects(sleeping, /woken/);
    assert.equal(clock.pendingCount, 0);
  });

  test("does not begin under a signal that has aborted", async () => {
    const clock = new VirtualClock();

    await assert.rejects(sleep(clock, 1000, AbortSignal.abort(new Error("too late"))), /too late/);
    assert.equal(clock.pendingCount, 0);
  });
});
