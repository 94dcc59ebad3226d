import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type FileSystem, MemoryFileSystem, SeededRandom, VirtualClock, writeFully } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { FaultyFileSystem, LogFixture, numbered, producerStamp, SimulatedFileSystem } from "@millrace/testing";

const code = (expected: string) => (error: unknown) => error instanceof KafkaError && error.code === expected;
const VALUES = ["first", "second", "third", "fourth"];

async function rewrite(fileSystem: FileSystem, path: string, bytes: Uint8Array): Promise<void> {
  const file = await fileSystem.open(path, "readWrite");
  await file.truncate(0);
  await writeFully(file, [bytes], 0);
  await file.close();
}

/** The bytes of a log with one batch a value, and where each batch ends. */
async function smallLog(): Promise<{ bytes: Buffer; ends: number[] }> {
  const fixture = await LogFixture.open();
  const ends: number[] = [];
  for (const value of VALUES) {
    await fixture.append([value]).flushed;
    ends.push(await fixture.fileSystem.sizeBytes(fixture.logFile()));
  }
  return { bytes: await fixture.fileSystem.readFile(fixture.logFile()), ends };
}

async function openBytes(bytes: Uint8Array): Promise<LogFixture> {
  const fixture = new LogFixture({});
  await fixture.fileSystem.makeDirectory(fixture.directory);
  await rewrite(fixture.fileSystem, fixture.logFile(), bytes);
  await fixture.reopen();
  return fixture;
}

/** The log holds the first batches, whole, and the next append lands right behind them. */
async function expectWhole(fixture: LogFixture, wholeCount: number, what: string): Promise<void> {
  const kept = VALUES.slice(0, wholeCount);
  assert.equal(fixture.log.logEndOffset, BigInt(wholeCount), what);
  assert.deepEqual(await fixture.readAll(), numbered(kept), what);
  await fixture.append(["next"]).flushed;
  assert.deepEqual(await fixture.readAll(), numbered([...kept, "next"]), what);
}

