import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  type FileSystem,
  MemoryFileSystem,
  SeededRandom,
  silentLogger,
  VirtualClock,
  writeFileAtomic,
} from "@millrace/base";
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

test("a lock without a name is taken over from a process that died before it wrote it", async () => {
  const clock = new VirtualClock();
  const fileSystem = new MemoryFileSystem();
  await fileSystem.makeDirectory("/data");
  await fileSystem.open("/data/.lock", "create");
  const parts = { path: "/data", clock, random: new SeededRandom(1), logger: silentLogger, nodeId: 1, processId: 1 };

  const opened = await clock.runUntil(DataDir.open({ ...parts, fileSystem }), 10_000);

  await opened.close(true);
});

test("of two that open a data dir in one process at the same moment, one gets it", async () => {
  const fileSystem = new MemoryFileSystem();

  const ends = await Promise.allSettled([openDir(fileSystem), openDir(fileSystem)]);

  assert.deepEqual(ends.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
});

function openDir(fileSystem: FileSystem): Promise<DataDir> {
  const parts = { path: "/data", clock: new VirtualClock(), random: new SeededRandom(1), logger: silentLogger };
  return DataDir.open({ ...parts, fileSystem, nodeId: 1, processId: 1 });
}

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

    await assert.rejects(openDir(fileSystem), wayOut);
  });
}

describe("a data dir of another format is refused with the way out, and left as it is:", () => {
  for (const [what, files, wayOut] of [
    [
      "a newer one",
      { "meta.json": '{"formatVersion":2,"clusterId":"c"}' },
      /format version 2; this Millrace reads version 1: start the version that wrote it, or a newer one/,
    ],
    [
      "an older one",
      { "meta.json": '{"formatVersion":0,"clusterId":"c"}' },
      /format version 0; .* start the version that wrote it, and copy its topics/,
    ],
    ["one that does not say", { "meta.json": '{"clusterId":"c"}' }, /meta\.json is damaged: .* take it from a backup/],
    ["one whose meta.json is gone", { "topics.json": "{}" }, /topics but no meta\.json.* take the file from a backup/],
    ["Apache Kafka's", { "meta.properties": "version=1", ".lock": "" }, /of Apache Kafka .* choose an empty folder/],
  ] as const) {
    test(what, async () => {
      const fileSystem = new MemoryFileSystem();
      await fileSystem.makeDirectory("/data");
      for (const [name, text] of Object.entries(files)) {
        await writeFileAtomic(fileSystem, `/data/${name}`, Buffer.from(text));
      }

      await assert.rejects(openDir(fileSystem), (error: Error) => {
        assert.match(error.message, wayOut);
        return true;
      });

      assert.deepEqual((await fileSystem.list("/data")).sort(), Object.keys(files).sort());
    });
  }
});
