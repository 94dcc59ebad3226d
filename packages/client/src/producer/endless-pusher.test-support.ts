/** A process that pushes records and does not wait for any: how long its sends take, and what memory that costs. */

import { systemClock as clock, sleep } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { Producer } from "./producer.ts";

export interface PushReport {
  /** How sends ended: error codes, and "acknowledged". */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly longestMs: number;
  /** Of the process's resident memory, at most, since the push began. */
  readonly grownBytes: number;
  /** Of bufferMemory, at the end. */
  readonly bufferBytes: number;
}

const WARMING_RECORDS = 5_000;
const RECORDS_A_TURN = 200;
const ATTEMPTS_LIMIT = 300;
const POLL_MS = 10;

const [bootstrapServers = "", topic = "", limits = "{}"] = process.argv.slice(2);
const { deliveryTimeoutMs, requestTimeoutMs, maxBlockMs } = JSON.parse(limits);
const producer = new Producer({ bootstrapServers, deliveryTimeoutMs, requestTimeoutMs, maxBlockMs });
const record = { topic, value: Buffer.alloc(1_000, "v") };
let outcomes: Record<string, number> = {};
let pendingCount = 0;
let longestMs = 0;
let rssBefore = 0;
let rssMax = 0;

await Promise.all(Array.from({ length: WARMING_RECORDS }, () => producer.send(record)));
await turn("push");

rssBefore = process.memoryUsage.rss();
const endMs = clock.nowMs() + 2 * deliveryTimeoutMs;
while (clock.nowMs() < endMs) {
  for (let index = 1; index < RECORDS_A_TURN; index++) void push();
  void pushTimed();
  rssMax = Math.max(rssMax, process.memoryUsage.rss());
  await new Promise<void>((resolve) => clock.defer(resolve));
}
while (pendingCount > 0) await sleep(clock, POLL_MS);
await turn("try again");

outcomes = {};
for (let attempt = 0; attempt < ATTEMPTS_LIMIT && outcomes.acknowledged === undefined; attempt++) await push();
await producer.close();
tell();
process.disconnect();

function push(): Promise<void> {
  pendingCount += 1;
  return producer.send(record).then(onSuccess, onError);
}

async function pushTimed(): Promise<void> {
  const startMs = clock.nowMs();
  await push();
  longestMs = Math.max(longestMs, clock.nowMs() - startMs);
}

// Two functions for all records: what a caller keeps of each would count as the producer's memory.
function onSuccess(): void {
  settled("acknowledged");
}

function onError(error: unknown): void {
  settled(error instanceof KafkaError ? error.code : String(error));
}

function settled(outcome: string): void {
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  pendingCount -= 1;
}

/** Reports, then waits until it is told to go on. */
async function turn(word: string): Promise<void> {
  const told = new Promise<unknown>((resolve) => process.once("message", resolve));
  tell();
  if ((await told) !== word) throw new Error(`expected to be told to ${word}`);
}

function tell(): void {
  const { bufferBytes } = producer.metrics();
  const report: PushReport = { outcomes, longestMs, grownBytes: rssMax - rssBefore, bufferBytes };
  process.send?.(report);
}