describe("after a crash", () => {
  test("a log that was cut at any byte keeps all batches before the cut and nothing else", async () => {
    const { bytes, ends } = await smallLog();

    for (let sizeBytes = 0; sizeBytes <= bytes.length; sizeBytes++) {
      const fixture = await openBytes(bytes.subarray(0, sizeBytes));

      await expectWhole(fixture, ends.filter((end) => end <= sizeBytes).length, `cut to ${sizeBytes} bytes`);
    }
  });

  test("a log with any byte changed keeps all batches before it", async () => {
    const { bytes, ends } = await smallLog();

    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 0xff;
      const fixture = await openBytes(changed);

      const damaged = ends.filter((end) => end <= at).length;
      const inBatch = at - (ends[damaged - 1] ?? 0);
      // Base offset and leader epoch lie outside of the checksum: a base offset that only rises may be true.
      const isOutsideCrc = inBatch < 8 || (inBatch >= 12 && inBatch < 16);
      if (!isOutsideCrc) await expectWhole(fixture, damaged, `byte ${at} changed`);
      else assert.ok(fixture.log.logEndOffset >= BigInt(damaged), `byte ${at} changed`);
    }
  });

  for (const [what, tail] of [
    ["zeros", Buffer.alloc(5000)],
    ["garbage", Buffer.alloc(5000, 0xa5)],
    ["a length that is negative", lengthTail(-1)],
    ["a length that is huge", lengthTail(2 ** 31 - 1)],
  ] as const) {
    test(`a tail of ${what} is cut off`, async () => {
      const { bytes } = await smallLog();

      await expectWhole(await openBytes(Buffer.concat([bytes, tail])), VALUES.length, what);
    });
  }

  test("a bad batch ends the log: later segments are deleted", async () => {
    const fixture = await LogFixture.open({ settings: { segmentBytes: 160 } });
    for (const value of ["0", "1", "2", "3", "4", "5", "6", "7"]) await fixture.append([value]).flushed;
    const bases = await logBases(fixture);
    assert.ok(bases.length >= 4, `${bases}`);
    const path = fixture.logFile(bases[1] ?? 0n);
    const bytes = await fixture.fileSystem.readFile(path);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    await rewrite(fixture.fileSystem, path, bytes);

    await fixture.reopen();

    const endOffset = fixture.log.logEndOffset;
    assert.equal(endOffset, (bases[2] ?? 0n) - 1n);
    assert.deepEqual(await logBases(fixture), bases.slice(0, 2));
    assert.equal((await fixture.readAll()).length, Number(endOffset));
  });

  test("segments that were deleted behind a bad batch do not come back at a power cut", async () => {
    for (let seed = 0; seed < 20; seed++) {
      const clock = new VirtualClock();
      const soon = <T>(promise: Promise<T>) => clock.runUntil(promise, 1000);
      const settings = { segmentBytes: 160 };
      const disk = new SimulatedFileSystem({ clock, random: new SeededRandom(seed) });
      const fixture = await soon(LogFixture.open({ fileSystem: disk, clock, settings }));
      for (const value of ["0", "1", "2", "3", "4", "5"]) await soon(fixture.append([value]).flushed);
      const bases = await soon(logBases(fixture));
      const path = fixture.logFile(bases[1] ?? 0n);
      const bytes = await soon(disk.readFile(path));
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      await soon(rewrite(disk, path, bytes));
      await soon(fixture.reopen());
      const kept = await soon(fixture.readAll());
      await soon(fixture.append(["next"]).flushed);

      const survivor = new LogFixture({ fileSystem: disk.crash(), clock, settings });
      await soon(survivor.reopen());

      assert.deepEqual(await soon(survivor.readAll()), [...kept, `${kept.length}:next`], `seed ${seed}`);
    }
  });

  test("what was found behind the checkpoint is synced before it is served", async () => {
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const fixture = await LogFixture.open({ fileSystem: disk });
    await fixture.append(["a"]).flushed;
    const synced: string[] = [];
    disk.faults.onSync = (path) => void synced.push(path);

    await fixture.reopen();

    assert.ok(synced.includes(fixture.logFile()));
    assert.equal(fixture.log.highWatermark, 1n);
  });

  test("only what lies behind the checkpoint is read", async () => {
    const fixture = await LogFixture.open({ settings: { indexIntervalBytes: 500 } });
    for (let index = 0; index < 200; index++) await fixture.append([`value ${index} ${"x".repeat(200)}`]).flushed;
    await fixture.checkpoint();
    await fixture.append(["behind"]).flushed;
    // A byte that nobody looks at any more: had it been read, the log would end there.
    const bytes = await fixture.fileSystem.readFile(fixture.logFile());
    bytes[5000] = (bytes[5000] ?? 0) ^ 0xff;
    await rewrite(fixture.fileSystem, fixture.logFile(), bytes);

    await fixture.reopen();

    assert.equal(fixture.log.logEndOffset, 201n);
  });

  test("a checkpoint that is ahead of the log is not believed", async () => {
    const fixture = await LogFixture.open();
    for (const value of VALUES) await fixture.append([value]).flushed;
    await fixture.checkpoint();
    const bytes = await fixture.fileSystem.readFile(fixture.logFile());
    await rewrite(fixture.fileSystem, fixture.logFile(), bytes.subarray(0, bytes.length - 10));

    await fixture.reopen();

    await expectWhole(fixture, VALUES.length - 1, "ahead");
  });

  test("the leader epoch rises at every start, and tells where each one ended", async () => {
    const fixture = await LogFixture.open();
    const firstEpoch = fixture.log.leaderEpoch;
    await fixture.append(["a", "b"]).flushed;
    await fixture.reopen();
    await fixture.append(["c"]).flushed;
    await fixture.reopen();

    assert.equal(fixture.log.leaderEpoch, firstEpoch + 2);
    assert.deepEqual(fixture.log.epochEndOffset(firstEpoch), { leaderEpoch: firstEpoch, endOffset: 2n });
    assert.deepEqual(fixture.log.epochEndOffset(firstEpoch + 1), { leaderEpoch: firstEpoch + 1, endOffset: 3n });
    assert.deepEqual(fixture.log.epochEndOffset(firstEpoch + 9), { leaderEpoch: -1, endOffset: -1n });
    assert.deepEqual(
      [0n, 1n, 2n, 3n].map((offset) => fixture.log.epochOf(offset) - firstEpoch),
      [0, 0, 1, 2],
    );
  });

  test("epochs are read from the batches where their file is damaged", async () => {
    const fixture = await LogFixture.open();
    const firstEpoch = fixture.log.leaderEpoch;
    await fixture.append(["a", "b"]).flushed;
    await fixture.close();
    await fixture.reopen({ isCleanStart: true });
    await fixture.append(["c"]).flushed;
    await fixture.close();
    await rewrite(fixture.fileSystem, `${fixture.directory}/leader-epoch-checkpoint`, Buffer.from("garbage"));

    await fixture.reopen({ isCleanStart: true });

    assert.deepEqual(fixture.log.epochEndOffset(firstEpoch), { leaderEpoch: firstEpoch, endOffset: 2n });
  });
});

