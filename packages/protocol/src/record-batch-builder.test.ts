import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isBatchCrcValid, readBatchHeader, readRecords } from "./record-batch.ts";
import {
  NO_PRODUCER,
  RecordBatchBuilder,
  type RecordHeader,
  recordSizeLimitBytes,
  stampBatch,
  type ValueSlices,
} from "./record-batch-builder.ts";

interface Given {
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | string | null;
  readonly headers: readonly RecordHeader[];
}

const bytesOrNull = fc.option(fc.uint8Array({ maxLength: 300 }));
const record: fc.Arbitrary<Given> = fc.record({
  timestampMs: fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 2 ** 45 })),
  key: bytesOrNull,
  value: fc.oneof(
    bytesOrNull,
    fc.string({ unit: "grapheme", maxLength: 200 }),
    fc.string({ unit: "binary", maxLength: 9000 }),
    fc.string({ unit: "binary-ascii", maxLength: 200 }),
  ),
  headers: fc.array(fc.tuple(fc.string({ unit: "grapheme", maxLength: 80 }), bytesOrNull), { maxLength: 4 }),
});

function build(records: readonly Given[]): Buffer {
  const builder = new RecordBatchBuilder(Buffer.alloc(1024 * 1024, 0xee));
  for (const { timestampMs, key, value, headers } of records) {
    assert.ok(builder.append(timestampMs, key, key?.length ?? 0, value, headers));
  }
  const batch = builder.seal(null);
  stampBatch(batch, NO_PRODUCER);
  return batch;
}

test("what is appended is what a reader finds: null, empty, any text and any bytes", () => {
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 20 }), (records) => {
      const batch = build(records);

      assert.ok(isBatchCrcValid(batch));
      assert.deepEqual(
        readRecords(batch).map(({ timestamp, key, value, headers }) => ({ timestamp, key, value, headers })),
        records.map(({ timestampMs, key, value, headers }) => ({
          timestamp: BigInt(timestampMs),
          key: key === null ? null : Buffer.from(key),
          value: value === null ? null : Buffer.from(value),
          headers: headers.map(([name, bytes]) => [
            Buffer.from(name).toString(),
            bytes === null ? null : Buffer.from(bytes),
          ]),
        })),
      );
    }),
  );
});

test("the header counts the records and knows the newest timestamp", () => {
  const batch = build([
    { timestampMs: 2000, key: null, value: "a", headers: [] },
    { timestampMs: 5000, key: null, value: "b", headers: [] },
    { timestampMs: 1000, key: null, value: "c", headers: [] },
  ]);

  const header = readBatchHeader(batch);

  assert.equal(header.recordCount, 3);
  assert.equal(header.lastOffsetDelta, 2);
  assert.equal(header.baseTimestamp, 2000n);
  assert.equal(header.maxTimestamp, 5000n);
  assert.equal(header.sizeBytes, batch.length);
});

test("a record that may not fit is refused and leaves the batch as it was", () => {
  const builder = new RecordBatchBuilder(Buffer.alloc(61 + recordSizeLimitBytes(0, "0123456789", null)));
  assert.ok(builder.append(1, null, 0, "0123456789", null));
  const { sizeBytes } = builder;

  assert.equal(builder.append(2, null, 0, "0123456789", null), false);

  assert.equal(builder.sizeBytes, sizeBytes);
  assert.equal(builder.recordCount, 1);
});

test("a batch goes on in a larger slab where it stopped in the smaller one", () => {
  const builder = new RecordBatchBuilder(Buffer.alloc(200));
  builder.append(1, null, 0, "first", null);

  builder.moveTo(Buffer.alloc(2000));
  builder.append(2, null, 0, "second".repeat(30), null);

  const batch = builder.seal(null);
  stampBatch(batch, NO_PRODUCER);
  assert.deepEqual(
    readRecords(batch).map((found) => found.value?.toString()),
    ["first", "second".repeat(30)],
  );
});

test("only the key's own bytes are written, whatever follows them in its buffer", () => {
  const builder = new RecordBatchBuilder(Buffer.alloc(200));
  builder.append(1, Buffer.from("key and more"), 3, null, null);

  const batch = builder.seal(null);
  stampBatch(batch, NO_PRODUCER);

  assert.equal(readRecords(batch)[0]?.key?.toString(), "key");
});

