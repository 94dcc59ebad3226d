import assert from "node:assert/strict";
import { test } from "node:test";
import { BufferPool } from "./buffer-pool.ts";

const KIBIBYTE = 1024;
const MEBIBYTE = 1024 * KIBIBYTE;

test("memory that was given back is used again, for bytes of about as many", () => {
  const pool = new BufferPool(MEBIBYTE);
  const first = pool.take(100 * KIBIBYTE);

  pool.give(first.subarray(5, 10));

  assert.notEqual(pool.take(20 * KIBIBYTE).buffer, first.buffer);
  const second = pool.take(90 * KIBIBYTE);
  assert.equal(second.buffer, first.buffer);
  assert.equal(second.length, 90 * KIBIBYTE);
});

test("memory that is in use, or given back twice, is nobody else's", () => {
  const pool = new BufferPool(MEBIBYTE);
  const first = pool.take(100 * KIBIBYTE);
  assert.notEqual(pool.take(100 * KIBIBYTE).buffer, first.buffer);

  pool.give(first);
  pool.give(first);

  assert.equal(pool.take(100 * KIBIBYTE).buffer, first.buffer);
  assert.notEqual(pool.take(100 * KIBIBYTE).buffer, first.buffer);
});

test("bytes from elsewhere, and what is too small or too large, are left alone", () => {
  const pool = new BufferPool(MEBIBYTE, 512 * KIBIBYTE);
  for (const bytes of [Buffer.alloc(128 * KIBIBYTE), pool.take(10 * KIBIBYTE), pool.take(MEBIBYTE)]) {
    pool.give(bytes);

    // Node cuts small buffers from a shared piece of memory.
    const next = pool.take(bytes.length);
    assert.ok(next.buffer !== bytes.buffer || next.byteOffset !== bytes.byteOffset);
  }
});

test("more than the limit is not kept", () => {
  const pool = new BufferPool(256 * KIBIBYTE);
  const taken = Array.from({ length: 4 }, () => pool.take(128 * KIBIBYTE));

  for (const bytes of taken) pool.give(bytes);

  const again = new Set(taken.map(() => pool.take(128 * KIBIBYTE).buffer));
  assert.equal(taken.filter(({ buffer }) => again.has(buffer)).length, 2);
});
