/**
 * A disk without room: node full-disk.mjs FOLDER, where FOLDER is on a small filesystem of its own, as after
 *
 *     mount -t tmpfs -o size=24m tmpfs FOLDER
 */

import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { formatAddress } from "../../packages/base/dist/index.js";
import { Broker } from "../../packages/broker/dist/index.js";
import { Producer, Reader } from "../../packages/client/dist/index.js";
import { check, finish } from "./checks.mjs";

const folder = process.argv[2];
const dataDir = join(folder, "data");
const ballast = join(folder, "ballast");
writeFileSync(ballast, Buffer.alloc(8 * 1024 * 1024));

let broker = await Broker.open({ dataDir, port: 0 });
const { port } = broker.address;
const bootstrapServers = formatAddress(broker.address);
const producer = new Producer({ bootstrapServers, requestTimeoutMs: 1000, deliveryTimeoutMs: 3000 });
const place = { topic: "full", partition: 0 };
const acknowledged = new Map();

async function send(count) {
  const values = Array.from({ length: count }, (_, i) => `${acknowledged.size + i} ${"x".repeat(50_000)}`);
  const outcomes = await Promise.allSettled(values.map((value) => producer.send({ ...place, value })));
  for (const [i, { status, value: metadata }] of outcomes.entries()) {
    if (status === "fulfilled") acknowledged.set(metadata.offset, values[i]);
  }
  return outcomes.find(({ status }) => status === "rejected")?.reason;
}

async function assertAllRead() {
  const reader = new Reader({ bootstrapServers, ...place, maxWaitMs: 100 });
  const records = [];
  do records.push(...(await reader.read()));
  while (reader.position < reader.highWatermark);
  await reader.close();
  for (const [index, { offset }] of records.entries()) assert.equal(offset, BigInt(index), "offsets are dense");
  for (const [offset, value] of acknowledged) assert.equal(records[Number(offset)].value.toString(), value);
}

let refusal;
await check("a producer is refused once the disk is full", async () => {
  while (refusal === undefined) refusal = await send(20);
  const causes = [];
  for (let error = refusal; error !== undefined; error = error.cause) causes.push(error.code);
  assert.ok(causes.includes("KAFKA_STORAGE_ERROR"), `the codes are ${causes}`);
  assert.ok(acknowledged.size > 0);
});
await check("what was acknowledged can be read meanwhile", assertAllRead);
await check("it goes on by itself when there is room, and loses and doubles nothing", async () => {
  rmSync(ballast);
  for (let attempt = 0; (await send(1)) !== undefined; attempt++) assert.ok(attempt < 5, "still refused");
  assert.equal(await send(50), undefined);
  await assertAllRead();
});
await check("a full disk does not keep it from closing and starting again", async () => {
  while ((await send(20)) === undefined);
  await broker.close();
  broker = await Broker.open({ dataDir, port });
  await assertAllRead();
});
await producer.close({ timeoutMs: 0 }).catch(() => {});
await broker.close();
finish();
