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
