import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { KafkaCluster, uniqueTopic, waitUntil } from "@millrace/testing";
import { Admin } from "../admin.ts";
import { type ConsumedRecord, Reader } from "../reader.ts";
import { Producer } from "./producer.ts";

const control = process.env.KAFKA_CONTROL;
/** Records sent while leaders die. */
const RECORD_COUNT = Number(process.env.KAFKA_FAULT_RECORDS ?? 200_000);
const KEY_COUNT = 97;
const PARTITIONS = 6;
const PORT = 25_792;
const NODES = [1, 2, 3];
/** Long for a machine that does much else. */
const RECOVERY_LIMIT_MS = 60_000;

suite("a cluster that fails under a producer", {
  skip: control === undefined ? "KAFKA_CONTROL is not set" : false,
}, () => {
  let cluster: KafkaCluster;
  let admin: Admin;

  before(async () => {
    // A broker that was killed is missed, and let in again, after a second instead of nine.
    const settings = ["broker.session.timeout.ms=1000", "broker.heartbeat.interval.ms=300"];
    cluster = await KafkaCluster.start(control ?? "", { nodes: NODES.length, port: PORT, settings });
    admin = new Admin({ bootstrapServers: cluster.bootstrapServers, apiTimeoutMs: RECOVERY_LIMIT_MS });
  });

  after(async () => {
    await admin?.close();
    await cluster?.stop();
  });

  test("leaders are killed and come back: every record is there once, in order per key", async () => {
    const topic = await createTopic("leaders-killed");
    await using producer = new Producer({ bootstrapServers: cluster.bootstrapServers, compressionType: "lz4" });
    let sentCount = 0;
    let failure: unknown = null;
    const sendUntil = async (count: number) => {
      for (; sentCount < count; sentCount++) {
        const value = String(sentCount);
        const { acknowledged } = await producer.produce({ topic, key: `key-${sentCount % KEY_COUNT}`, value });
        acknowledged.catch((error: unknown) => {
          failure ??= error;
        });
      }
    };

    const rounds = 2;
    for (let round = 0; round < rounds; round++) {
      await sendUntil(((2 * round + 1) * RECORD_COUNT) / (2 * rounds));
      const leaderId = await leaderOf(topic, round);
      await Promise.all([cluster.kill(leaderId), sendUntil(((2 * round + 2) * RECORD_COUNT) / (2 * rounds))]);
      await cluster.restart(leaderId);
      await allInSync(topic);
    }
    await producer.flush({ timeoutMs: RECOVERY_LIMIT_MS });

    assert.equal(failure, null);
    assertOnceAndInOrder(await readAll(topic), RECORD_COUNT);
  });

  test("a topic is deleted and created again under a running producer: what is sent next arrives", async () => {
    const topic = await createTopic("made-anew");
    await using producer = new Producer({
      bootstrapServers: cluster.bootstrapServers,
      allowAutoTopicCreation: false,
      // Records that chose a partition which the new topic does not have are given up then.
      deliveryTimeoutMs: 10_000,
      requestTimeoutMs: 5_000,
    });
    await Promise.all(numbered(200).map((value) => producer.send({ topic, key: value, value })));

    await admin.deleteTopics([topic]);
    const during = Promise.allSettled(numbered(50).map((value) => producer.send({ topic, key: value, value })));
    await admin.createTopics([{ name: topic, partitions: 2 }]);
    await during;
    const sent = await Promise.all(
      numbered(200).map((value) => producer.send({ topic, key: value, value: `new ${value}` })),
    );

    assert.ok(sent.every(({ partition }) => partition < 2));
    const values = (await readAll(topic, 2)).map(({ value }) => value?.toString() ?? "");
    assert.deepEqual(
      values.filter((value) => value.startsWith("new ")).sort(),
      numbered(200)
        .map((value) => `new ${value}`)
        .sort(),
    );
  });

  async function createTopic(name: string): Promise<string> {
    const topic = uniqueTopic(name);
    await admin.createTopics([{ name: topic, partitions: PARTITIONS }]);
    return topic;
  }

  async function leaderOf(topic: string, partition: number): Promise<number> {
    return (await admin.describeTopic(topic)).partitions[partition]?.leaderId ?? assert.fail("no such partition");
  }

  async function allInSync(topic: string): Promise<void> {
    const isInSync = async () => {
      const { partitions } = await admin.describeTopic(topic);
      return partitions.every(({ isr }) => isr.length === NODES.length);
    };
    await waitUntil("all replicas are in sync", isInSync, RECOVERY_LIMIT_MS);
  }

  /** All records, partition by partition. */
  async function readAll(topic: string, partitionCount = PARTITIONS): Promise<ConsumedRecord[]> {
    const ends = await admin.listOffsets(topic, "latest");
    const records: ConsumedRecord[] = [];
    for (let partition = 0; partition < partitionCount; partition++) {
      await using reader = new Reader({ bootstrapServers: cluster.bootstrapServers, topic, partition, from: 0n });
      while ((reader.position ?? 0n) < (ends.get(partition)?.offset ?? 0n)) records.push(...(await reader.read()));
    }
    return records;
  }
});

/** Values are numbers in the order in which they were sent. */
function assertOnceAndInOrder(records: readonly ConsumedRecord[], count: number): void {
  const isSeen = new Uint8Array(count);
  const lastOfKey = new Map<string, number>();
  for (const { key, value } of records) {
    const number = Number(value);
    assert.equal(isSeen[number], 0, `record ${number} is there twice`);
    isSeen[number] = 1;
    const name = key?.toString() ?? "";
    assert.ok(number > (lastOfKey.get(name) ?? -1), `record ${number} of ${name} stands behind a later one`);
    lastOfKey.set(name, number);
  }
  assert.equal(records.length, count);
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}
