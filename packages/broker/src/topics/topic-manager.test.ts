import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { type Logger, MemoryFileSystem, systemClock, systemRandom } from "@millrace/base";
import { FaultyFileSystem, recordBatch } from "@millrace/testing";
import { brokerOptions } from "../options.ts";
import { TopicManager } from "./topic-manager.ts";

const DATA_DIR = "/data";

let fileSystem: FaultyFileSystem;
let warnings: string[];

beforeEach(async () => {
  fileSystem = new FaultyFileSystem(new MemoryFileSystem());
  warnings = [];
  await fileSystem.makeDirectory(DATA_DIR);
});

function open(): Promise<TopicManager> {
  const warn = (_fields: object, message: string) => warnings.push(message);
  const logger: Logger = { debug() {}, info() {}, warn, error: warn };
  return TopicManager.open({
    dataDir: DATA_DIR,
    isCleanStart: false,
    options: brokerOptions.resolve({}),
    fileSystem,
    clock: systemClock,
    random: systemRandom,
    logger,
  });
}

const newTopic = (name: string, partitions = 1) => ({ name, partitions, config: {} });
const batch = () => recordBatch([{ value: "v" }], { baseOffset: 0n });
const ACKS_ALL = { acks: -1 };

/** What lies in the data dir while the topics are open, as a crash would leave it. */
async function crash(manager: TopicManager): Promise<void> {
  const topics = await fileSystem.readFile(`${DATA_DIR}/topics.json`);
  await manager.close();
  const file = await fileSystem.open(`${DATA_DIR}/topics.json`, "readWrite");
  await file.truncate(0);
  await file.write([topics], 0);
  await file.close();
}

async function partitionFolders(topic: string): Promise<string[]> {
  return (await fileSystem.list(DATA_DIR)).filter((name) => name.startsWith(`${topic}-`)).sort();
}

test("a topic keeps its id, its settings and its records", async () => {
  const first = await open();
  const topic = await first.create({ name: "t", partitions: 2, config: { "retention.ms": "5" } });
  await topic.append(1, batch(), ACKS_ALL).acknowledged;
  await first.close();

  const second = await open();
  const found = second.get("t");

  assert.equal(found?.topicId, topic.topicId);
  assert.deepEqual(found?.config, { "retention.ms": "5" });
  assert.equal(found?.partition(1).highWatermark, 1n);
  assert.equal(second.getById(topic.topicId), found);
});

test("a partition has a folder from its first record on, and is there without one after a restart too", async () => {
  const first = await open();
  const topic = await first.create(newTopic("t", 3));
  await topic.append(0, batch(), ACKS_ALL).acknowledged;
  await crash(first);

  const second = await open();
  await second.get("t")?.append(1, batch(), ACKS_ALL).acknowledged;

  assert.equal(second.get("t")?.partitions.length, 3);
  assert.equal(second.get("t")?.partition(0).highWatermark, 1n);
  assert.deepEqual(await partitionFolders("t"), ["t-0", "t-1"]);
  assert.equal(
    (await fileSystem.readFile(`${DATA_DIR}/t-1/partition.metadata`)).toString(),
    `version: 0\ntopic_id: ${topic.topicId}\n`,
  );
});

test("a deletion that a crash cut short is finished at the next start, and never comes back empty", async () => {
  const first = await open();
  const topic = await first.create(newTopic("t", 2));
  for (const partition of [0, 1]) await topic.append(partition, batch(), ACKS_ALL).acknowledged;
  await first.create(newTopic("other"));
  await crash(first);
  await fileSystem.rename(`${DATA_DIR}/t-0`, `${DATA_DIR}/t-0.${topic.topicId}-delete`);

  const second = await open();
  await second.close();
  const third = await open();

  assert.deepEqual(
    third.list().map(({ name }) => name),
    ["other"],
  );
  assert.deepEqual(await partitionFolders("t"), []);
});

