import assert from "node:assert/strict";
import { test } from "node:test";
import { Producer, Reader } from "@millrace/client";
import { type ServeProcess, serveMillrace, temporaryFolder, waitUntil } from "@millrace/testing";

const KILLS = Number(process.env.MILLRACE_TEST_KILLS ?? 4);
const PARTITIONS = 3;
/** Acknowledged between two kills: enough that several segments of the log's tail are in doubt at each. */
const RECORDS_BETWEEN = 300;

test("what was acknowledged is there, in order and once, however often the server is killed", async () => {
  const folder = await temporaryFolder();
  let server: ServeProcess = await serveMillrace(["--data-dir", folder.path, ...ports("127.0.0.1:0", "127.0.0.1:0")]);
  const { kafka, http } = server.ready;
  const bootstrapServers = kafka ?? "";
  const producer = new Producer({ bootstrapServers });
  const acknowledged: (bigint | undefined)[][] = Array.from({ length: PARTITIONS }, () => []);
  let acknowledgedCount = 0;
  let isWriting = true;
  const failures: unknown[] = [];
  try {
    // Each writer keeps several records of its partition on their way, so that batches are in flight at each kill.
    const writers = acknowledged.flatMap((offsets, partition) =>
      Array.from({ length: 10 }, async () => {
        while (isWriting) {
          const index = offsets.push(undefined) - 1;
          try {
            const { offset } = await producer.send({ topic: "kill", partition, value: `${partition}:${index}` });
            offsets[index] = offset;
            acknowledgedCount += 1;
          } catch (error) {
            failures.push(error);
            return;
          }
        }
      }),
    );
    for (let kill = 0; kill < KILLS; kill++) {
      const before = acknowledgedCount;
      await waitUntil("records are acknowledged", () => acknowledgedCount >= before + RECORDS_BETWEEN, 20_000);
      await server.stop("SIGKILL");
      server = await serveMillrace(["--data-dir", folder.path, ...ports(bootstrapServers, http)]);
    }
    isWriting = false;
    await Promise.all(writers);

    assert.deepEqual(failures, []);
    for (const [partition, offsets] of acknowledged.entries()) {
      const read = await readAll(bootstrapServers, partition);
      const expected = offsets.map((_, index) => `${partition}:${index}`);
      assert.deepEqual(
        read.map(({ value }) => value),
        expected,
      );
      assert.deepEqual(
        read.map(({ offset }) => offset),
        offsets,
      );
    }
  } finally {
    isWriting = false;
    await producer.close({ timeoutMs: 0 }).catch(() => {});
    await server.stop("SIGKILL");
    await folder.remove();
  }
});

function ports(kafka: string, http: string): string[] {
  return ["--kafka", kafka, "--http", http];
}

async function readAll(bootstrapServers: string, partition: number) {
  const reader = new Reader({ bootstrapServers, topic: "kill", partition, from: "earliest", maxWaitMs: 50 });
  const read: { readonly value: string; readonly offset: bigint }[] = [];
  try {
    do {
      const records = await reader.read();
      read.push(...records.map(({ value, offset }) => ({ value: value?.toString() ?? "", offset })));
    } while (reader.position !== reader.highWatermark);
    return read;
  } finally {
    await reader.close();
  }
}
