import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { after, before, suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { KafkaCluster, uniqueTopic } from "@millrace/testing";
import { Admin } from "../admin.ts";
import { BufferExhaustedError } from "../errors.ts";
import type { PushReport } from "./endless-pusher.test-support.ts";
import { Producer } from "./producer.ts";

const control = process.env.KAFKA_CONTROL;
const PORT = 26_192;
const NODE = 1;
const MEBIBYTE = 1024 * 1024;
const RECOVERY_LIMIT_MS = 60_000;

/** A process of its own: the test runner keeps something of every promise, and its memory is not the producer's. */
const PUSHER = fileURLToPath(new URL("endless-pusher.test-support.js", import.meta.url));
const PUSH_LIMITS = { deliveryTimeoutMs: 4_000, requestTimeoutMs: 1_500, maxBlockMs: 1_000 };

suite("a broker that falls silent", { skip: control === undefined ? "KAFKA_CONTROL is not set" : false }, () => {
  let cluster: KafkaCluster;
  let admin: Admin;

  before(async () => {
    cluster = await KafkaCluster.start(control ?? "", { nodes: 1, port: PORT });
    admin = new Admin({ bootstrapServers: cluster.bootstrapServers, apiTimeoutMs: RECOVERY_LIMIT_MS });
  });

  after(async () => {
    await admin?.close();
    await cluster?.stop();
  });

  test("a broker that accepts and never answers: deadlines hold, memory stays bounded, and it works again afterwards", async () => {
    const topic = await createTopic("silent");
    // What is alive counts, not the garbage that V8 has not collected: its heap may not grow far.
    const execArgv = ["--max-old-space-size=80"];
    const pusher = fork(PUSHER, [cluster.bootstrapServers, topic, JSON.stringify(PUSH_LIMITS)], { execArgv });
    const told = (what: string) =>
      new Promise<PushReport>((resolve, reject) => {
        pusher.once("message", resolve);
        pusher.once("exit", (code) => reject(new Error(`the pusher ended with ${code} before it was ${what}`)));
      });

    await told("warm");
    await cluster.pause(NODE);
    let report: PushReport;
    try {
      pusher.send("push");
      report = await told("done");
    } finally {
      await cluster.resume(NODE);
    }
    pusher.send("try again");
    const again = await told("through again");

    const { deliveryTimeoutMs, maxBlockMs } = PUSH_LIMITS;
    const grownMiB = report.grownBytes / MEBIBYTE;
    assert.ok(grownMiB < 32 + 100, `grew by ${grownMiB.toFixed(0)} MiB`);
    assert.ok(report.longestMs < deliveryTimeoutMs + maxBlockMs + 1_000, `a send took ${report.longestMs} ms`);
    assert.deepEqual(Object.keys(report.outcomes).sort(), ["BUFFER_EXHAUSTED", "DELIVERY_TIMEOUT"]);
    assert.ok(again.outcomes.acknowledged === 1 && again.bufferBytes === 0);
  });

  test("a full bufferMemory: sends wait, then are told so; those that were buffered arrive", async () => {
    const topic = await createTopic("full");
    await using producer = new Producer({
      bootstrapServers: cluster.bootstrapServers,
      bufferMemory: 256 * 1024,
      maxBlockMs: 500,
    });
    await producer.send({ topic, value: "first" });
    const value = Buffer.alloc(4_000, "v");
    await cluster.pause(NODE);
    let results: PromiseSettledResult<unknown>[];
    try {
      const sends = numbered(200).map((key) => producer.send({ topic, key, value }));
      const settled = Promise.allSettled(sends);
      assert.ok(producer.metrics().waitingRecords > 0);
      assert.ok(producer.metrics().bufferBytes <= 256 * 1024);
      await setTimeout(1_000);
      await cluster.resume(NODE);
      results = await settled;
    } finally {
      await cluster.resume(NODE);
    }

    const errors = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
    assert.ok(errors.length > 0 && errors.length < 200, `${errors.length} failed`);
    assert.ok(errors.every((error) => error instanceof BufferExhaustedError && error.persisted === "no"));
    assert.equal(await recordCountOf(topic), 1 + 200 - errors.length);
  });

  async function createTopic(name: string): Promise<string> {
    const topic = uniqueTopic(name);
    await admin.createTopics([{ name: topic, partitions: 6 }]);
    return topic;
  }

  async function recordCountOf(topic: string): Promise<number> {
    const ends = await admin.listOffsets(topic, "latest");
    return Array.from(ends.values()).reduce((sum, { offset }) => sum + Number(offset), 0);
  }
});

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}
