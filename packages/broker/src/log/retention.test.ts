import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createDeferred, DAY_MS, HOUR_MS, MemoryFileSystem, VirtualClock } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { FaultyFileSystem, LogFixture, numbered } from "@millrace/testing";
import { countExcess, isExpired } from "./retention.ts";

const NOW_MS = 1_800_000_000_000;
const code = (expected: string) => (error: unknown) => error instanceof KafkaError && error.code === expected;

async function logFiles(fixture: LogFixture): Promise<string[]> {
  return (await fixture.fileSystem.list(fixture.directory)).filter((name) => name.endsWith(".log")).sort();
}

describe("retention by size", () => {
  test("keeps at least as many bytes as it should, in whole segments", () => {
    assert.equal(countExcess([100, 100, 100, 50], 250), 1);
    assert.equal(countExcess([100, 100, 100, 50], 251), 0);
    assert.equal(countExcess([100, 100, 100, 50], 50), 3);
  });

  test("never takes the active segment, and takes nothing without a limit", () => {
    assert.equal(countExcess([100, 100], 0), 1);
    assert.equal(countExcess([100], 0), 0);
    assert.equal(countExcess([100, 100], -1), 0);
  });
});

describe("retention by time", () => {
  const newest = (timestampMs: number) => ({ timestamp: BigInt(timestampMs), offset: 9n });

  test("goes by the newest record", () => {
    assert.equal(isExpired(newest(NOW_MS - DAY_MS - 1), DAY_MS, NOW_MS, NOW_MS), true);
    assert.equal(isExpired(newest(NOW_MS - DAY_MS), DAY_MS, NOW_MS, NOW_MS), false);
    assert.equal(isExpired(newest(0), -1, NOW_MS, NOW_MS), false);
  });

  test("is not held up for ever by a timestamp in the future", () => {
    const inTheFuture = newest(NOW_MS * 2);

    assert.equal(isExpired(inTheFuture, DAY_MS, NOW_MS, NOW_MS - HOUR_MS), false);
    assert.equal(isExpired(inTheFuture, DAY_MS, NOW_MS, NOW_MS - DAY_MS - 1), true);
  });
});

