import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { MemoryFileSystem, VirtualClock } from "@millrace/base";
import type { QuotaEntity } from "./client-quota.ts";
import { ClientQuotas } from "./client-quotas.ts";

const WRITE = "producer_byte_rate";
const READ = "consumer_byte_rate";
const ALICE = { user: "alice", clientId: "app" };

let fileSystem: MemoryFileSystem;
let clock: VirtualClock;
let quotas: ClientQuotas;

const open = () => ClientQuotas.open({ fileSystem, path: "/data/quotas.json", clock, burstMs: 1000 });
const set = (entity: QuotaEntity, rate: number | null, name: typeof WRITE | typeof READ = WRITE) =>
  quotas.change({ entity, values: new Map([[name, rate]]) });

beforeEach(async () => {
  fileSystem = new MemoryFileSystem();
  await fileSystem.makeDirectory("/data");
  clock = new VirtualClock();
  quotas = await open();
});

describe("a client with a quota", () => {
  beforeEach(() => set({ user: "alice" }, 1000));

  test("may use at once what comes in the burst time, and then pauses until it is within its rate", async () => {
    assert.equal(quotas.charge(WRITE, ALICE, 1000), 0);
    assert.equal(quotas.charge(WRITE, ALICE, 500), 500);
    await clock.advance(500);
    assert.equal(quotas.charge(WRITE, ALICE, 100), 100);
  });

  test("gets no more than its rate over a long time, however it asks", async () => {
    const startedMs = clock.nowMs();
    for (let count = 0; count < 100; count++) await clock.advance(quotas.charge(WRITE, ALICE, 700));

    const bytesBeyondBurst = 100 * 700 - 1000;
    const seconds = (clock.nowMs() - startedMs) / 1000;
    assert.ok(seconds >= bytesBeyondBurst / 1000 && seconds < bytesBeyondBurst / 1000 + 1, `${seconds}`);
  });

  test("has the burst, not more, after a long pause", async () => {
    quotas.charge(WRITE, ALICE, 1000);
    await clock.advance(3_600_000);

    assert.equal(quotas.charge(WRITE, ALICE, 1200), 200);
  });

  test("is not held up in what the quota is not about, nor is anybody else", () => {
    assert.equal(quotas.charge(READ, ALICE, 1_000_000), 0);
    assert.equal(quotas.charge(WRITE, { user: "bob", clientId: "app" }, 1_000_000), 0);
  });

  test("goes on with a changed quota at once, and without one when it is taken away", async () => {
    assert.equal(quotas.charge(WRITE, ALICE, 2000), 1000);
    await set({ user: "alice" }, 4000);
    assert.equal(quotas.charge(WRITE, ALICE, 1000), 500);
    await set({ user: "alice" }, null);
    assert.equal(quotas.charge(WRITE, ALICE, 1_000_000), 0);
  });
});

/** From the one that is asked first to the one that is asked last. */
const PRECEDENCE: readonly QuotaEntity[] = [
  { user: "alice", "client-id": "app" },
  { user: "alice", "client-id": null },
  { user: "alice" },
  { user: null, "client-id": "app" },
  { user: null, "client-id": null },
  { user: null },
  { "client-id": "app" },
  { "client-id": null },
];

describe("of several quotas", () => {
  for (let step = 0; step < PRECEDENCE.length; step++) {
    const entity = PRECEDENCE[step] ?? {};
    test(`that of ${JSON.stringify(entity)} holds before all that come after it`, async () => {
      for (const [index, each] of PRECEDENCE.entries()) {
        if (index >= step) await set(each, 1000 * (index + 1), READ);
        // A quota of the other kind has no say.
        else await set(each, 5, WRITE);
      }

      assert.equal(quotas.answerLimitBytes(READ, ALICE), 1000 * (step + 1));
    });
  }

  for (const [entity, other, isShared] of [
    [{ user: null }, { user: "bob", clientId: "app" }, false],
    [{ user: null }, { user: "alice", clientId: "other" }, true],
    [{ user: "alice" }, { user: "alice", clientId: "other" }, true],
    [{ user: "alice", "client-id": null }, { user: "alice", clientId: "other" }, false],
    [{ "client-id": "app" }, { user: "bob", clientId: "app" }, true],
    [{ "client-id": null }, { user: "alice", clientId: "other" }, false],
  ] as const) {
    test(`that of ${JSON.stringify(entity)} is ${isShared ? "" : "not "}used up for ${JSON.stringify(other)} too`, async () => {
      await set(entity, 1000);
      quotas.charge(WRITE, ALICE, 1000);

      assert.equal(quotas.charge(WRITE, other, 1000), isShared ? 1000 : 0);
    });
  }
});

describe("the file of quotas", () => {
  test("keeps them over a restart, and forgets those that were taken away", async () => {
    await set({ user: "alice", "client-id": null }, 1000);
    await set({ user: "alice", "client-id": null }, 2000, READ);
    await set({ user: null }, 10);
    await set({ user: null }, null);

    quotas = await open();

    assert.deepEqual(
      quotas.find(() => true),
      [
        {
          entity: { user: "alice", "client-id": null },
          values: { producer_byte_rate: 1000, consumer_byte_rate: 2000 },
        },
      ],
    );
  });

  for (const items of [
    [{ entity: {}, values: { producer_byte_rate: 1 } }],
    [{ entity: { user: "a" }, values: {} }],
    [{ entity: { user: "a" }, values: { producer_byte_rate: 0 } }],
    [{ entity: { user: "" }, values: { producer_byte_rate: 1 } }],
    [{ entity: { planet: "a" }, values: { producer_byte_rate: 1 } }],
    [{ entity: { user: "a" }, values: { request_percentage: 1 } }],
    ["alice"],
  ]) {
    test(`is refused with ${JSON.stringify(items)} in it`, async () => {
      const file = await fileSystem.open("/data/quotas.json", "create");
      await file.write([Buffer.from(JSON.stringify({ version: 1, items }))], 0);

      await assert.rejects(open(), /quotas\.json is damaged/);
    });
  }
});