describe("after a restart", () => {
  for (const kind of [
    "in order",
    "in order, too short for side files",
    "after a crash",
    "after a crash behind a checkpoint",
    "after a crash behind a checkpoint, too short for side files",
  ] as const) {
    const checkpointBytes = kind.endsWith("side files") ? 64 * 1024 : 0;
    const restart = async (fixture: LogFixture) => {
      const isInOrder = kind.startsWith("in order");
      if (isInOrder) await fixture.close();
      await fixture.reopen({ isCleanStart: isInOrder });
    };

    test(`producers are known with their last five batches, ${kind}`, async () => {
      const fixture = await LogFixture.open({ checkpointBytes });
      for (let sequence = 0; sequence < 4; sequence++) fixture.append(["a"], { stamp: producerStamp(7n, sequence) });
      await fixture.append(["b"], { stamp: producerStamp(8n, 2 ** 31 - 1, 5) }).flushed;
      if (kind.includes("checkpoint")) await fixture.checkpoint();
      await fixture.append(["a"], { stamp: producerStamp(7n, 4) }).flushed;

      await restart(fixture);

      for (const [sequence, offset] of [0n, 1n, 2n, 3n, 5n].entries()) {
        const retry = fixture.append(["a"], { stamp: producerStamp(7n, sequence) });
        assert.deepEqual([retry.isDuplicate, retry.baseOffset], [true, offset]);
      }
      assert.throws(() => fixture.append(["a"], { stamp: producerStamp(7n, 6) }), code("OUT_OF_ORDER_SEQUENCE_NUMBER"));
      assert.throws(() => fixture.append(["b"], { stamp: producerStamp(8n, 0, 4) }), code("INVALID_PRODUCER_EPOCH"));
      assert.equal(fixture.append(["b"], { stamp: producerStamp(8n, 0, 5) }).isDuplicate, false);
    });

    test(`everything is read from every offset, and found by its time, ${kind}`, async () => {
      const fixture = await LogFixture.open({
        settings: { segmentBytes: 3000, indexIntervalBytes: 300 },
        tailCacheBytes: 0,
        checkpointBytes,
      });
      const values = Array.from({ length: 100 }, (_, index) => `value ${index}`);
      for (const [index, value] of values.entries()) {
        if (index === 55 && kind.includes("checkpoint")) await fixture.checkpoint();
        await fixture.append([{ value, timestamp: 1_000_000 + index * 10 }]).flushed;
      }

      await restart(fixture);

      for (let offset = 0; offset < 100; offset += 9) {
        assert.deepEqual(await fixture.readAll(BigInt(offset), 500), numbered(values).slice(offset));
        const found = await fixture.log.offsetForTimestamp(BigInt(1_000_000 + offset * 10 - 3));
        assert.deepEqual(found, { offset: BigInt(offset), timestamp: BigInt(1_000_000 + offset * 10) });
      }
      assert.equal(await fixture.log.offsetForTimestamp(2_000_000n), null);
    });
  }

  for (const suffix of [".index", ".timeindex", ".snapshot"]) {
    for (const damage of ["missing", "empty", "garbage", "zeros", "cut short"] as const) {
      test(`files ${suffix} that are ${damage} are made anew`, async () => {
        const settings = { segmentBytes: 3000, indexIntervalBytes: 100 };
        const fixture = await LogFixture.open({ settings, tailCacheBytes: 0 });
        const values = Array.from({ length: 100 }, (_, index) => `value ${index}`);
        for (const [index, value] of values.entries()) {
          const stamp = producerStamp(7n, index);
          await fixture.append([{ value, timestamp: 1_000_000 + index * 10 }], { stamp }).flushed;
        }
        await fixture.close();
        await damageFiles(fixture, suffix, damage);

        await fixture.reopen({ isCleanStart: true });

        assert.deepEqual(await fixture.readAll(37n, 200), numbered(values).slice(37));
        assert.equal((await fixture.log.offsetForTimestamp(1_000_371n))?.offset, 38n);
        assert.equal((await fixture.log.maxTimestamp())?.offset, 99n);
        assert.equal(fixture.append(["again"], { stamp: producerStamp(7n, 99) }).isDuplicate, true);
        await fixture.append(["next"], { stamp: producerStamp(7n, 100) }).flushed;
        assert.deepEqual(await fixture.readAll(99n), numbered(["value 99", "next"], 99));
      });
    }
  }

  test("nothing is written before the first append", async () => {
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const fixture = await LogFixture.open({ fileSystem: disk });
    await fixture.append(["a"]).flushed;
    await fixture.close();
    const paths: string[] = [];
    disk.faults.onWrite = (path) => void paths.push(path);

    await fixture.reopen({ isCleanStart: true });

    assert.deepEqual(
      paths.filter((path) => path.startsWith(fixture.directory)),
      [],
    );
    assert.deepEqual(await fixture.readAll(), ["0:a"]);
  });

  test("a log whose records were all deleted goes on behind them", async () => {
    const fixture = await LogFixture.open({ settings: { segmentBytes: 200, retentionMs: 0 } });
    for (const value of VALUES) await fixture.append([value]).flushed;
    await fixture.log.enforceRetention();
    assert.equal(fixture.log.logStartOffset, 4n);

    await fixture.reopen();

    assert.equal(fixture.log.logStartOffset, 4n);
    assert.equal(fixture.append(["next"]).baseOffset, 4n);
  });
});

