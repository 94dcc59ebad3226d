import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Broker } from "@millrace/broker";
import { Producer } from "@millrace/client";
import { runMillrace, temporaryFolder } from "@millrace/testing";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let dataDir: string;

before(async () => {
  folder = await temporaryFolder();
  dataDir = join(folder.path, "data");
  const broker = await Broker.open({ dataDir, port: 0, defaultPartitions: 2 });
  const producer = new Producer({ bootstrapServers: "any:1", network: broker.network });
  for (const value of ["a", "b", "c"]) await producer.send({ topic: "orders", partition: 1, value });
  await producer.close();
  await broker.close();
});

after(() => folder.remove());

const verify = (...words: string[]) => runMillrace(["log", "verify", ...words]);

test("log verify shows a line per partition, says that all is sound, and ends with 0", async () => {
  const { stdout, stderr, exitCode } = await verify(dataDir);

  assert.match(
    stdout.toString(),
    /^TOPIC +PARTITION +SEGMENTS +BATCHES +RECORDS +BYTES +START OFFSET +END OFFSET +STATE\n/,
  );
  assert.match(stdout.toString(), /\norders +1 +1 +3 +3 +\d+ +0 +3 +ok\n/);
  assert.match(stdout.toString(), /\nsound: 2 partitions, 1 segment, 3 batches, .*; closed in order\n$/);
  assert.deepEqual([stderr.toString(), exitCode], ["", 0]);
});

test("log verify names the file, the byte and what becomes of it, and ends with 1", async () => {
  const path = join(dataDir, "orders-1", "00000000000000000000.log");
  const sound = await readFile(path);
  const changed = Buffer.from(sound);
  changed[66] = (changed[66] ?? 0) ^ 1;
  await writeFile(path, changed);

  const inWords = await verify(dataDir);
  const asJson = await verify("--json", dataDir);
  await writeFile(path, sound);

  assert.match(
    inWords.stdout.toString(),
    /\ndamage: orders-1\/0+\.log at byte 0\n {2}the checksum \(CRC-32C\) does not fit .*\n {2}the next start does not look there; /,
  );
  assert.match(inWords.stdout.toString(), /\nNOT sound \(1 problem\): /);
  assert.deepEqual([inWords.exitCode, asJson.exitCode], [1, 1]);
  const report = JSON.parse(asJson.stdout.toString());
  assert.equal(report.isSound, false);
  const broken = report.partitions.find(({ isSound }: { isSound: boolean }) => !isSound);
  assert.deepEqual([broken.topic, broken.partition, broken.problems[0].severity], ["orders", 1, "damage"]);
});

test("log verify refuses a data dir in use, a folder that is none, and no folder at all, each in one line", async () => {
  const broker = await Broker.open({ dataDir, port: 0 });
  const inUse = await verify(dataDir).finally(() => broker.close());
  const other = await verify(folder.path);
  const none = await verify();

  assert.match(
    inUse.stderr.toString(),
    /^millrace: .* is used by another broker \(process \d+\); stop it first: .*\n$/,
  );
  assert.match(other.stderr.toString(), /^millrace: .* is no data dir: there is no meta\.json in it\n$/);
  assert.match(none.stderr.toString(), /^millrace: DIR is missing, as in: millrace log verify \.\/millrace-data\n$/);
  assert.deepEqual([inUse.exitCode, other.exitCode, none.exitCode], [1, 1, 2]);
});
