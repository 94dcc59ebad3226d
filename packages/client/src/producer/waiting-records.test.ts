import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { SeededRandom, VirtualClock } from "@millrace/base";
import type { Completion } from "./completion.ts";
import { StickyPartition } from "./partitioners.ts";
import type { SerializedRecord } from "./record-serializer.ts";
import { TopicQueues } from "./topic-queues.ts";
import { WaitingRecords } from "./waiting-records.ts";

const topic = new TopicQueues("orders", new StickyPartition(1024, new SeededRandom(1)));
let waiting: WaitingRecords;

beforeEach(() => {
  waiting = new WaitingRecords({ maxBlockMs: 60_000, bufferMemory: 1024 * 1024 }, new VirtualClock());
});

function join(): Completion {
  const completion: Completion = { succeed() {}, fail() {} };
  const record: SerializedRecord = {
    partition: 0,
    timestampMs: 0,
    key: null,
    keySizeBytes: 0,
    value: "v",
    headers: null,
    codecId: 0,
    completion,
    slot: 0,
    onBuffered: null,
    partitioner: null,
  };
  waiting.join(topic, record);
  return completion;
}

/** Lets in as many as that, from the front. */
function admit(count: number): void {
  let left = count;
  waiting.admit(() => left-- > 0);
}

async function isResolved(promise: Promise<void>): Promise<boolean> {
  return Promise.race([promise.then(() => true), Promise.resolve().then(() => false)]);
}

test("who waits for all to be let in is told once they are, whoever joins behind them", async () => {
  join();
  join();
  const admitted = waiting.whenAdmitted();
  join();

  admit(1);
  assert.equal(await isResolved(admitted), false);
  admit(1);
  await admitted;
  assert.equal(waiting.count, 1);
});

test("a record that is looked for in the line and not found ends nobody's wait", async () => {
  join();
  const admitted = waiting.whenAdmitted();

  assert.equal(waiting.withdraw({ succeed() {}, fail() {} }), false);

  assert.equal(await isResolved(admitted), false);
  admit(1);
  await admitted;
});

test("a record that joined later and is taken back stands for none of those before it", async () => {
  join();
  const admitted = waiting.whenAdmitted();
  const late = join();

  assert.equal(waiting.withdraw(late), true);

  assert.equal(await isResolved(admitted), false);
  admit(1);
  await admitted;
});

test("the last record of the line that is taken back ends the wait for it", async () => {
  const only = join();
  const admitted = waiting.whenAdmitted();

  waiting.withdraw(only);

  await admitted;
  assert.equal(waiting.count, 0);
});
