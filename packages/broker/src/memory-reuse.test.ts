import assert from "node:assert/strict";
import { test } from "node:test";
import { type Random, SeededRandom, tcpNetwork } from "@millrace/base";
import {
  apiVersionsApi,
  createTopicsApi,
  decodeResponseBody,
  encodeRequest,
  FrameSplitter,
  fetchApi,
  isBatchCrcValid,
  produceApi,
  Reader,
  readRecords,
  splitBatches,
} from "@millrace/protocol";
import { recordBatch, type StartedBroker, startBroker, WireClient } from "@millrace/testing";

const TOPIC = "t";
const PARTITIONS = 2;
const SEED = 20_260_101;
const FRAME_LIMIT_BYTES = 16 * 1024 * 1024;
/** On both sides of what has memory of its own, and of what is copied on its way to the disk. */
const VALUE_SIZES = [10, 3_000, 17_000, 60_000, 140_000, 300_000, 530_000];

/** A value that tells what it should be: its size, then the same text over and over. */
function valueNamed(sizeBytes: number, name: string): Buffer {
  return Buffer.alloc(sizeBytes + 10, `${sizeBytes} ${name}; `);
}

function checkBatches(records: Buffer | null | undefined): number {
  let count = 0;
  for (const { bytes } of splitBatches(records ?? Buffer.alloc(0))) {
    assert.ok(isBatchCrcValid(bytes));
    for (const { value } of readRecords(bytes)) {
      const [, sizeBytes, name] = /^(\d+) ([^;]*)/.exec(value?.toString("latin1", 0, 60) ?? "") ?? [];
      assert.ok(value?.equals(valueNamed(Number(sizeBytes), name ?? "")), "a value is as it was sent");
      count += 1;
    }
  }
  return count;
}

function fetchFrom(partition: number, fetchOffset: bigint, maxWaitMs = 20) {
  const partitions = [{ partition, fetchOffset, partitionMaxBytes: 3 << 20 }];
  return { maxWaitMs, minBytes: 1, topics: [{ topic: TOPIC, partitions }] };
}

async function connect({ broker }: StartedBroker): Promise<WireClient> {
  const client = await WireClient.connect(broker.address);
  // Of somebody who has not said anything yet, no large request is taken.
  await client.request(apiVersionsApi, 0, {});
  return client;
}

/** Sends several requests at once; now and then it goes before they are answered. Gives how many were acknowledged. */
async function produceSome(started: StartedBroker, random: Random, name: string): Promise<number> {
  using client = await connect(started);
  const mayLeave = random.float() < 0.3;
  const answers = Array.from({ length: 6 }, async (_, index) => {
    const sizeBytes = VALUE_SIZES[random.integer(VALUE_SIZES.length)] ?? 0;
    const value = valueNamed(sizeBytes, `${name} ${index}`.padEnd(20, "."));
    const records = [recordBatch([{ value }], { baseOffset: 0n })];
    const topicData = [{ name: TOPIC, partitionData: [{ index: index % PARTITIONS, records }] }];
    const { responses } = await client.request(produceApi, 9, {
      acks: index === 1 ? 1 : -1,
      timeoutMs: 1000,
      topicData,
    });
    return responses[0]?.partitionResponses[0]?.errorCode;
  });
  if (mayLeave) {
    await Promise.race(answers);
    client.close();
  }
  const settled = await Promise.allSettled(answers);
  return settled.filter((answer) => answer.status === "fulfilled" && answer.value === 0).length;
}

/** Asks for much at once, and takes it late, or not at all. */
async function readLate(started: StartedBroker, random: Random): Promise<void> {
  const stream = tcpNetwork.connect(started.broker.address);
  const splitter = new FrameSplitter(FRAME_LIMIT_BYTES);
  const requestCount = 16;
  const isLeaving = random.float() < 0.4;
  let answerCount = 0;
  await new Promise<void>((resolve, reject) => {
    const take = (frame: Buffer) => {
      const reader = new Reader(frame);
      reader.int32();
      checkBatches(decodeResponseBody(fetchApi, 11, reader).responses[0]?.partitions[0]?.records);
      answerCount += 1;
      if (answerCount === requestCount) resolve();
    };
    stream.start({
      onOpen() {
        for (let correlationId = 0; correlationId < requestCount; correlationId++) {
          const body = fetchFrom(correlationId % PARTITIONS, BigInt(random.integer(12)), 0);
          stream.write(encodeRequest(fetchApi, 11, { correlationId, clientId: "late" }, body));
        }
        stream.pause();
        setTimeout(() => (isLeaving ? stream.destroy() : stream.resume()), 5 + random.integer(40));
      },
      onData(bytes) {
        try {
          splitter.push(bytes, take);
        } catch (error) {
          reject(error);
        }
      },
      onClose: () => resolve(),
    });
  });
  stream.destroy();
}

/** Follows a partition until it is told to stop; gives how many records there were. */
async function follow(started: StartedBroker, partition: number, isOver: () => boolean): Promise<number> {
  using client = await connect(started);
  for (let offset = 0; ; ) {
    const wasOver = isOver();
    const { responses } = await client.request(fetchApi, 11, fetchFrom(partition, BigInt(offset)));
    const answer = responses[0]?.partitions[0];
    offset += checkBatches(answer?.records);
    if (wasOver && BigInt(offset) === answer?.highWatermark) return offset;
  }
}

test("what is read is what was sent, while memory is used again, clients read late, and clients go", async () => {
  await using started = await startBroker({ fetchMemoryBytes: 32 * 1024 * 1024 });
  const random = new SeededRandom(SEED);
  using client = await connect(started);
  const topic = { name: TOPIC, numPartitions: PARTITIONS, replicationFactor: 1, assignments: [], configs: [] };
  await client.request(createTopicsApi, 7, { topics: [topic] });

  // More than the broker keeps in memory: part of what is read comes from the disk.
  for (let round = 0; round < 24; round++) await produceSome(started, random, `filling ${round}`);

  let isOver = false;
  const followed = Promise.all([0, 0, 1].map((partition) => follow(started, partition, () => isOver)));
  const produced = Promise.all(
    Array.from({ length: 3 }, async (_, worker) => {
      let storedCount = 0;
      for (let round = 0; round < 10; round++) storedCount += await produceSome(started, random, `${worker} ${round}`);
      return storedCount;
    }),
  );
  const readLater = Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let round = 0; round < 4; round++) await readLate(started, random);
    }),
  );
  const [storedCounts] = await Promise.race([Promise.all([produced, readLater]), failureOf(followed)]);
  isOver = true;
  const [first = 0, again = 0, second = 0] = await followed;

  assert.equal(again, first);
  assert.ok(first + second >= storedCounts.reduce((sum, count) => sum + count, 0));
});

/** Never resolves. */
function failureOf(promise: Promise<unknown>): Promise<never> {
  return new Promise((_, reject) => {
    promise.catch(reject);
  });
}
