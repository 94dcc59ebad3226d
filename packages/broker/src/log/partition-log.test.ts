import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createDeferred, MemoryFileSystem, VirtualClock } from "@millrace/base";
import { ATTRIBUTES_AT, CRC_AT, crc32c, KafkaError, RECORD_COUNT_AT, readRecords } from "@millrace/protocol";
import {
  baseOffsets,
  FaultyFileSystem,
  LogFixture,
  numbered,
  producerStamp,
  recordBatch,
  waitUntil,
} from "@millrace/testing";
import { defaultLogSettings } from "./log-settings.ts";

const letters = (count: number) => Array.from({ length: count }, (_, index) => `value ${index}`);
const code = (expected: string) => (error: unknown) => error instanceof KafkaError && error.code === expected;

describe("appending", () => {
  test("gives each batch the offsets behind the last one and reads back what was sent", async () => {
    const fixture = await LogFixture.open();

    const first = fixture.append(["a", "b", "c"]);
    const second = fixture.append(["d"]);
    await second.flushed;

    assert.equal(first.baseOffset, 0n);
    assert.equal(second.baseOffset, 3n);
    assert.deepEqual(await fixture.readAll(), numbered(["a", "b", "c", "d"]));
  });

  test("writes the bytes that were sent, with base offset and leader epoch patched in", async () => {
    const fixture = await LogFixture.open();
    const sent = recordBatch([{ value: "a" }], { baseOffset: 0n });

    await fixture.append(["x"]).flushed;
    await fixture.log.append(Buffer.from(sent), { acks: -1 }).flushed;

    const file = await fixture.fileSystem.readFile(fixture.logFile());
    const written = file.subarray(file.length - sent.length);
    assert.equal(written.readBigInt64BE(0), 1n);
    assert.deepEqual(written.subarray(16), sent.subarray(16));
  });

  test("shows readers only what is synced", async () => {
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const fixture = await LogFixture.open({ fileSystem: disk });
    const sync = createDeferred<void>();
    disk.faults.onSync = () => sync.promise;

    const result = fixture.append(["a"], {}, 1);
    await result.acknowledged;

    assert.equal(fixture.log.logEndOffset, 1n);
    assert.equal(fixture.log.highWatermark, 0n);
    assert.deepEqual(await fixture.log.read(0n, 1000, { minOneBatch: true }), []);
    sync.resolve();
    await result.flushed;
    assert.equal(fixture.log.highWatermark, 1n);
  });

  test("answers many appends with few syncs", async () => {
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const fixture = await LogFixture.open({ fileSystem: disk });
    const syncsBefore = disk.syncCount;

    await fixture.appendEach(letters(500));

    assert.ok(disk.syncCount - syncsBefore <= 3, `${disk.syncCount - syncsBefore} syncs`);
    assert.deepEqual(await fixture.readAll(), numbered(letters(500)));
  });

  test("writes the next batches while the last ones are being synced, and syncs them together", async () => {
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const fixture = await LogFixture.open({ fileSystem: disk });
    const firstSync = createDeferred<void>();
    let syncs = 0;
    disk.faults.onSync = () => (++syncs === 1 ? firstSync.promise : undefined);

    const first = fixture.append(["a"]);
    await waitUntil("the first sync begins", () => syncs === 1);
    const second = fixture.append(["b"], {}, 1);
    await second.acknowledged;
    const third = fixture.append(["c"], {}, 1);
    await third.acknowledged;
    firstSync.resolve();
    await Promise.all([first.flushed, second.flushed, third.flushed]);

    assert.equal(syncs, 2);
  });

  test("tells listeners when readers can see more, until they leave", async () => {
    const fixture = await LogFixture.open();
    const seen: bigint[] = [];
    const leave = fixture.log.onFlushed(() => seen.push(fixture.log.highWatermark));

    await fixture.append(["a"]).flushed;
    leave();
    await fixture.append(["b"]).flushed;

    assert.deepEqual(seen, [1n]);
  });

  test("puts the broker's time into batches of a topic with LogAppendTime", async () => {
    const clock = new VirtualClock(1_800_000_000_000);
    const fixture = await LogFixture.open({ clock, settings: { messageTimestampType: "LogAppendTime" } });

    const result = fixture.append([{ value: "a", timestamp: 5 }]);
    await clock.runUntil(result.flushed, 1000);

    assert.equal(result.logAppendTimeMs, 1_800_000_000_000n);
    assert.deepEqual(await fixture.log.offsetForTimestamp(1_700_000_000_000n), {
      offset: 0n,
      timestamp: 1_800_000_000_000n,
    });
  });

  test("refuses more bytes than may wait for the disk, as something to try again", async () => {
    const fixture = await LogFixture.open({ settings: { queuedBytesLimit: 1000 } });

    const taken = fixture.append(["x".repeat(900)]);
    assert.throws(() => fixture.append(["y".repeat(900)]), code("KAFKA_STORAGE_ERROR"));
    await taken.flushed;
    await fixture.append(["y".repeat(900)]).flushed;

    assert.equal(fixture.log.highWatermark, 2n);
  });

  for (const flush of ["interval", "os"] as const) {
    test(`acknowledges the write, not the sync, in flush mode ${flush}`, async () => {
      const disk = new FaultyFileSystem(new MemoryFileSystem());
      const fixture = await LogFixture.open({ fileSystem: disk, settings: { flush } });
      disk.faults.onSync = () => new Promise(() => {});

      await fixture.append(["a"]).flushed;

      assert.equal(fixture.log.highWatermark, 1n);
    });
  }

  test("shows all that is written as soon as its flush mode no longer waits for the disk", async () => {
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const settings = { ...defaultLogSettings, segmentBytes: 200, messageTimestampAfterMaxMs: -1 };
    const fixture = await LogFixture.open({ fileSystem: disk, settings, tailCacheBytes: 0 });
    disk.faults.onSync = () => new Promise(() => {});
    for (const value of ["a", "b", "c", "d"]) await fixture.append([value], {}, 1).acknowledged;
    assert.equal(fixture.log.highWatermark, 0n);

    fixture.log.applySettings({ ...settings, flush: "os" });

    assert.deepEqual(await fixture.readAll(), numbered(["a", "b", "c", "d"]));
  });

  test("syncs in flush mode interval when the time has come, or the bytes", async () => {
    const clock = new VirtualClock();
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const settings = { flush: "interval", flushIntervalMs: 100, flushIntervalBytes: 1000 } as const;
    const fixture = await LogFixture.open({ fileSystem: disk, clock, settings });
    const syncsBefore = disk.syncCount;

    await clock.runUntil(fixture.append(["a"]).flushed, 10);
    assert.equal(disk.syncCount, syncsBefore);
    await clock.advance(100);
    assert.equal(disk.syncCount, syncsBefore + 1);
    await clock.runUntil(fixture.append(["x".repeat(1000)]).flushed, 10);
    await clock.advance(0);
    assert.equal(disk.syncCount, syncsBefore + 2);
  });
});