function lengthTail(length: number): Buffer {
  const tail = Buffer.alloc(100, 2);
  tail.writeBigInt64BE(1000n, 0);
  tail.writeInt32BE(length, 8);
  return tail;
}

async function logBases(fixture: LogFixture): Promise<bigint[]> {
  const names = await fixture.fileSystem.list(fixture.directory);
  return names
    .filter((name) => name.endsWith(".log"))
    .map((name) => BigInt(name.slice(0, -4)))
    .sort((a, b) => (a < b ? -1 : 1));
}

async function damageFiles(
  fixture: LogFixture,
  suffix: string,
  damage: "missing" | "empty" | "garbage" | "zeros" | "cut short",
): Promise<void> {
  const { fileSystem, directory } = fixture;
  for (const name of (await fileSystem.list(directory)).filter((each) => each.endsWith(suffix))) {
    const path = `${directory}/${name}`;
    const bytes = await fileSystem.readFile(path);
    if (damage === "missing") await fileSystem.remove(path);
    else if (damage === "empty") await rewrite(fileSystem, path, Buffer.alloc(0));
    else if (damage === "garbage") await rewrite(fileSystem, path, Buffer.alloc(bytes.length, 0x3c));
    else if (damage === "zeros") await rewrite(fileSystem, path, Buffer.alloc(bytes.length));
    else await rewrite(fileSystem, path, bytes.subarray(0, Math.max(bytes.length - 3, 0)));
  }
}
