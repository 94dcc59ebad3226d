import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom, systemRandom } from "./random.ts";

for (const [name, random] of [
  ["SystemRandom", systemRandom],
  ["SeededRandom", new SeededRandom(42)],
] as const) {
  describe(name, () => {
    test("gives fractions of at least 0 and less than 1, and all tenths of them", () => {
      const tenths = new Set<number>();

      for (let index = 0; index < 1000; index++) {
        const value = random.float();
        assert.ok(value >= 0 && value < 1);
        tenths.add(Math.floor(value * 10));
      }

      assert.equal(tenths.size, 10);
    });

    test("gives whole numbers below the bound, and each of them", () => {
      const seen = new Set<number>();

      for (let index = 0; index < 1000; index++) seen.add(random.integer(7));

      assert.deepEqual([...seen].sort(), [0, 1, 2, 3, 4, 5, 6]);
    });

    test("gives as many bytes as asked", () => {
      assert.equal(random.bytes(0).length, 0);
      assert.equal(new Set(random.bytes(10_000)).size, 256);
    });
  });
}

describe("a seed", () => {
  const run = (seed: number) => {
    const random = new SeededRandom(seed);
    return [random.float(), random.integer(1000), random.bytes(8).toString("hex")];
  };

  test("gives the same again", () => {
    assert.deepEqual(run(7), run(7));
  });

  test("gives something else than its neighbour, also beyond 32 bits", () => {
    const seeds = [0, 1, 2, 3, -1, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER];

    assert.equal(new Set(seeds.map((seed) => JSON.stringify(run(seed)))).size, seeds.length);
  });

  test("gives the same on every machine, for ever", () => {
    assert.deepEqual(run(1), [0.8308614073321223, 493, "1596e68678e3cb74"]);
  });
});
