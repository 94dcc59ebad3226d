import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededRandom, VirtualClock } from "@millrace/base";
import {
  bindPartitioner,
  crc32Partition,
  murmur2Partition,
  type PartitionedTopic,
  STICKY,
  type StickyCandidate,
  StickyPartition,
} from "./partitioners.ts";

const random = new SeededRandom(7);

function topicOf(partitionCount: number, available?: readonly number[]): PartitionedTopic {
  const all = Array.from({ length: partitionCount }, (_, partition) => partition);
  return { name: "orders", partitionCount, availablePartitions: () => available ?? all };
}

function choose(
  type: Parameters<typeof bindPartitioner>[0],
  topic: PartitionedTopic,
  key: string | null,
  value = "v",
): number {
  const bytes = key === null ? null : Buffer.from(key);
  return bindPartitioner(type, random).partition(topic, bytes, bytes?.length ?? 0, value);
}

test("default places keys as Java's client does and leaves keyless records to the sticky choice", () => {
  assert.equal(choose("default", topicOf(32), "fd7af248-ce5c-46a5-93d7-1c0c9005b99d"), 26);
  assert.equal(choose("default", topicOf(6), null), STICKY);
});

test("the sign bit is cleared, not the absolute value taken", () => {
  // murmur2("21") is -973932308; Java: (hash & 0x7fffffff) % 6
  assert.equal(murmur2Partition(Buffer.from("21"), 6), (-973932308 & 0x7fffffff) % 6);
});

test("an empty key is a key", () => {
  assert.equal(choose("default", topicOf(6), ""), (0x106e08d9 & 0x7fffffff) % 6);
});

test("key_hash refuses a record without a key", () => {
  assert.throws(() => choose("key_hash", topicOf(6), null), /needs a key/);
  assert.equal(choose("key_hash", topicOf(6), "k"), choose("default", topicOf(6), "k"));
});

test("round_robin takes each available partition in turn and no notice of keys", () => {
  const partitioner = bindPartitioner("round_robin", random);
  const topic = topicOf(6, [1, 3, 5]);

  const chosen = Array.from({ length: 6 }, () => partitioner.partition(topic, Buffer.from("same"), 4, "v"));

  assert.deepEqual(chosen, [1, 3, 5, 1, 3, 5]);
});

test("consistent is librdkafka's CRC-32 of the key", () => {
  // CRC-32 of "123456789" is 0xcbf43926, the check value of the algorithm.
  assert.equal(crc32Partition(Buffer.from("123456789"), 1000), 0xcbf43926 % 1000);
  assert.equal(choose("consistent", topicOf(7), null), choose("consistent", topicOf(7), ""));
});

test("consistent_random takes an empty key for no key, murmur2_random does not", () => {
  const partitions = new Set(Array.from({ length: 50 }, () => choose("consistent_random", topicOf(6), "")));
  assert.ok(partitions.size > 1);
  const fixed = new Set(Array.from({ length: 50 }, () => choose("murmur2_random", topicOf(6), "")));
  assert.equal(fixed.size, 1);
});

test("a function of the caller's own sees the bytes and the partitions", () => {
  const seen: unknown[] = [];
  const partitioner = (...args: unknown[]) => {
    seen.push(args);
    return 2;
  };

  assert.equal(choose(partitioner, topicOf(3, [0, 2]), "k", "premium"), 2);

  assert.deepEqual(seen, [["orders", Buffer.from("k"), Buffer.from("premium"), 3, [0, 2]]]);
});

test("a choice outside the topic is an error, not a wrong partition", () => {
  assert.throws(() => choose(() => 3, topicOf(3), "k"), /chose 3 for orders, which has 3 partitions/);
  assert.throws(() => choose({ partition: () => 1.5 }, topicOf(3), "k"), /chose 1.5/);
});

test("the sticky choice stays for batchSize bytes and leaves after twice as many", () => {
  const sticky = new StickyPartition(1000, new SeededRandom(1));
  const candidates = Array.from({ length: 6 }, () => candidate({}));
  const first = sticky.current(candidates);

  sticky.produced(999);
  assert.equal(sticky.isDone, false);
  sticky.produced(1);
  assert.equal(sticky.isDone, true);
  assert.equal(sticky.current(candidates), first);
  sticky.produced(1000);

  const next = Array.from({ length: 20 }, () => {
    const partition = sticky.current(candidates);
    sticky.leave();
    return partition;
  });
  assert.ok(new Set(next).size > 1);
});

test("the sticky choice avoids partitions without a leader, and those with long queues are rarer", () => {
  const sticky = new StickyPartition(1000, new SeededRandom(1));
  const candidates = [candidate({ hasLeader: false }), candidate({ queuedBatchCount: 9 }), candidate({})];
  const counts = [0, 0, 0];

  for (let draw = 0; draw < 1100; draw++) {
    const partition = sticky.current(candidates);
    counts[partition] = (counts[partition] ?? 0) + 1;
    sticky.leave();
  }

  assert.equal(counts[0], 0);
  assert.ok((counts[1] ?? 0) > 0 && (counts[1] ?? 0) < 250, `drawn ${counts[1]} of 1100 times`);
});

test("the sticky choice leaves out a broker that keeps records waiting, unless there is no other", async () => {
  const clock = new VirtualClock();
  await clock.advance(10_000);
  const sticky = new StickyPartition(1000, new SeededRandom(1), { clock, timeoutMs: 500 });
  const slow = [candidate({ leaderId: 1, waitingSinceMs: 9_000 }), candidate({ leaderId: 1 })];
  const drawn = (candidates: readonly StickyCandidate[]) =>
    new Set(
      Array.from({ length: 50 }, () => {
        sticky.leave();
        return sticky.current(candidates);
      }),
    );

  assert.deepEqual([...drawn([...slow, candidate({ leaderId: 2, waitingSinceMs: 9_900 })])], [2]);
  assert.equal(drawn(slow).size, 2);
});

function candidate(rest: Partial<StickyCandidate>): StickyCandidate {
  return { hasLeader: true, leaderId: 1, queuedBatchCount: 0, waitingSinceMs: Number.POSITIVE_INFINITY, ...rest };
}
