import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { InProcessNetwork } from "@millrace/base";
import { createTopicsApi, initProducerIdApi, metadataApi } from "@millrace/protocol";
import { startBroker, WireClient } from "@millrace/testing";
import { Broker } from "./broker.ts";

const NO_PRODUCER_ID = { transactionalId: null, transactionTimeoutMs: 0 };

let root = "";
let dirCount = 0;
const newDir = () => join(root, String(dirCount++));

before(async () => {
  root = await mkdtemp(join(tmpdir(), "millrace-broker-"));
});
after(() => rm(root, { recursive: true, force: true }));

test("several brokers run in one process, each on a port and a cluster id of its own", async () => {
  await using first = await startBroker();
  await using second = await startBroker();

  assert.notEqual(first.broker.address.port, second.broker.address.port);
  assert.notEqual(first.broker.clusterId, second.broker.clusterId);
});

test("topics, their ids and settings, and the cluster id outlive a restart", async () => {
  const dataDir = newDir();
  const topic = { name: "kept", numPartitions: 2, replicationFactor: 1, assignments: [] };
  const configs = [{ name: "retention.ms", value: "1234" }];
  const first = await Broker.open({ dataDir, port: 0 });
  using client = await WireClient.connect(first.address);
  await client.request(createTopicsApi, 7, { topics: [{ ...topic, configs }] });
  const before = await client.request(metadataApi, 12, { topics: null });
  await first.close();

  await using second = await Broker.open({ dataDir, port: 0 });
  using again = await WireClient.connect(second.address);
  const after = await again.request(metadataApi, 12, { topics: null });

  assert.equal(after.clusterId, before.clusterId);
  assert.equal(after.topics[0]?.topicId, before.topics[0]?.topicId);
  assert.equal(after.topics[0]?.partitions.length, 2);
  assert.match(await readFile(join(dataDir, "topics.json"), "utf8"), /"retention.ms": "1234"/);
});

test("a second broker on the same data dir is refused, and told what to do", async () => {
  const dataDir = newDir();
  await using _first = await Broker.open({ dataDir, port: 0 });

  await assert.rejects(Broker.open({ dataDir, port: 0 }), /is used by another broker \(process \d+\); stop it/);
});

test("the lock of a process that is gone is taken over", async () => {
  const dataDir = newDir();
  await (await Broker.open({ dataDir, port: 0 })).close();
  await writeFile(join(dataDir, ".lock"), JSON.stringify({ pid: 999_999_999, startTicks: "1" }));

  await using broker = await Broker.open({ dataDir, port: 0 });

  assert.equal(broker.dataDir, dataDir);
});

test("the lock of a running process that has its number by chance is taken over", async () => {
  const dataDir = newDir();
  await (await Broker.open({ dataDir, port: 0 })).close();
  await writeFile(join(dataDir, ".lock"), JSON.stringify({ pid: process.ppid, startTicks: "1" }));

  const opening = Broker.open({ dataDir, port: 0 });

  // Where the system does not tell when a process started, the number alone must be believed.
  if (process.platform === "linux") await (await opening).close();
  else await assert.rejects(opening, /is used by another broker/);
});

test("a data dir of a newer format is refused", async () => {
  const dataDir = newDir();
  await (await Broker.open({ dataDir, port: 0 })).close();
  await writeFile(join(dataDir, "meta.json"), JSON.stringify({ formatVersion: 99, clusterId: "x", nodeId: 1 }));

  await assert.rejects(Broker.open({ dataDir, port: 0 }), /format version 99/);
  assert.ok(!(await readdir(dataDir)).includes(".lock"));
});

test("a port that is taken is told as Node tells it, and leaves the data dir free and clean", async () => {
  const dataDir = newDir();
  await using other = await startBroker();

  await assert.rejects(Broker.open({ dataDir, port: other.broker.address.port }), { code: "EADDRINUSE" });

  const names = await readdir(dataDir);
  assert.ok(names.includes("clean-shutdown"));
  assert.ok(!names.includes(".lock"));
});

test("the mark of an orderly end is there only while no broker runs", async () => {
  const dataDir = newDir();
  const broker = await Broker.open({ dataDir, port: 0 });
  const whileOpen = await readdir(dataDir);
  await broker.close();
  await broker.close();

  assert.ok(!whileOpen.includes("clean-shutdown"));
  assert.ok((await readdir(dataDir)).includes("clean-shutdown"));
});

test("the in-process network reaches the broker whatever address is connected to", async () => {
  await using started = await startBroker();
  using client = await WireClient.connect({ host: "anywhere", port: 1234 }, started.broker.network);

  const metadata = await client.request(metadataApi, 12, { topics: null });

  assert.deepEqual(metadata.brokers, [{ nodeId: 1, host: "127.0.0.1", port: started.broker.address.port, rack: null }]);
});

test("clients are told the address on which they reached the broker, or the one that it is to advertise", async () => {
  await using open = await startBroker({ host: "0.0.0.0" });
  await using named = await startBroker({ advertisedHost: "broker.example", advertisedPort: 19092 });
  using client = await WireClient.connect({ host: "127.0.0.1", port: open.broker.address.port });
  using other = await WireClient.connect(named.broker.address);

  const reached = (await client.request(metadataApi, 9, { topics: [] })).brokers[0];
  const advertised = (await other.request(metadataApi, 9, { topics: [] })).brokers[0];

  assert.deepEqual([reached?.host, reached?.port], ["127.0.0.1", open.broker.address.port]);
  assert.deepEqual([advertised?.host, advertised?.port], ["broker.example", 19092]);
});

test("a broker listens on the network that it is given", async () => {
  const network = new InProcessNetwork();
  await using _started = await startBroker({ network, port: 9092 });
  using client = await WireClient.connect({ host: "127.0.0.1", port: 9092 }, network);

  const metadata = await client.request(metadataApi, 9, { topics: [] });

  assert.equal(metadata.controllerId, 1);
});

test("a broker in memory leaves no folder behind, and two of them share nothing", async () => {
  await using first = await Broker.open({ dataDir: "memory", port: 0 });
  await using second = await Broker.open({ dataDir: "memory", port: 0 });
  using client = await WireClient.connect(first.address);
  using other = await WireClient.connect(second.address);

  await client.request(metadataApi, 1, { topics: [{ name: "t" }] });

  assert.equal((await client.request(metadataApi, 1, { topics: null })).topics.length, 1);
  assert.equal((await other.request(metadataApi, 1, { topics: null })).topics.length, 0);
  await assert.rejects(readdir("memory"), { code: "ENOENT" });
});

test("a producer id is never given out twice, not even after a crash", async () => {
  const dataDir = newDir();
  const seen = new Set<bigint>();
  for (let round = 0; round < 3; round++) {
    const broker = await Broker.open({ dataDir, port: 0 });
    using client = await WireClient.connect(broker.address);
    for (let count = 0; count < 3; count++) {
      seen.add((await client.request(initProducerIdApi, 4, NO_PRODUCER_ID)).producerId);
    }
    // What a crash leaves behind is what is on the disk while the broker runs.
    const crashed = await readFile(join(dataDir, "producer-ids.json"));
    await broker.close();
    await writeFile(join(dataDir, "producer-ids.json"), crashed);
  }

  assert.equal(seen.size, 9);
});

test("a wrong option is named", async () => {
  await assert.rejects(Broker.open({ dataDir: newDir(), port: 99_999 }), /option port is 99999/);
});
