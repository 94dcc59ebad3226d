import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createDeferred, DAY_MS, MemoryFileSystem, VirtualClock } from "@millrace/base";
import { type CompressionType, readBatchHeader, readRecords, splitBatches } from "@millrace/protocol";
import { FaultyFileSystem, LogFixture, producerStamp, waitUntil } from "@millrace/testing";

const NOW_MS = 1_800_000_000_000;
/** Two or three batches a segment. */
const SEGMENT_BYTES = 300;

interface Pair {
  readonly key: string;
  readonly value: string | null;
}

const pair = (text: string): Pair => {
  const [key = "", value] = text.split("=");
  return { key, value: value === undefined ? null : value };
};

async function openCompacted(settings: object = {}, fileSystem = new MemoryFileSystem()) {
  const clock = new VirtualClock(NOW_MS);
  const disk = new FaultyFileSystem(fileSystem);
  const fixture = await LogFixture.open({
    fileSystem: disk,
    clock,
    tailCacheBytes: 0,
    settings: { cleanupPolicy: "compact", segmentBytes: SEGMENT_BYTES, minCleanableDirtyRatio: 0, ...settings },
  });
  let sequence = 0;
  /** One batch of records "key=value"; "key" alone is a tombstone. */
  const append = async (
    texts: readonly string[],
    { compression = "none", producerId = 7n }: { compression?: CompressionType; producerId?: bigint } = {},
  ) => {
    const records = texts
      .map(pair)
      .map(({ key, value }) => ({ key: Buffer.from(key), value, timestamp: NOW_MS - 1000 }));
    const stamp = producerStamp(producerId, sequence);
    if (producerId === 7n) sequence += records.length;
    await clock.runUntil(fixture.append(records, { compression, stamp }).flushed, 100);
  };
  /** Closes what was written, so that it can be compacted, and compacts it. */
  const compact = async () => {
    await append([`filler=${"x".repeat(SEGMENT_BYTES - 100)}`], { producerId: -1n });
    await append([`filler=${"x".repeat(SEGMENT_BYTES - 100)}`], { producerId: -1n });
    await clock.advance(0);
    await fixture.log.enforceRetention();
  };
  return { fixture, disk, clock, append, compact };
}

/** "offset:key=value" of all records, without the filler. */
async function contents(fixture: LogFixture): Promise<string[]> {
  const found: string[] = [];
  for (let offset = fixture.log.logStartOffset; offset < fixture.log.highWatermark; ) {
    for (const buffer of await fixture.log.read(offset, 10_000, { minOneBatch: true })) {
      for (const { header, bytes } of splitBatches(buffer)) {
        for (const record of readRecords(bytes)) {
          const text = `${record.key}${record.value === null ? "" : `=${record.value}`}`;
          if (!text.startsWith("filler")) found.push(`${record.offset}:${text}`);
        }
        offset = header.baseOffset + BigInt(header.lastOffsetDelta) + 1n;
      }
    }
  }
  return found;
}