describe("a log", () => {
  async function openWithSegments(settings: object, clock = new VirtualClock(NOW_MS)) {
    const fixture = await LogFixture.open({ clock, tailCacheBytes: 0, settings: { segmentBytes: 250, ...settings } });
    const append = (value: string, timestamp: number) =>
      clock.runUntil(fixture.append([{ value, timestamp }]).flushed, 1000);
    return { fixture, clock, append };
  }

  test("deletes with its segments the producer snapshots that speak of nothing else", async () => {
    const { fixture, append } = await openWithSegments({ retentionBytes: 100 });
    for (let index = 0; index < 20; index++) await append(`${index}`, NOW_MS);

    await fixture.log.enforceRetention();

    const [firstBase = ""] = (await logFiles(fixture)).map((name) => name.slice(0, 20));
    const snapshots = (await fixture.fileSystem.list(fixture.directory)).filter((name) => name.endsWith(".snapshot"));
    assert.ok(fixture.log.logStartOffset > 0n && snapshots.length > 0);
    assert.deepEqual(
      snapshots.filter((name) => name < firstBase),
      [],
    );
  });

  test("deletes segments whose records are too old, and refuses to read them", async () => {
    const { fixture, append } = await openWithSegments({ retentionMs: HOUR_MS });
    for (let index = 0; index < 9; index++) await append(`${index}`, NOW_MS - (9 - index) * 15 * 60_000);
    const filesBefore = await logFiles(fixture);

    await fixture.log.enforceRetention();

    const { logStartOffset } = fixture.log;
    assert.equal(filesBefore.length, 3);
    assert.equal(logStartOffset, 3n);
    assert.deepEqual(await logFiles(fixture), filesBefore.slice(1));
    assert.deepEqual(await fixture.readAll(), numbered(["3", "4", "5", "6", "7", "8"], 3));
    await assert.rejects(fixture.log.read(2n, 100, { minOneBatch: true }), code("OFFSET_OUT_OF_RANGE"));
  });

  test("keeps the records of a segment that are not on the disk yet, however old they are", async () => {
    const clock = new VirtualClock(NOW_MS);
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const settings = { retentionMs: HOUR_MS };
    const fixture = await LogFixture.open({ clock, fileSystem: disk, settings });
    const canWrite = createDeferred<void>();
    disk.faults.onWrite = async (path) => {
      if (path.endsWith(".log")) await canWrite.promise;
      return undefined;
    };
    const old = fixture.append([{ value: "from last year", timestamp: NOW_MS - 365 * DAY_MS }]);
    await clock.advance(1);

    await fixture.log.enforceRetention();
    assert.equal(fixture.log.logStartOffset, 0n);
    canWrite.resolve();
    await clock.runUntil(old.flushed, 1000);
    assert.deepEqual(await fixture.readAll(), ["0:from last year"]);
    await fixture.log.enforceRetention();

    assert.equal(fixture.log.logStartOffset, 1n);
    assert.equal((await logFiles(fixture)).length, 1);
  });

  test("deletes segments that are too many, and knows its start after a crash", async () => {
    const { fixture, append } = await openWithSegments({ retentionBytes: 300 });
    for (let index = 0; index < 9; index++) await append(`${index}`, NOW_MS);

    await fixture.log.enforceRetention();
    assert.equal(fixture.log.logStartOffset, 3n);
    await fixture.reopen();

    assert.equal(fixture.log.logStartOffset, 3n);
    assert.deepEqual(await fixture.readAll(), numbered(["3", "4", "5", "6", "7", "8"], 3));
  });

  test("closes an active segment that is too old, so that its records can go", async () => {
    const { fixture, clock, append } = await openWithSegments({ retentionMs: HOUR_MS });
    await append("a", NOW_MS);

    await clock.advance(2 * HOUR_MS);
    await fixture.log.enforceRetention();

    assert.equal(fixture.log.logStartOffset, 1n);
    assert.deepEqual(await logFiles(fixture), ["00000000000000000001.log"]);
  });

  test("begins a new segment when the active one has its age", async () => {
    const { fixture, clock, append } = await openWithSegments({ segmentMs: HOUR_MS, segmentBytes: 10_000 });
    await append("a", NOW_MS);
    await clock.advance(2 * HOUR_MS);

    await append("b", NOW_MS);

    assert.deepEqual(await logFiles(fixture), ["00000000000000000000.log", "00000000000000000001.log"]);
  });

  test("deletes records before an offset, for good, and keeps the rest of their segment on the disk", async () => {
    const { fixture, append } = await openWithSegments({});
    for (let index = 0; index < 9; index++) await append(`${index}`, NOW_MS);

    await fixture.log.deleteRecordsBefore(4n);
    await fixture.reopen();

    assert.equal(fixture.log.logStartOffset, 4n);
    assert.deepEqual(await logFiles(fixture), ["00000000000000000003.log", "00000000000000000006.log"]);
    assert.deepEqual(await fixture.readAll(), numbered(["4", "5", "6", "7", "8"], 4));
    await assert.rejects(fixture.log.deleteRecordsBefore(10n), code("OFFSET_OUT_OF_RANGE"));
  });

  test("does not bring deleted segments back that a crash left half removed", async () => {
    const { fixture, append } = await openWithSegments({});
    for (let index = 0; index < 9; index++) await append(`${index}`, NOW_MS);
    const bytes = await fixture.fileSystem.readFile(fixture.logFile(0n));
    await fixture.log.deleteRecordsBefore(6n);
    const file = await fixture.fileSystem.open(fixture.logFile(0n), "create");
    await file.write([bytes], 0);
    await file.close();

    await fixture.reopen();

    assert.equal(fixture.log.logStartOffset, 6n);
    assert.deepEqual(await logFiles(fixture), ["00000000000000000006.log"]);
  });

  test("leaves no files of a segment that is deleted before it was closed", async () => {
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const fixture = await LogFixture.open({ fileSystem: disk, settings: { segmentBytes: 250 } });
    const closing = createDeferred<void>();
    disk.faults.onWrite = async (path) =>
      path.endsWith(".snapshot") ? closing.promise.then(() => undefined) : undefined;
    const values = Array.from({ length: 12 }, (_, index) => `${index}`);
    await fixture.appendEach(values);

    const deleted = fixture.log.deleteRecordsBefore(12n);
    closing.resolve();
    await deleted;
    await fixture.close();

    const names = await fixture.fileSystem.list(fixture.directory);
    assert.deepEqual(
      names.filter((name) => /index$/.test(name)),
      [],
    );
  });

  test("deletes what is too old when the disk is full, and goes on by itself", async () => {
    const clock = new VirtualClock(NOW_MS);
    const fileSystem = new MemoryFileSystem(200_000);
    const settings = { segmentBytes: 30_000, retentionMs: HOUR_MS };
    const fixture = await LogFixture.open({ clock, fileSystem, settings });
    const append = () => fixture.append([{ value: "x".repeat(20_000), timestamp: clock.timestampMs() }]).flushed;
    const isTaken = () =>
      clock.runUntil(
        append().then(
          () => true,
          () => false,
        ),
        1000,
      );
    while (await isTaken());
    const ballast = await fileSystem.open("/ballast", "create");
    await ballast.write([Buffer.alloc(await fileSystem.freeBytes("/data"))], 0);
    await clock.advance(10_000);
    assert.throws(() => fixture.append(["no room"]), code("KAFKA_STORAGE_ERROR"));

    await clock.advance(HOUR_MS);

    assert.equal(await isTaken(), true);
    assert.ok(fixture.log.logStartOffset > 0n);
    await fixture.reopen();
    assert.equal((await fixture.readAll()).length, Number(fixture.log.logEndOffset - fixture.log.logStartOffset));
  });
});

