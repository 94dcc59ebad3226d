// An embedded broker, a producer and a reader in one process.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Broker } from "@millrace/broker";
import { Producer, Reader } from "@millrace/client";

const dataDir = await mkdtemp(join(tmpdir(), "packed-project-"));
const broker = await Broker.open({ dataDir, port: 0 });
const bootstrapServers = `${broker.address.host}:${broker.address.port}`;
const producer = new Producer({ bootstrapServers });
try {
  const { topic, partition, offset } = await producer.send({ topic: "orders", key: "user-1", value: "paid" });
  const reader = new Reader({ bootstrapServers, topic, partition, from: offset });
  const [record] = await reader.read();
  await reader.close();
  assert.equal(record.key.toString(), "user-1");
  assert.equal(record.value.toString(), "paid");
  console.log(`read back from ${topic}-${partition} at offset ${offset}: ${record.value}`);
} finally {
  await producer.close();
  await broker.close();
  await rm(dataDir, { recursive: true });
}
