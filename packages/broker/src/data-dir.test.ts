import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededRandom, silentLogger, VirtualClock } from "@millrace/base";
import { SimulatedFileSystem } from "@millrace/testing";
import { DataDir } from "./data-dir.ts";

const SEED_COUNT = 30;

test("a data dir that was just made is there after a power cut, with those above it", async () => {
  for (let seed = 0; seed < SEED_COUNT; seed++) {
    const clock = new VirtualClock();
    const random = new SeededRandom(seed);
    const disk = new SimulatedFileSystem({ clock, random });
    const parts = { path: "/srv/millrace/data", clock, random, logger: silentLogger, nodeId: 1, processId: 1 };
    const first = await clock.runUntil(DataDir.open({ ...parts, fileSystem: disk }), 1000);

    const second = await clock.runUntil(DataDir.open({ ...parts, fileSystem: disk.crash() }), 1000);

    assert.equal(second.clusterId, first.clusterId);
  }
});