describe("a batch is refused", () => {
  const batch = () => recordBatch([{ value: "a" }], { baseOffset: 0n });
  const cases: readonly (readonly [what: string, code: string, make: () => Buffer])[] = [
    ["when its checksum is wrong", "CORRUPT_MESSAGE", () => flipped(batch(), 65)],
    ["when it is cut off", "CORRUPT_MESSAGE", () => batch().subarray(0, 66)],
    ["when it is shorter than a header", "CORRUPT_MESSAGE", () => Buffer.alloc(10)],
    ["when a second one follows it", "INVALID_RECORD", () => Buffer.concat([batch(), batch()])],
    ["when it has an older format", "INVALID_RECORD", () => withByte(batch(), 16, 1)],
    ["when its base offset is not 0", "INVALID_RECORD", () => recordBatch([{ value: "a" }], { baseOffset: 7n })],
    [
      "when its offsets are more than its records",
      "INVALID_RECORD",
      () => recordBatch([{ value: "a" }], { baseOffset: 0n, lastOffsetDelta: 4 }),
    ],
    [
      "when it claims more records than its bytes can hold: the offsets would be lost",
      "INVALID_RECORD",
      () => {
        const claimed = recordBatch([{ value: "a" }], { baseOffset: 0n, lastOffsetDelta: 2 ** 31 - 2 });
        claimed.writeInt32BE(2 ** 31 - 1, RECORD_COUNT_AT);
        claimed.writeUInt32BE(crc32c(claimed.subarray(ATTRIBUTES_AT)), CRC_AT);
        return claimed;
      },
    ],
    [
      "when it is a control batch of a client",
      "INVALID_RECORD",
      () => recordBatch([{ value: "a" }], { baseOffset: 0n, isControl: true }),
    ],
    [
      "when a producer gives no sequence",
      "INVALID_RECORD",
      () => recordBatch([{ value: "a" }], { baseOffset: 0n, stamp: producerStamp(1n, -1) }),
    ],
    [
      "when it belongs to a transaction that was not begun",
      "INVALID_TXN_STATE",
      () => recordBatch([{ value: "a" }], { baseOffset: 0n, isTransactional: true, stamp: producerStamp(1n, 0) }),
    ],
    [
      "when it is larger than max.message.bytes",
      "MESSAGE_TOO_LARGE",
      () => recordBatch([{ value: "x".repeat(2000) }], { baseOffset: 0n }),
    ],
  ];
  for (const [what, expected, make] of cases) {
    test(`${what}, with ${expected}, and nothing is appended`, async () => {
      const fixture = await LogFixture.open({ settings: { maxMessageBytes: 1000 } });

      assert.throws(() => fixture.log.append(make(), { acks: -1 }), code(expected));

      assert.equal(fixture.log.logEndOffset, 0n);
    });
  }

  test("when it is larger than a segment", async () => {
    const fixture = await LogFixture.open({ settings: { segmentBytes: 100 } });

    assert.throws(() => fixture.append(["x".repeat(100)]), code("RECORD_LIST_TOO_LARGE"));
  });

  test("when its timestamps are further ahead than the topic allows", async () => {
    const fixture = await LogFixture.open({ settings: { messageTimestampAfterMaxMs: 1000 } });

    assert.throws(() => fixture.append([{ value: "a", timestamp: Date.now() + 60_000 }]), code("INVALID_TIMESTAMP"));
  });

  test("when a record without a key comes for a compacted topic", async () => {
    const fixture = await LogFixture.open({ settings: { cleanupPolicy: "compact" } });

    assert.throws(() => fixture.append(["a"]), code("INVALID_RECORD"));
    fixture.append([{ key: Buffer.from("k"), value: "a" }]);
  });
});

