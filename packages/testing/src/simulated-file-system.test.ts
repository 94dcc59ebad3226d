import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  type FileSystem,
  SeededRandom,
  systemClock,
  systemRandom,
  VirtualClock,
  writeFileAtomic,
  writeFully,
} from "@millrace/base";
import { fileSystemSuite } from "./file-system-suite.ts";
import { SimulatedFileSystem, type SimulatedFileSystemOptions } from "./simulated-file-system.ts";

const SEED_COUNT = 100;

fileSystemSuite("SimulatedFileSystem", async () => {
  const fileSystem = new SimulatedFileSystem({ clock: systemClock, random: systemRandom, delayMs: [0, 0] });
  await fileSystem.makeDirectory("/data/folder");
  return { fileSystem, directory: "/data/folder", close: async () => {} };
});

/** Runs the scenario on virtual time, for many seeds; collects what it gives. */
async function withSeeds<T>(
  scenario: (fileSystem: SimulatedFileSystem, clock: VirtualClock) => Promise<T>,
  options: Partial<SimulatedFileSystemOptions> = {},
): Promise<T[]> {
  const results: T[] = [];
  for (let seed = 0; seed < SEED_COUNT; seed++) {
    const clock = new VirtualClock();
    const fileSystem = new SimulatedFileSystem({ clock, random: new SeededRandom(seed), ...options });
    results.push(await clock.runUntil(scenario(fileSystem, clock), 60_000));
  }
  return results;
}

async function createFile(fileSystem: FileSystem, path: string, text: string) {
  const file = await fileSystem.open(path, "create");
  await writeFully(file, [Buffer.from(text)], 0);
  return file;
}

async function textOf(fileSystem: FileSystem, path: string): Promise<string | null> {
  return (await fileSystem.exists(path)) ? (await fileSystem.readFile(path)).toString() : null;
}

