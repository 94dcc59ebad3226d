import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededRandom, VirtualClock } from "@millrace/base";
import { LogFixture, producerStamp, SimulatedFileSystem } from "@millrace/testing";

const SEEDS = 8;
const POWER_CUTS = 4;
const PRODUCERS = 3;
const LONGEST_RUN_MS = 1200;
const LIMIT_MS = 60_000;

/** A producer that sends one batch after the other, up to five at a time, and sends again what was not acknowledged. */
class TestProducer {
  readonly #id: bigint;
  /** Values in the order of their sequences; those before ackedCount are acknowledged. */
  readonly values: string[] = [];
  ackedCount = 0;
  readonly ackedOffsets: bigint[] = [];

  constructor(id: number) {
    this.#id = BigInt(id);
  }

  /** Sends what is unacknowledged and something new. A log that fails keeps it for the next time. */
  send(fixture: LogFixture): void {
    const unacked = this.values.length - this.ackedCount;
    if (unacked < 5) this.values.push(`${this.#id}/${this.values.length}`);
    for (let sequence = this.ackedCount; sequence < this.values.length; sequence++) {
      const value = this.values[sequence] ?? "";
      try {
        const { baseOffset, flushed } = fixture.append([value], { stamp: producerStamp(this.#id, sequence) });
        flushed.then(
          () => {
            this.ackedOffsets[sequence] = baseOffset;
            while (this.ackedOffsets[this.ackedCount] !== undefined) this.ackedCount += 1;
          },
          () => {},
        );
      } catch {
        return;
      }
    }
  }
}

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`what was acknowledged or read outlives power cuts, once and in order (seed ${seed})`, async () => {
    const random = new SeededRandom(seed);
    const clock = new VirtualClock();
    let disk = new SimulatedFileSystem({ clock, random, delayMs: [0, 10], shortWriteProbability: 0.1 });
    const producers = Array.from({ length: PRODUCERS }, (_, index) => new TestProducer(index));
    const open = () =>
      clock.runUntil(
        LogFixture.open({
          fileSystem: disk,
          clock,
          settings: { segmentBytes: 3000, indexIntervalBytes: 300 },
          checkpointIntervalMs: 500,
        }),
        LIMIT_MS,
      );
    let seen: string[] = [];

    for (let cut = 0; cut <= POWER_CUTS; cut++) {
      const fixture = await open();
      const records = await clock.runUntil(fixture.readAll(0n), LIMIT_MS);

      assert.deepEqual(records.slice(0, seen.length), seen, "what a reader saw is there");
      for (const [id, producer] of producers.entries()) {
        for (const [sequence, offset] of producer.ackedOffsets.slice(0, producer.ackedCount).entries()) {
          assert.equal(
            records[Number(offset)],
            `${offset}:${producer.values[sequence]}`,
            "what was acknowledged is there",
          );
        }
        const mine = records.map((record) => record.split(":")[1] ?? "").filter((value) => value.startsWith(`${id}/`));
        assert.deepEqual(mine, producer.values.slice(0, mine.length), "each value is there once, in order");
      }

      const endMs = clock.nowMs() + random.integer(LONGEST_RUN_MS);
      while (clock.nowMs() < endMs) {
        for (const producer of producers) if (random.integer(2) === 0) producer.send(fixture);
        await clock.advance(random.integer(30));
      }
      seen = await clock.runUntil(fixture.readAll(0n), LIMIT_MS);
      disk = random.integer(3) === 0 ? disk.kill() : disk.crash();
    }
  });
}
