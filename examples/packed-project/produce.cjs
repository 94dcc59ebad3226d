// The same with require(), for projects that are CommonJS.
const assert = require("node:assert/strict");
const { mkdtemp, rm } = require("node:fs/promises");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { Broker } = require("@millrace/broker");
const { Producer, Reader } = require("@millrace/client");

async function main() {
  const dataDir = await mkdtemp(join(tmpdir(), "packed-project-"));
  const broker = await Broker.open({ dataDir, port: 0 });
  const bootstrapServers = `${broker.address.host}:${broker.address.port}`;
  const producer = new Producer({ bootstrapServers });
  try {
    const { topic, partition, offset } = await producer.send({ topic: "orders", key: "user-1", value: "paid" });
    const reader = new Reader({ bootstrapServers, topic, partition, from: offset });
    const [record] = await reader.read();
    await reader.close();
    assert.equal(record.value.toString(), "paid");
    console.log(`read back from ${topic}-${partition} at offset ${offset}: ${record.value}`);
  } finally {
    await producer.close();
    await broker.close();
    await rm(dataDir, { recursive: true });
  }
}

void main();
