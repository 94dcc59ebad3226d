import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createDeferred, MemoryFileSystem, SeededRandom, VirtualClock } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { FaultyFileSystem, LogFixture, numbered, producerStamp, SimulatedFileSystem } from "@millrace/testing";

const isStorageError = (error: unknown) => error instanceof KafkaError && error.code === "KAFKA_STORAGE_ERROR";
const diskError = (code: string) => Object.assign(new Error(`${code}: the disk says no`), { code });

async function openOnFaultyDisk(clock = new VirtualClock()) {
  const disk = new FaultyFileSystem(new MemoryFileSystem());
  // The records are older than what the default keeps.
  const fixture = await LogFixture.open({ fileSystem: disk, clock, settings: { retentionMs: -1 } });
  const appendAll = (values: readonly string[], firstSequence = 0) =>
    values.map((value, index) => fixture.append([value], { stamp: producerStamp(7n, firstSequence + index) }).flushed);
  return { disk, fixture, clock, appendAll };
}

describe("a disk that takes part of a write", () => {
  test("is given the rest, so that short writes cost nothing but calls", async () => {
    const { disk, fixture, clock, appendAll } = await openOnFaultyDisk();
    disk.faults.onWrite = (path) => (path.endsWith(".log") ? 50 : undefined);

    await clock.runUntil(Promise.all(appendAll(["a", "b", "c", "d"])), 1000);

    assert.deepEqual(await fixture.readAll(), numbered(["a", "b", "c", "d"]));
  });
});

