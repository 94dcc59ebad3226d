import assert from "node:assert/strict";
import { test } from "node:test";
import { murmur2 } from "./murmur2.ts";

/** Apache Kafka's UtilsTest.testMurmur2, then librdkafka's unittest_murmur2. */
const published: readonly (readonly [key: string, hash: number])[] = [
  ["21", -973932308],
  ["foobar", -790332482],
  ["abc", 479470107],
  ["a-little-bit-long-string", -985981536],
  ["a-little-bit-longer-string", -1486304829],
  ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
  ["kafka", 0xd067cf64 | 0],
  ["giberish123456789", 0x8f552b0c | 0],
  ["1234", 0x9fc97b14 | 0],
  ["234", 0xe7c009ca | 0],
  ["34", 0x873930da | 0],
  ["4", 0x5a4b5ca1],
  ["", 0x106e08d9],
];

for (const [key, hash] of published) {
  test(`murmur2 of "${key}" is what Kafka computes`, () => {
    assert.equal(murmur2(Buffer.from(key)), hash);
  });
}

test("a key goes to the partition that Kafka sends it to", () => {
  const key = Buffer.from("fd7af248-ce5c-46a5-93d7-1c0c9005b99d");

  assert.equal((murmur2(key) & 0x7fffffff) % 32, 26);
});