describe("an idempotent producer", () => {
  test("gets the original's offset for each of its last five batches", async () => {
    const fixture = await LogFixture.open();
    for (let sequence = 0; sequence < 6; sequence++) fixture.append(["a"], { stamp: producerStamp(7n, sequence) });

    const results = [1, 2, 3, 4, 5].map((sequence) => fixture.append(["a"], { stamp: producerStamp(7n, sequence) }));

    assert.deepEqual(
      results.map(({ baseOffset, isDuplicate }) => [baseOffset, isDuplicate]),
      [1n, 2n, 3n, 4n, 5n].map((offset) => [offset, true]),
    );
    assert.equal(fixture.log.logEndOffset, 6n);
  });

  test("gets OUT_OF_ORDER_SEQUENCE_NUMBER for a retry that is older, and for a gap", async () => {
    const fixture = await LogFixture.open();
    for (let sequence = 0; sequence < 6; sequence++) fixture.append(["a"], { stamp: producerStamp(7n, sequence) });

    assert.throws(() => fixture.append(["a"], { stamp: producerStamp(7n, 0) }), code("OUT_OF_ORDER_SEQUENCE_NUMBER"));
    assert.throws(() => fixture.append(["a"], { stamp: producerStamp(7n, 7) }), code("OUT_OF_ORDER_SEQUENCE_NUMBER"));
  });

  test("waits with a retry for the sync of the original", async () => {
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const fixture = await LogFixture.open({ fileSystem: disk });
    const sync = createDeferred<void>();
    disk.faults.onSync = () => sync.promise;
    const original = fixture.append(["a"], { stamp: producerStamp(7n, 0) }, 1);
    await original.acknowledged;

    const retry = fixture.append(["a"], { stamp: producerStamp(7n, 0) });
    let isAcknowledged = false;
    void retry.acknowledged.then(() => {
      isAcknowledged = true;
    });
    await new Promise(setImmediate);
    assert.equal(isAcknowledged, false);
    sync.resolve();
    await retry.acknowledged;

    assert.equal(fixture.log.highWatermark, 1n);
  });

  test("may begin with any sequence where it is not known", async () => {
    const fixture = await LogFixture.open();

    assert.equal(fixture.append(["a"], { stamp: producerStamp(7n, 41) }).isDuplicate, false);
  });

  test("begins a new epoch with sequence 0, after which the old epoch is refused", async () => {
    const fixture = await LogFixture.open();
    fixture.append(["a"], { stamp: producerStamp(7n, 0, 3) });

    assert.throws(
      () => fixture.append(["a"], { stamp: producerStamp(7n, 1, 4) }),
      code("OUT_OF_ORDER_SEQUENCE_NUMBER"),
    );
    fixture.append(["a"], { stamp: producerStamp(7n, 0, 4) });
    assert.throws(() => fixture.append(["a"], { stamp: producerStamp(7n, 1, 3) }), code("INVALID_PRODUCER_EPOCH"));
  });

  test("goes on with 0 behind the largest sequence", async () => {
    const fixture = await LogFixture.open();
    fixture.append(["a", "b"], { stamp: producerStamp(7n, 2 ** 31 - 2) });

    assert.equal(fixture.append(["c"], { stamp: producerStamp(7n, 0) }).baseOffset, 2n);
  });

  test("is forgotten once it was silent for long enough", async () => {
    const clock = new VirtualClock();
    const fixture = await LogFixture.open({ clock, settings: { producerIdExpirationMs: 1000 } });
    fixture.append(["a"], { stamp: producerStamp(7n, 0) });

    await clock.advance(2000);
    await fixture.log.enforceRetention();

    assert.equal(fixture.append(["a"], { stamp: producerStamp(7n, 9) }).isDuplicate, false);
  });
});