describe("a lookup by time", () => {
  async function openWithTimes(timestamps: readonly (readonly number[])[], settings = {}) {
    const fixture = await LogFixture.open({ settings: { indexIntervalBytes: 100, ...settings } });
    for (const batch of timestamps) {
      await fixture.append(batch.map((timestamp) => ({ value: `${timestamp}`, timestamp }))).flushed;
    }
    return fixture;
  }

  test("finds the first record that is young enough, inside of its batch", async () => {
    const fixture = await openWithTimes([[10, 20, 30], [40, 50], [60]]);

    assert.deepEqual(await fixture.log.offsetForTimestamp(21n), { offset: 2n, timestamp: 30n });
    assert.deepEqual(await fixture.log.offsetForTimestamp(40n), { offset: 3n, timestamp: 40n });
    assert.deepEqual(await fixture.log.offsetForTimestamp(0n), { offset: 0n, timestamp: 10n });
    assert.equal(await fixture.log.offsetForTimestamp(61n), null);
  });

  test("finds the first of records that are out of order", async () => {
    const fixture = await openWithTimes([[10], [90], [20], [95], [30]], { segmentBytes: 160 });

    assert.deepEqual(await fixture.log.offsetForTimestamp(25n), { offset: 1n, timestamp: 90n });
    assert.deepEqual(await fixture.log.offsetForTimestamp(91n), { offset: 3n, timestamp: 95n });
    assert.deepEqual(await fixture.log.maxTimestamp(), { offset: 3n, timestamp: 95n });
  });

  test("finds the newest record that readers see while newer ones are on their way to the disk", async () => {
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const fixture = await LogFixture.open({ fileSystem: disk, settings: { indexIntervalBytes: 100 } });
    for (const timestamp of [50, 90, 20, 70]) await fixture.append([{ value: "seen", timestamp }]).flushed;
    const sync = createDeferred<void>();
    disk.faults.onSync = () => sync.promise;

    const unseen = fixture.append([{ value: "unseen", timestamp: 95 }], {}, 1);
    await unseen.acknowledged;

    assert.deepEqual(await fixture.log.maxTimestamp(), { offset: 1n, timestamp: 90n });
    sync.resolve();
    await unseen.flushed;
    assert.deepEqual(await fixture.log.maxTimestamp(), { offset: 4n, timestamp: 95n });
  });

  test("looks into compressed batches", async () => {
    const fixture = await LogFixture.open();
    const records = [1, 2, 3, 4].map((timestamp) => ({ value: "x".repeat(100), timestamp }));
    for (const compression of ["gzip", "lz4", "snappy", "zstd"] as const) {
      const { loadCodec } = await import("@millrace/protocol");
      await loadCodec(compression);
      await fixture.append(records, { compression }).flushed;
    }

    assert.deepEqual(await fixture.log.offsetForTimestamp(3n), { offset: 2n, timestamp: 3n });
  });

  test("does not find what was deleted, nor anything in an empty log", async () => {
    const fixture = await openWithTimes([[10, 20, 30], [40]]);
    await fixture.log.deleteRecordsBefore(2n);

    assert.deepEqual(await fixture.log.offsetForTimestamp(10n), { offset: 2n, timestamp: 30n });
    assert.equal(await (await LogFixture.open()).log.maxTimestamp(), null);
  });
});