describe("compaction", () => {
  test("keeps the last record of each key, where it was", async () => {
    const { fixture, append, compact } = await openCompacted();
    await append(["a=1", "b=1", "a=2"]);
    await append(["c=1"]);
    await append(["b=2", "a=3"]);

    await compact();

    assert.deepEqual(await contents(fixture), ["3:c=1", "4:b=2", "5:a=3"]);
  });

  test("goes on where it left off: what is new replaces what was compacted before", async () => {
    const { fixture, append, compact } = await openCompacted();
    await append(["a=1", "b=1"]);
    await compact();
    await append(["a=2"]);
    await append(["c=1"]);

    await compact();

    assert.deepEqual(
      (await contents(fixture)).map((text) => text.split(":")[1]),
      ["b=1", "a=2", "c=1"],
    );
  });

  for (const compression of ["gzip", "lz4", "snappy", "zstd"] as const) {
    test(`takes records out of batches compressed with ${compression}`, async () => {
      const { fixture, append, compact } = await openCompacted();
      const { loadCodec } = await import("@millrace/protocol");
      await loadCodec(compression);
      await append(["a=1", "b=1", "a=2"], { compression });
      await append(["b=2"], { compression });

      await compact();

      assert.deepEqual(await contents(fixture), ["2:a=2", "3:b=2"]);
    });
  }

  test("keeps a deletion for delete.retention.ms, so that slow readers learn of it", async () => {
    const { fixture, clock, append, compact } = await openCompacted({ deleteRetentionMs: DAY_MS });
    await append(["a=1", "b=1"]);
    await append(["a"]);
    await compact();
    assert.deepEqual(await contents(fixture), ["1:b=1", "2:a"]);

    await clock.advance(DAY_MS - 1);
    await append(["z=1"]);
    await compact();
    assert.ok((await contents(fixture)).includes("2:a"));
    await clock.advance(2);
    await append(["z=2"]);
    await compact();

    assert.ok(!(await contents(fixture)).includes("2:a"));
  });

  test("does not change the timestamps of what stays", async () => {
    const { fixture, append, compact } = await openCompacted();
    await append(["a=1", "b=1", "a"]);

    await compact();

    const [batches] = await fixture.log.read(0n, 60, { minOneBatch: true });
    assert.ok(batches !== undefined);
    assert.deepEqual(
      readRecords(batches).map(({ timestamp }) => timestamp),
      [BigInt(NOW_MS - 1000), BigInt(NOW_MS - 1000)],
    );
  });

  test("keeps an empty batch where a producer's last one was, so that its next sequence is known", async () => {
    const { fixture, append, compact } = await openCompacted();
    await append(["a=1"]);
    await append(["a=2"]);
    await append(["a=3"], { producerId: -1n });
    await compact();

    await fixture.reopen();

    const [batches] = await fixture.log.read(0n, 60, { minOneBatch: true });
    assert.ok(batches !== undefined);
    const header = readBatchHeader(batches);
    assert.deepEqual([header.baseOffset, header.recordCount, header.producerId], [1n, 0, 7n]);
    assert.equal(
      fixture.append([{ key: Buffer.from("a"), value: "2" }], { stamp: producerStamp(7n, 1) }).isDuplicate,
      true,
    );
  });

  test("joins small segments, and every offset can still be asked for", async () => {
    const { fixture, append, compact } = await openCompacted({ segmentBytes: SEGMENT_BYTES });
    for (let index = 0; index < 40; index++) await append([`a=${index}`]);
    await compact();
    await compact();
    const files = (await fixture.fileSystem.list(fixture.directory)).filter((name) => name.endsWith(".log"));

    assert.ok(files.length <= 6, `${files}`);
    for (let offset = 0n; offset < 40n; offset++) {
      const [first] = await fixture.log.read(offset, 60, { minOneBatch: true });
      assert.ok(first !== undefined && readBatchHeader(first).baseOffset >= 39n);
    }
    await fixture.reopen();
    assert.ok((await contents(fixture)).includes("39:a=39"));
  });

  test("leaves a log alone that has not enough new in it", async () => {
    const { fixture, disk, append, compact } = await openCompacted({ minCleanableDirtyRatio: 1 });
    await append(["a=1"]);
    await compact();
    const cleaned = fixture.log.cleanedOffset;
    await append(["a=2"]);
    const syncs = disk.syncCount;

    await fixture.log.enforceRetention();

    assert.ok(disk.syncCount - syncs <= 1);
    assert.equal(fixture.log.cleanedOffset, cleaned);
  });

  test("leaves records alone that are younger than min.compaction.lag.ms", async () => {
    const { fixture, append, compact } = await openCompacted({ minCompactionLagMs: 60_000 });
    await append(["a=1"]);
    await append(["a=2"]);

    await compact();

    assert.deepEqual(await contents(fixture), ["0:a=1", "1:a=2"]);
  });

  test("is not in the way of a read that began before it", async () => {
    const { fixture, disk, append, compact } = await openCompacted({ segmentBytes: 60_000 });
    await append(["a=old", "b=old"]);
    await append(["c=1", `long=${"y".repeat(30_000)}`]);
    await append(["a=new", "b=new"]);
    const offset = 2n;
    const firstRead = createDeferred<void>();
    let isReading = false;
    disk.faults.onRead = (path) => {
      if (isReading || !path.endsWith("00.log")) return undefined;
      isReading = true;
      return firstRead.promise;
    };

    const reading = fixture.log.read(offset, 1000, { minOneBatch: true });
    await waitUntil("the read is under way", () => isReading);
    await append([`filler=${"x".repeat(55_000)}`], { producerId: -1n });
    await compact();
    firstRead.resolve();

    const [batch] = await reading;
    assert.ok(batch);
    assert.deepEqual(
      readRecords(batch).map(({ key }) => `${key}`),
      ["c", "long"],
    );
  });

  test("stops at a damaged batch and loses nothing", async () => {
    const { fixture, append, compact } = await openCompacted();
    await append(["a=1"]);
    await append(["a=2"]);
    const bytes = await fixture.fileSystem.readFile(fixture.logFile());
    bytes[68] = (bytes[68] ?? 0) ^ 1;
    const file = await fixture.fileSystem.open(fixture.logFile(), "readWrite");
    await file.write([bytes], 0);
    await file.close();

    await assert.rejects(compact(), /damaged/);

    assert.deepEqual(await fixture.fileSystem.readFile(fixture.logFile()), bytes);
  });

  test("is whole again after a crash between any two of its steps", async () => {
    const expected = ["3:c=1", "4:b=2", "5:a=3"];
    const before = ["0:a=1", "1:b=1", "2:a=2", ...expected];
    for (let crashAt = 1; ; crashAt++) {
      const inner = new MemoryFileSystem();
      const { fixture, disk, append, compact } = await openCompacted({}, inner);
      await append(["a=1", "b=1", "a=2"]);
      await append(["c=1"]);
      await append(["b=2", "a=3"]);
      let steps = 0;
      disk.faults.onChange = (what) => {
        if (!/cleaned|swap|\.log|index/.test(what)) return;
        steps += 1;
        if (steps >= crashAt) throw new Error(`crashed at ${what}`);
      };
      const hasCrashed = await compact().then(
        () => false,
        () => true,
      );
      disk.faults = {};
      await fixture.reopen();
      const after = await contents(fixture);
      const names = await fixture.fileSystem.list(fixture.directory);

      assert.ok(
        [expected, before].some((possible) => JSON.stringify(possible) === JSON.stringify(after)),
        `crash at step ${crashAt}: ${after}`,
      );
      assert.ok(!names.some((name) => /cleaned|swap/.test(name)), `${names}`);
      if (!hasCrashed) {
        assert.ok(crashAt > 3);
        return;
      }
    }
  });
});