test("a stamp written anew replaces the old one, CRC and all", () => {
  const batch = build([{ timestampMs: 1, key: null, value: "v", headers: [] }]);

  stampBatch(batch, { producerId: 7n, producerEpoch: 1, baseSequence: 40 });
  stampBatch(batch, { producerId: 7n, producerEpoch: 2, baseSequence: 0 });

  const { producerId, producerEpoch, baseSequence } = readBatchHeader(batch);
  assert.deepEqual([producerId, producerEpoch, baseSequence], [7n, 2, 0]);
  assert.ok(isBatchCrcValid(batch));
});

test("values appended together are the same bytes as each appended by itself", () => {
  const gap = fc.integer({ min: 0, max: 20 });
  const values = fc.array(fc.tuple(gap, fc.uint8Array({ maxLength: 400 })), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(
      values,
      fc.integer({ min: 200, max: 8192 }),
      fc.integer({ min: -5000, max: 70_000 }),
      (given, sizeBytes, delta) => {
        const slices = sliced(given);
        const together = new RecordBatchBuilder(Buffer.alloc(sizeBytes, 0xee));
        const apart = new RecordBatchBuilder(Buffer.alloc(64 * 1024, 0xee));
        for (const builder of [together, apart]) builder.append(1_000_000, null, 0, "first", null);

        const count = together.appendValues(1_000_000 + delta, slices, 0, Number.POSITIVE_INFINITY);

        for (const [, value] of given.slice(0, count)) apart.append(1_000_000 + delta, null, 0, value, null);
        assert.equal(together.recordCount, count + 1);
        assert.equal(together.maxTimestampMs, apart.maxTimestampMs);
        assert.deepEqual(together.seal(null), apart.seal(null));
      },
    ),
  );
});

test("values are appended up to the limit that is asked for, and from the place that is asked for", () => {
  const slices = sliced(Array.from({ length: 20 }, (_, index) => [11, Buffer.alloc(100, index)]));
  const builder = new RecordBatchBuilder(Buffer.alloc(64 * 1024));

  const first = builder.appendValues(0, slices, 3, 250);
  const rest = builder.appendValues(0, slices, 3 + first, Number.POSITIVE_INFINITY);

  assert.equal(first, 3); // 109 bytes each: the third passes the limit, and no other begins
  assert.equal(rest, 14);
  const batch = builder.seal(null);
  stampBatch(batch, NO_PRODUCER);
  assert.deepEqual(
    readRecords(batch).map(({ value }) => value?.[0]),
    Array.from({ length: 17 }, (_, index) => 3 + index),
  );
});

test("of values that do not fit, none is appended", () => {
  const builder = new RecordBatchBuilder(Buffer.alloc(200));

  assert.equal(builder.appendValues(0, sliced([[0, Buffer.alloc(150)]]), 0, Number.POSITIVE_INFINITY), 0);
  assert.equal(builder.recordCount, 0);
});

test("values that grow as they become records are not gone over again and again", () => {
  const { bytes, starts, ends } = sliced(Array.from({ length: 40_000 }, () => [1, Buffer.from("7")]));
  let lookCount = 0;
  const counted = new Proxy(ends, {
    get(target, index) {
      lookCount += 1;
      return Reflect.get(target, index);
    },
  });
  const builder = new RecordBatchBuilder(Buffer.alloc(256 * 1024));

  const count = builder.appendValues(0, { bytes, starts, ends: counted }, 0, Number.POSITIVE_INFINITY);

  assert.ok(count > 20_000);
  assert.ok(lookCount < 50 * count, `${lookCount} looks at ${count} values`);
});

/** The values one behind the other in one piece of memory, each with so many other bytes before it. */
function sliced(given: readonly (readonly [gapBytes: number, value: Uint8Array])[]): ValueSlices {
  const starts: number[] = [];
  const ends: number[] = [];
  let at = 0;
  for (const [gapBytes, { length }] of given) {
    starts.push(at + gapBytes);
    at += gapBytes + length;
    ends.push(at);
  }
  return { bytes: Buffer.concat(given.flatMap(([gapBytes, value]) => [Buffer.alloc(gapBytes), value])), starts, ends };
}
