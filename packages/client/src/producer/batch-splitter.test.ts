import assert from "node:assert/strict";
import { test } from "node:test";
import { RecordBatchBuilder, readBatchHeader } from "@millrace/protocol";
import { splitBatch } from "./batch-splitter.ts";
import { createMessageBatch } from "./message-batch.ts";

const LAST_SEQUENCE = 2 ** 31 - 1;

function batchOf(recordCount: number) {
  const builder = new RecordBatchBuilder(Buffer.alloc(64 * 1024));
  for (let index = 0; index < recordCount; index++) builder.append(index, null, 0, `value ${index}`, null);
  return createMessageBatch({
    topic: "orders",
    partition: 0,
    records: {
      completions: Array.from({ length: recordCount }, () => () => {}),
      slots: null,
      timestampsMs: Array.from({ length: recordCount }, (_, index) => index),
    },
    payload: builder.seal(null),
    createdAtMs: 0,
    ordinal: 0,
    sizeBytes: builder.sizeBytes,
    release: () => {},
  });
}

test("the parts of a batch take its sequences on, over the end of the numbers too", () => {
  const batch = batchOf(10);
  batch.stampWith({ producerId: 1n, producerEpoch: 0, baseSequence: LAST_SEQUENCE - 3 });

  const parts = splitBatch(batch, 64 * 1024);

  let expected = LAST_SEQUENCE - 3;
  for (const { payload, recordCount } of parts) {
    assert.ok(payload !== null);
    assert.equal(readBatchHeader(payload).baseSequence, expected);
    expected = (expected + recordCount) % (LAST_SEQUENCE + 1);
  }
  assert.ok(parts.length > 1);
  assert.equal(expected, 6);
});