describe("reading", () => {
  const sources = [
    ["from memory", {}],
    ["from the disk", { tailCacheBytes: 0 }],
    ["from the disk with one handle for many segments", { tailCacheBytes: 0, readHandleLimit: 1 }],
    ["from memory that holds only the end", { tailCacheBytes: 3000 }],
  ] as const;
  for (const [source, options] of sources) {
    test(`gives every record from every offset, however few bytes are asked for, ${source}`, async () => {
      const fixture = await LogFixture.open({ ...options, settings: { segmentBytes: 2000, indexIntervalBytes: 200 } });
      const values = letters(60);
      for (let index = 0; index < values.length; index += 3)
        await fixture.append(values.slice(index, index + 3)).flushed;

      for (const maxBytes of [1, 150, 700, 100_000]) {
        for (let offset = 0; offset < values.length; offset += 7) {
          assert.deepEqual(await fixture.readAll(BigInt(offset), maxBytes), numbered(values).slice(offset));
        }
      }
    });

    test(`returns the whole batch that holds the offset, and within the bytes if told so, ${source}`, async () => {
      const fixture = await LogFixture.open(options);
      await fixture.append(["a", "b", "c"]).flushed;
      await fixture.append(["d"]).flushed;

      assert.deepEqual(baseOffsets(await fixture.log.read(1n, 10_000, { minOneBatch: false })), [0n, 3n]);
      assert.deepEqual(baseOffsets(await fixture.log.read(1n, 1, { minOneBatch: true })), [0n]);
      assert.deepEqual(await fixture.log.read(1n, 1, { minOneBatch: false }), []);
      assert.deepEqual(baseOffsets(await fixture.log.read(0n, 10_000, { minOneBatch: true, maxOffset: 3n })), [0n]);
    });
  }

  for (const [source, tailCacheBytes] of [
    ["from memory", 100_000],
    ["from the disk", 0],
  ] as const) {
    test(`leaves alone what a reader has not released, however much is read after it, ${source}`, async () => {
      const fixture = await LogFixture.open({ tailCacheBytes });
      const values = letters(40).map((letter) => letter.padEnd(200_000, "."));
      const releases: (() => void)[] = [];
      const read = (index: number, onRelease: (release: () => void) => void) =>
        fixture.log.read(BigInt(index), 1, { minOneBatch: true, onRelease });
      const valueIn = (batches: readonly Buffer[]) => readRecords(Buffer.concat(batches))[0]?.value?.toString();

      await fixture.appendEach(values.slice(0, 1));
      const kept = await read(0, () => {});
      for (let index = 1; index < values.length; index++) {
        await fixture.append(values.slice(index, index + 1)).flushed;
        assert.equal(valueIn(await read(index, (release) => releases.push(release))), values[index]);
        for (const release of releases.splice(0)) release();
      }

      assert.equal(valueIn(kept), values[0]);
    });
  }

  test("ends quietly at the end of the log and is refused outside of it", async () => {
    const fixture = await LogFixture.open();
    await fixture.append(["a"]).flushed;

    assert.deepEqual(await fixture.log.read(1n, 1000, { minOneBatch: true }), []);
    await assert.rejects(fixture.log.read(2n, 1000, { minOneBatch: true }), code("OFFSET_OUT_OF_RANGE"));
    await assert.rejects(fixture.log.read(-1n, 1000, { minOneBatch: true }), code("OFFSET_OUT_OF_RANGE"));
  });
});

function flipped(bytes: Buffer, at: number): Buffer {
  return withByte(bytes, at, (bytes[at] ?? 0) ^ 0xff);
}

function withByte(bytes: Buffer, at: number, value: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at] = value;
  return changed;
}