test("a topic whose deletion failed half way takes no records, and can be deleted again and made anew", async () => {
  const manager = await open();
  const old = await manager.create(newTopic("t", 2));
  for (const partition of [0, 1]) await old.append(partition, batch(), ACKS_ALL).acknowledged;
  let renameCount = 0;
  fileSystem.faults.onChange = (what) => {
    if (what.startsWith("rename") && what.includes("-delete") && ++renameCount === 2) throw new Error("EIO");
  };
  await assert.rejects(manager.delete("t"), { code: "KAFKA_STORAGE_ERROR" });

  assert.throws(() => old.append(0, batch(), ACKS_ALL), { code: "KAFKA_STORAGE_ERROR" });
  await assert.rejects(manager.create(newTopic("t")), { code: "TOPIC_ALREADY_EXISTS" });
  await manager.delete("t");
  const topic = await manager.create(newTopic("t"));
  await topic.append(0, batch(), ACKS_ALL).acknowledged;

  await manager.close();
  const again = await open();
  assert.equal(again.get("t")?.topicId, topic.topicId);
  assert.equal(again.get("t")?.partition(0).highWatermark, 1n);
});

test("a topic is deleted although the list of topics could not be written at first", async () => {
  const manager = await open();
  await manager.create(newTopic("t"));
  fileSystem.faults.onSync = (path) => {
    if (path.includes("topics.json")) throw new Error("EIO");
  };
  await assert.rejects(manager.delete("t"), { code: "KAFKA_STORAGE_ERROR" });
  fileSystem.faults = {};

  await manager.delete("t");
  await manager.close();

  assert.equal((await open()).list().length, 0);
});

test("a topic whose deletion could not be written down does not come back without its records", async () => {
  const first = await open();
  const topic = await first.create(newTopic("t"));
  await topic.append(0, batch(), ACKS_ALL).acknowledged;
  fileSystem.faults.onSync = (path) => {
    if (path.includes("topics.json")) throw new Error("EIO");
  };
  await assert.rejects(first.delete("t"), { code: "KAFKA_STORAGE_ERROR" });
  fileSystem.faults = {};
  await first.close();

  const second = await open();

  assert.equal(second.get("t"), undefined);
  await second.close();
  assert.deepEqual(await partitionFolders("t"), []);
});

test("what is left of a deleted topic does not touch a new topic of its name", async () => {
  const manager = await open();
  const old = await manager.create(newTopic("t"));
  await old.append(0, batch(), ACKS_ALL).acknowledged;
  await manager.delete("t");
  const topic = await manager.create(newTopic("t"));
  await manager.close();

  const again = await open();

  assert.equal(again.get("t")?.topicId, topic.topicId);
  assert.equal(again.get("t")?.partition(0).highWatermark, 0n);
});

test("a folder that belongs to no topic is left alone, and told of", async () => {
  await fileSystem.makeDirectory(`${DATA_DIR}/stranger-0`);

  const manager = await open();

  assert.equal(manager.list().length, 0);
  assert.ok(await fileSystem.exists(`${DATA_DIR}/stranger-0`));
  assert.equal(warnings.length, 1);
});

for (const [text, message] of [
  ["{", /topics\.json is damaged/],
  ['{"version":2,"topics":[]}', /topics\.json has version 2; this Millrace reads 1: start the version that wrote it/],
] as const) {
  test(`a file of topics that holds ${text} is an error that names it, not an empty broker`, async () => {
    const file = await fileSystem.open(`${DATA_DIR}/topics.json`, "create");
    await file.write([Buffer.from(text)], 0);
    await file.close();

    await assert.rejects(open(), message);
  });
}

test("topics created at the same time are all there after a restart", async () => {
  const first = await open();
  await Promise.all(Array.from({ length: 30 }, (_, index) => first.create(newTopic(`t${index}`))));
  await first.close();

  const second = await open();

  assert.equal(second.list().length, 30);
});

test("partitions that were added are there after a restart", async () => {
  const first = await open();
  await first.create(newTopic("t", 1));
  await first.addPartitions("t", 3);
  await first.get("t")?.append(2, batch(), ACKS_ALL).acknowledged;
  await first.close();

  const second = await open();

  assert.equal(second.get("t")?.partitions.length, 3);
  assert.equal(second.get("t")?.partition(2).highWatermark, 1n);
});