describe("after a crash", () => {
  test("what was synced is there, in every run", async () => {
    const texts = await withSeeds(async (fileSystem) => {
      const file = await createFile(fileSystem, "/a", "synced");
      await file.sync();
      await fileSystem.syncDirectory("/");

      return textOf(fileSystem.crash(), "/a");
    });

    assert.deepEqual(new Set(texts), new Set(["synced"]));
  });

  test("what was not synced is there, gone or torn", async () => {
    const texts = await withSeeds(async (fileSystem) => {
      const file = await createFile(fileSystem, "/a", "synced,");
      await file.sync();
      await fileSystem.syncDirectory("/");
      await writeFully(file, [Buffer.from("unsynced")], 7);

      return textOf(fileSystem.crash(), "/a");
    });

    const outcomes = new Set(texts);
    assert.ok(outcomes.has("synced,unsynced") && outcomes.has("synced,") && outcomes.size > 2);
    for (const text of outcomes) assert.ok(text !== null && "synced,unsynced".startsWith(text), String(text));
  });

  test("later sectors may be there without earlier ones: zeros stand in their place", async () => {
    const holes = await withSeeds(async (fileSystem) => {
      const file = await createFile(fileSystem, "/a", "");
      await fileSystem.syncDirectory("/");
      await writeFully(file, [Buffer.alloc(512, "a"), Buffer.alloc(512, "b")], 0);

      return (await textOf(fileSystem.crash(), "/a"))?.startsWith("\0") ?? false;
    });

    assert.ok(holes.includes(true) && holes.includes(false));
  });

  test("a synced file may be gone when its folder was not", async () => {
    const texts = await withSeeds(async (fileSystem) => {
      const file = await createFile(fileSystem, "/a", "synced");
      await file.sync();

      return textOf(fileSystem.crash(), "/a");
    });

    assert.deepEqual(new Set(texts), new Set([null, "synced"]));
  });

  test("a rename has happened or not, whole, and for sure after the folder was synced", async () => {
    const rename = async (fileSystem: SimulatedFileSystem, isSynced: boolean) => {
      await (await createFile(fileSystem, "/old", "content")).sync();
      await fileSystem.syncDirectory("/");
      await fileSystem.rename("/old", "/new");
      if (isSynced) await fileSystem.syncDirectory("/");
      return (await fileSystem.crash().list("/")).join();
    };

    assert.deepEqual(new Set(await withSeeds((fileSystem) => rename(fileSystem, false))), new Set(["old", "new"]));
    assert.deepEqual(new Set(await withSeeds((fileSystem) => rename(fileSystem, true))), new Set(["new"]));
  });

  test("a file moved to a synced folder is in one place only", async () => {
    const places = await withSeeds(async (fileSystem) => {
      await fileSystem.makeDirectory("/from");
      await fileSystem.makeDirectory("/to");
      await fileSystem.syncDirectory("/");
      await (await createFile(fileSystem, "/from/file", "content")).sync();
      await fileSystem.rename("/from/file", "/to/file");
      await fileSystem.syncDirectory("/to");

      const after = fileSystem.crash();
      return `${await textOf(after, "/from/file")} ${await textOf(after, "/to/file")}`;
    });

    assert.deepEqual(new Set(places), new Set(["null content"]));
  });

  test("a removed file may be back, as it was when it was synced", async () => {
    const texts = await withSeeds(async (fileSystem) => {
      const file = await createFile(fileSystem, "/a", "synced");
      await file.sync();
      await fileSystem.syncDirectory("/");
      await fileSystem.remove("/a");

      return textOf(fileSystem.crash(), "/a");
    });

    assert.deepEqual(new Set(texts), new Set([null, "synced"]));
  });

  test("a write that was under way may have come to pass in part", async () => {
    const texts = await withSeeds(async (fileSystem) => {
      const file = await createFile(fileSystem, "/a", "");
      await fileSystem.syncDirectory("/");
      const writing = file.write([Buffer.from("under way")], 0);

      const after = fileSystem.crash();

      await assert.rejects(writing, { code: "EIO" });
      return textOf(after, "/a");
    });

    assert.ok(new Set(texts).size > 2);
  });

  test("the old machine can do nothing to the disk of the new one", async () => {
    await withSeeds(async (fileSystem) => {
      const file = await createFile(fileSystem, "/a", "synced");
      await file.sync();
      await fileSystem.syncDirectory("/");

      const after = fileSystem.crash();

      await assert.rejects(file.write([Buffer.from("late")], 0), { code: "EIO" });
      await assert.rejects(fileSystem.remove("/a"), { code: "EIO" });
      assert.equal(await textOf(after, "/a"), "synced");
    });
  });

  test("at any moment, writeFileAtomic has left the old content or the new, and the new once it resolved", async () => {
    const outcomes = await withSeeds(async (fileSystem, clock) => {
      await writeFileAtomic(fileSystem, "/a", Buffer.from("old"));
      let isDone = false;
      const writing = writeFileAtomic(fileSystem, "/a", Buffer.from("the new")).then(() => {
        isDone = true;
      });
      writing.catch(() => {});
      const crashed = new Promise<SimulatedFileSystem>((resolve) => {
        clock.schedule(new SeededRandom(clock.nowMs()).float() * 5, () => resolve(fileSystem.crash()));
      });

      const after = await crashed;

      const text = await textOf(after, "/a");
      assert.ok(text === "the new" || (text === "old" && !isDone), String(text));
      return text;
    });

    assert.deepEqual(new Set(outcomes), new Set(["old", "the new"]));
  });
});