describe("a disk that is full", () => {
  async function fill() {
    const parts = await openOnFaultyDisk();
    const { disk, fixture, clock, appendAll } = parts;
    await clock.runUntil(Promise.all(appendAll(["a", "b"])), 1000);
    const sizeBytes = await disk.sizeBytes(fixture.logFile());
    let writes = 0;
    disk.faults.freeBytes = () => 0;
    disk.faults.onWrite = (path) => {
      if (!path.endsWith(".log")) return undefined;
      // As Linux does: a short count first, then the error.
      if (++writes === 1) return 100;
      throw diskError("ENOSPC");
    };
    return { ...parts, sizeBytes };
  }

  test("fails all who wait with a retriable error, and keeps what was there, whole and readable", async () => {
    const { disk, fixture, clock, appendAll, sizeBytes } = await fill();

    const results = await clock.runUntil(Promise.allSettled(appendAll(["c", "d"], 2)), 100);

    for (const result of results) assert.ok(result.status === "rejected" && isStorageError(result.reason));
    assert.equal(await disk.sizeBytes(fixture.logFile()), sizeBytes);
    assert.deepEqual(await fixture.readAll(), numbered(["a", "b"]));
    assert.equal(fixture.log.logEndOffset, 2n);
    assert.throws(() => fixture.append(["e"]), isStorageError);
  });

  test("takes the same batches, with the same sequences, once there is room again", async () => {
    const { disk, fixture, clock, appendAll } = await fill();
    await clock.runUntil(Promise.allSettled(appendAll(["c", "d"], 2)), 100);

    await clock.advance(5000);
    assert.throws(() => fixture.append(["c"]), isStorageError);
    disk.faults = {};
    await clock.advance(1000);
    await clock.runUntil(Promise.all(appendAll(["c", "d"], 2)), 100);

    assert.deepEqual(await fixture.readAll(), numbered(["a", "b", "c", "d"]));
    await fixture.reopen();
    assert.deepEqual(await fixture.readAll(), numbered(["a", "b", "c", "d"]));
  });

  test("forgets segments that were begun behind the failed write", async () => {
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const clock = new VirtualClock();
    const fixture = await LogFixture.open({ fileSystem: disk, clock, settings: { segmentBytes: 200 } });
    await clock.runUntil(fixture.append(["a"]).flushed, 100);
    disk.faults.onWrite = () => {
      throw diskError("ENOSPC");
    };

    const values = ["b", "c", "d", "e", "f", "g"];
    await clock.runUntil(Promise.allSettled(values.map((value) => fixture.append([value]).flushed)), 100);
    disk.faults = {};
    await clock.advance(1000);
    await clock.runUntil(Promise.all(values.map((value) => fixture.append([value]).flushed)), 100);

    assert.deepEqual(await fixture.readAll(), numbered(["a", ...values]));
    await fixture.reopen();
    assert.deepEqual(await fixture.readAll(), numbered(["a", ...values]));
  });

  test("does not come back, at a power cut, with what was cut off in a segment that was rolled since", async () => {
    for (let seed = 0; seed < 20; seed++) {
      const clock = new VirtualClock();
      const disk = new SimulatedFileSystem({ clock, random: new SeededRandom(seed) });
      const settings = { segmentMs: 5000 };
      const fixture = await clock.runUntil(LogFixture.open({ fileSystem: disk, clock, settings }), 1000);
      await clock.runUntil(fixture.append(["a"]).flushed, 1000);
      const capacityBytes = disk.capacityBytes;
      disk.capacityBytes = disk.usedBytes + 100;
      await clock.runUntil(Promise.allSettled([fixture.append(["b"]).flushed, fixture.append(["c"]).flushed]), 1000);
      disk.capacityBytes = capacityBytes;
      await clock.advance(6000);
      await clock.runUntil(fixture.append(["d"]).flushed, 1000);

      const survivor = new LogFixture({ fileSystem: disk.crash(), clock, settings });
      await clock.runUntil(survivor.reopen(), 1000);

      assert.deepEqual(await clock.runUntil(survivor.readAll(), 1000), numbered(["a", "d"]));
    }
  });

  test("is looked at again when it once did not tell how much room it has", async () => {
    const { disk, fixture, clock, appendAll } = await fill();
    await clock.runUntil(Promise.allSettled(appendAll(["c", "d"], 2)), 100);

    disk.faults.freeBytes = () => {
      throw diskError("EIO");
    };
    await clock.advance(1000);
    disk.faults = {};
    await clock.advance(1000);
    await clock.runUntil(Promise.all(appendAll(["c", "d"], 2)), 100);

    assert.deepEqual(await fixture.readAll(), numbered(["a", "b", "c", "d"]));
  });

  test("is no longer looked at once the log is closed", async () => {
    const { fixture, clock, appendAll } = await fill();
    await clock.runUntil(Promise.allSettled(appendAll(["c", "d"], 2)), 100);

    await clock.runUntil(fixture.close(), 100);

    assert.equal(clock.pendingCount, 0);
  });

  test("does not close a partition whose first record finds no room for the folder", async () => {
    const { disk, fixture, clock, appendAll } = await openOnFaultyDisk();
    disk.faults.freeBytes = () => 0;
    disk.faults.onWrite = () => {
      throw diskError("ENOSPC");
    };
    const [result] = await clock.runUntil(Promise.allSettled(appendAll(["a"])), 100);
    assert.ok(result?.status === "rejected" && isStorageError(result.reason));

    disk.faults = {};
    await clock.advance(1000);
    await clock.runUntil(Promise.all(appendAll(["a"])), 100);

    await fixture.reopen();
    assert.deepEqual(await fixture.readAll(), numbered(["a"]));
  });

  test("does not close a partition whose folder itself finds no room", async () => {
    const { disk, fixture, clock, appendAll } = await openOnFaultyDisk();
    disk.faults.onMakeDirectory = () => {
      throw diskError("ENOSPC");
    };
    const [result] = await clock.runUntil(Promise.allSettled(appendAll(["a"])), 100);
    assert.ok(result?.status === "rejected" && isStorageError(result.reason));

    disk.faults = {};
    await clock.advance(1000);
    await clock.runUntil(Promise.all(appendAll(["a"])), 100);

    assert.deepEqual(await fixture.readAll(), numbered(["a"]));
  });

  test("is the same with a disk that really has no room", async () => {
    const clock = new VirtualClock();
    const fixture = await LogFixture.open({ clock, fileSystem: new MemoryFileSystem(10_000) });

    const results = await clock.runUntil(
      Promise.allSettled(Array.from({ length: 5 }, () => fixture.append(["x".repeat(3000)]).flushed)),
      100,
    );
    assert.ok(results.every((result) => result.status === "rejected"));
    await clock.advance(2000);

    assert.equal(fixture.log.logEndOffset, 0n);
    assert.throws(() => fixture.append(["x"]), isStorageError);
  });
});

