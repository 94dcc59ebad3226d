import assert from "node:assert/strict";
import { test } from "node:test";
import { BatchMemory } from "./batch-memory.ts";

const KIBIBYTE = 1024;
const batch = (sizeBytes: number, byte: number) => Buffer.alloc(sizeBytes, byte);

/** Fills slabs one after the other and lets go of everything, until the place of the first piece comes again. */
function fillUntilReused(memory: BatchMemory, first: Buffer): boolean {
  for (let count = 0; count < 100; count++) {
    for (const piece of memory.gather([batch(400 * KIBIBYTE, 9)])) {
      if (piece.bytes.buffer === first.buffer && piece.bytes.byteOffset === first.byteOffset) return true;
      piece.release();
    }
  }
  return false;
}

test("batches that are written together lie one behind the other, whole, whatever their sizes", () => {
  const memory = new BatchMemory();
  const batches = [100, 600 * KIBIBYTE, 400 * KIBIBYTE, 500 * KIBIBYTE, 300 * KIBIBYTE, 1].map(batch);

  const pieces = memory.gather(batches);

  assert.deepEqual(Buffer.concat(pieces.map(({ bytes }) => bytes)), Buffer.concat(batches));
  assert.ok(pieces.length < batches.length);
});

test("memory that everybody has released takes other batches", () => {
  const memory = new BatchMemory();
  const [piece] = memory.gather([batch(400 * KIBIBYTE, 1)]);
  assert.ok(piece);

  piece.release();

  assert.equal(fillUntilReused(memory, piece.bytes), true);
});

test("memory that is still held, also by one of several, is never written over", () => {
  for (const holders of [1, 2]) {
    const memory = new BatchMemory();
    const [piece] = memory.gather([batch(400 * KIBIBYTE, 1)]);
    assert.ok(piece);
    if (holders === 2) {
      piece.hold();
      piece.release();
    }

    assert.equal(fillUntilReused(memory, piece.bytes), false);
    assert.ok(piece.bytes.every((byte) => byte === 1));
  }
});
