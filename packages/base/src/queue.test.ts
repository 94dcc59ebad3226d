import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BoundedQueue } from "./queue.ts";

test("a queue gives back what was put in, first in first out", () => {
  const queue = new BoundedQueue<string>(10);

  queue.push("a");
  queue.push("b");

  assert.equal(queue.peek(), "a");
  assert.equal(queue.length, 2);
  assert.deepEqual([queue.shift(), queue.shift(), queue.shift()], ["a", "b", undefined]);
  assert.equal(queue.peek(), undefined);
});

test("a full queue takes nothing more until something leaves", () => {
  const queue = new BoundedQueue<number>(2);

  assert.deepEqual([queue.push(1), queue.push(2), queue.push(3)], [true, true, false]);
  assert.equal(queue.isFull, true);

  queue.shift();
  assert.equal(queue.push(4), true);
  assert.deepEqual([...queue], [2, 4]);
});

test("a queue of no items is a mistake", () => {
  assert.throws(() => new BoundedQueue(0), /must be positive/);
});

test("a queue does what a list does, however it grows and wraps", () => {
  const limit = 100;
  fc.assert(
    fc.property(fc.array(fc.option(fc.integer()), { maxLength: 500 }), (steps) => {
      const queue = new BoundedQueue<number>(limit);
      const list: number[] = [];

      for (const step of steps) {
        if (step === null) assert.equal(queue.shift(), list.shift());
        else {
          assert.equal(queue.push(step), list.length < limit);
          if (list.length < limit) list.push(step);
        }
        assert.equal(queue.length, list.length);
        assert.equal(queue.peek(), list[0]);
      }
      assert.deepEqual([...queue], list);
    }),
  );
});