describe("a failed fdatasync", () => {
  async function failSync() {
    const parts = await openOnFaultyDisk();
    const { disk, clock, appendAll } = parts;
    await clock.runUntil(Promise.all(appendAll(["a", "b"])), 100);
    let syncs = 0;
    disk.faults.onSync = (path) => {
      syncs += 1;
      if (path.endsWith(".log")) throw diskError("EIO");
    };
    const results = await clock.runUntil(Promise.allSettled(appendAll(["c", "d"], 2)), 100);
    return { ...parts, results, syncs: () => syncs };
  }

  test("is never tried again: the log takes no more records, and still gives those it has", async () => {
    const { fixture, clock, results, syncs } = await failSync();

    for (const result of results) assert.ok(result.status === "rejected" && isStorageError(result.reason));
    assert.throws(() => fixture.append(["e"]), isStorageError);
    await clock.advance(60_000);
    assert.throws(() => fixture.append(["e"]), isStorageError);
    assert.equal(syncs(), 1);
    assert.equal(fixture.log.highWatermark, 2n);
    assert.deepEqual(await fixture.readAll(), numbered(["a", "b"]));
  });

  test("fails what was appended in the same moment too, and the log can still be closed", async () => {
    const { disk, fixture, clock } = await openOnFaultyDisk();
    let late: Promise<void> | undefined;
    disk.faults.onSync = () => {
      late = fixture.append(["late"]).flushed;
      throw diskError("EIO");
    };

    const early = fixture.append(["early"]).flushed;
    const results = await clock.runUntil(Promise.allSettled([early]), 100);
    const lateResults = await clock.runUntil(Promise.allSettled([late]), 100);

    assert.deepEqual([results[0]?.status, lateResults[0]?.status], ["rejected", "rejected"]);
    await clock.runUntil(fixture.log.close(), 100);
  });

  test("keeps the broker from calling its shutdown clean", async () => {
    const { fixture, clock } = await failSync();

    await clock.runUntil(fixture.log.close(), 1000);

    await assert.rejects(fixture.manager.close(), isStorageError);
  });

  test("is over with the next start, which looks at every batch", async () => {
    const { disk, fixture, clock } = await failSync();
    disk.faults = {};

    await fixture.reopen();
    await clock.runUntil(fixture.append(["next"], { stamp: producerStamp(9n, 0) }).flushed, 100);

    const records = await fixture.readAll();
    assert.deepEqual(records.slice(0, 2), numbered(["a", "b"]));
    assert.ok(records.at(-1)?.endsWith(":next"));
  });
});

test("a log that cannot be cut back after a failed write takes no more records", async () => {
  const { disk, fixture, clock, appendAll } = await openOnFaultyDisk();
  await clock.runUntil(Promise.all(appendAll(["a"])), 100);
  disk.faults.onWrite = () => {
    throw diskError("EIO");
  };
  disk.faults.onTruncate = () => {
    throw diskError("EIO");
  };

  await clock.runUntil(Promise.allSettled(appendAll(["b"], 1)), 100);
  disk.faults = {};
  await clock.advance(10_000);

  assert.throws(() => fixture.append(["c"]), isStorageError);
  assert.deepEqual(await fixture.readAll(), numbered(["a"]));
});

test("bytes that wait for a sync are not taken for synced when the sync of a repair has failed", async () => {
  const { disk, fixture, clock, appendAll } = await openOnFaultyDisk();
  const firstSync = createDeferred<void>();
  let syncs = 0;
  disk.faults.onSync = () => {
    syncs += 1;
    if (syncs === 1) return firstSync.promise;
    if (syncs === 2) throw diskError("EIO");
  };
  const [inSync] = appendAll(["in a sync"]);
  await clock.advance(1);
  const [waiting] = appendAll(["waits for the next"], 1);
  await clock.advance(1);
  disk.faults.onWrite = () => {
    throw diskError("EIO");
  };
  const [unwritten] = appendAll(["is not written"], 2);
  await clock.advance(1);
  firstSync.resolve();

  const results = await clock.runUntil(Promise.allSettled([inSync, waiting, unwritten]), 1000);

  assert.deepEqual(
    results.map(({ status }) => status),
    ["fulfilled", "rejected", "rejected"],
  );
  assert.equal(syncs, 2);
  assert.throws(() => fixture.append(["more"]), isStorageError);
});

describe("a disk that does not give back a file", () => {
  for (const name of ["broker-epoch", "log-start-offset-checkpoint", "recovery-point-offset-checkpoint"]) {
    test(`keeps the log from opening, rather than have it start without its ${name}`, async () => {
      const { disk, fixture, clock, appendAll } = await openOnFaultyDisk();
      await clock.runUntil(Promise.all(appendAll(["a", "b"])), 1000);
      await fixture.log.deleteRecordsBefore(1n);
      await fixture.close();
      disk.faults.onReadFile = (path) => {
        if (path.endsWith(name)) throw diskError("EIO");
      };

      await assert.rejects(fixture.reopen(), isStorageError);

      disk.faults = {};
      const log = await fixture.reopen();
      assert.deepEqual([log.logStartOffset, log.logEndOffset], [1n, 2n]);
    });
  }
});