describe("a disk that fails", () => {
  async function setUp(options: Partial<SimulatedFileSystemOptions> = {}) {
    const random = new SeededRandom(1);
    const fileSystem = new SimulatedFileSystem({ clock: systemClock, random, delayMs: [0, 0], ...options });
    return { fileSystem, file: await fileSystem.open("/a", "create") };
  }

  test("fails as often as it was told, on the paths it was told, after letting through what it was told", async () => {
    const { fileSystem, file } = await setUp();
    const other = await fileSystem.open("/other", "create");
    fileSystem.inject({ operation: "write", path: /^\/a$/, effect: "EIO", skip: 1, times: 2 });

    const outcomes: string[] = [];
    for (let index = 0; index < 5; index++) {
      await other.write([Buffer.from("x")], index);
      await file.write([Buffer.from("y")], index).then(
        () => outcomes.push("written"),
        (error) => outcomes.push(error.code),
      );
    }

    assert.deepEqual(outcomes, ["written", "EIO", "EIO", "written", "written"]);
  });

  test("fails any operation with any error", async () => {
    const { fileSystem, file } = await setUp();
    for (const [operation, run] of [
      ["open", () => fileSystem.open("/b", "create")],
      ["read", () => file.read(Buffer.alloc(1), 0)],
      ["read", () => fileSystem.readFile("/a")],
      ["sync", () => file.sync()],
      ["truncate", () => file.truncate(0)],
      ["list", () => fileSystem.list("/")],
      ["stat", () => fileSystem.exists("/a")],
      ["makeDirectory", () => fileSystem.makeDirectory("/b")],
      ["rename", () => fileSystem.rename("/a", "/b")],
      ["remove", () => fileSystem.remove("/a")],
      ["syncDirectory", () => fileSystem.syncDirectory("/")],
    ] as const) {
      fileSystem.inject({ operation, effect: "EMFILE" });

      await assert.rejects(run, { code: "EMFILE" }, operation);
    }
    assert.deepEqual(await fileSystem.list("/"), ["a"], "nothing has changed");
  });

  test("has synced a part when a sync fails, and never the rest, however often it is repeated", async () => {
    const texts = await withSeeds(async (fileSystem) => {
      const file = await createFile(fileSystem, "/a", "");
      await fileSystem.syncDirectory("/");
      await writeFully(file, [Buffer.from("lost")], 0);
      fileSystem.inject({ operation: "sync", effect: "EIO" });
      await assert.rejects(file.sync(), { code: "EIO" });
      assert.equal(await textOf(fileSystem, "/a"), "lost", "it is still seen");
      await writeFully(file, [Buffer.from("kept")], 4);
      await file.sync();

      return textOf(fileSystem.crash(), "/a");
    });

    assert.deepEqual(new Set(texts), new Set(["\0\0\0\0kept", "lostkept"]));
  });

  test("writes short when told, and writeFully goes on from there", async () => {
    const { fileSystem, file } = await setUp();
    fileSystem.inject({ operation: "write", effect: "short", times: 2 });

    const writtenBytes = await file.write([Buffer.from("0123456789")], 0);
    assert.ok(writtenBytes > 0 && writtenBytes < 10);
    await writeFully(file, [Buffer.from("0123456789")], 0);

    assert.equal(await textOf(fileSystem, "/a"), "0123456789");
  });

  test("writes short by chance", async () => {
    const { fileSystem, file } = await setUp({ shortWriteProbability: 0.5 });
    const traced: string[] = [];

    for (let index = 0; index < 50; index++) {
      const writtenBytes = await file.write([Buffer.from("0123456789")], 0);
      traced.push(writtenBytes === 10 ? "whole" : "short");
    }
    await writeFully(file, [Buffer.from("0123456789")], 0);

    assert.deepEqual(new Set(traced), new Set(["whole", "short"]));
    assert.equal(await textOf(fileSystem, "/a"), "0123456789");
  });

  test("takes what fits when it is full, then refuses with ENOSPC until there is room", async () => {
    const { fileSystem, file } = await setUp({ capacityBytes: 6 });

    assert.equal(await file.write([Buffer.from("01234567")], 0), 6);
    await assert.rejects(file.write([Buffer.from("67")], 6), { code: "ENOSPC" });
    assert.equal(await fileSystem.freeBytes(), 0);

    await file.truncate(2);
    assert.equal(await file.write([Buffer.from("ab")], 2), 2);
    assert.equal(await textOf(fileSystem, "/a"), "01ab");
  });
});

test("the same seed does the same, another one something else", async () => {
  const run = async (seed: number) => {
    const events: string[] = [];
    const clock = new VirtualClock();
    const fileSystem = new SimulatedFileSystem({
      clock,
      random: new SeededRandom(seed),
      shortWriteProbability: 0.5,
      trace: (event) => events.push(`${clock.nowMs()} ${event}`),
    });
    await clock.runUntil(writeFileAtomic(fileSystem, "/a", Buffer.alloc(1000)), 1000);
    return events;
  };

  const first = await run(1);

  assert.ok(first.length > 5);
  assert.deepEqual(await run(1), first);
  assert.notDeepEqual(await run(2), first);
});
