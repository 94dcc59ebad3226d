import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryFileSystem, SeededRandom, silentLogger, VirtualClock } from "@millrace/base";
import { FaultyFileSystem, SimulatedFileSystem } from "@millrace/testing";
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

for (const [code, wayOut] of [
  ["EACCES", /permission denied; give the folder to the user that this process runs as/],
  ["EROFS", /mount its volume for writing/],
  ["ENOSPC", /make room on its volume/],
] as const) {
  test(`a data dir that cannot be used because of ${code} is told with a way out`, async () => {
    const fileSystem = new FaultyFileSystem(new MemoryFileSystem());
    fileSystem.faults.onReadFile = (path) => {
      if (path.endsWith("meta.json")) throw Object.assign(new Error(`${code}: permission denied`), { code });
    };
    const parts = { path: "/data", clock: new VirtualClock(), random: new SeededRandom(1), logger: silentLogger };

    await assert.rejects(DataDir.open({ ...parts, fileSystem, nodeId: 1, processId: 1 }), wayOut);
  });
}
