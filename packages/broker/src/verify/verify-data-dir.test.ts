import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import {
  type FileSystem,
  MemoryFileSystem,
  SeededRandom,
  silentLogger,
  systemClock,
  VirtualClock,
  writeFileAtomic,
} from "@millrace/base";
import { BATCH_HEADER_BYTES, loadCodec, stampBatch } from "@millrace/protocol";
import { producerStamp, recordBatch } from "@millrace/testing";
import { DataDir } from "../data-dir.ts";
import { brokerOptions } from "../options.ts";
import { TopicManager } from "../topics/topic-manager.ts";
import type { DataDirReport, Severity } from "./report.ts";
import { verifyDataDir } from "./verify-data-dir.ts";

const BATCH_COUNT = 12;
/** Four batches each. */
const SEGMENT_BYTES = "350";
const FIRST = "orders-0/00000000000000000000";

let fileSystem: MemoryFileSystem;

const dirParts = () => ({
  path: "/data",
  fileSystem,
  clock: systemClock,
  random: new SeededRandom(1),
  logger: silentLogger,
  nodeId: 1,
  processId: 1,
});

async function openTopics(): Promise<{ topics: TopicManager; close(isClean: boolean): Promise<void> }> {
  const dir = await DataDir.open(dirParts());
  const { isCleanStart } = dir;
  const options = brokerOptions.resolve({});
  const topics = await TopicManager.open({ ...dirParts(), dataDir: "/data", isCleanStart, options });
  const close = async (isClean: boolean) => {
    await topics.close();
    await dir.close(isClean);
  };
  return { topics, close };
}

/** One partition, three segments, one idempotent producer, timestamps that rise. */
async function writeLog({ isClean }: { isClean: boolean }): Promise<void> {
  const { topics, close } = await openTopics();
  const config = { "segment.bytes": SEGMENT_BYTES, "index.interval.bytes": "0" };
  const topic = await topics.create({ name: "orders", partitions: 1, config });
  for (let index = 0; index < BATCH_COUNT; index++) {
    const timestamp = systemClock.timestampMs() + index;
    const stamp = producerStamp(5n, index);
    const batch = recordBatch([{ value: `value ${index}`, timestamp }], { baseOffset: 0n, stamp });
    await topic.append(0, batch, { acks: -1 }).flushed;
  }
  await close(isClean);
  await write("producer-ids.json", '{"nextProducerId":"1000"}');
}

beforeEach(() => {
  fileSystem = new MemoryFileSystem();
});

const verify = (over: Partial<{ fileSystem: FileSystem; checksRecords: boolean }> = {}): Promise<DataDirReport> =>
  verifyDataDir({ dataDir: "/data", ...dirParts(), checksRecords: false, ...over, clock: new VirtualClock() });

const read = (name: string) => fileSystem.readFile(`/data/${name}`);
const write = (name: string, bytes: string | Buffer) =>
  writeFileAtomic(fileSystem, `/data/${name}`, Buffer.from(bytes));

async function flip(name: string, at: number): Promise<void> {
  const bytes = Buffer.from(await read(name));
  const position = at < 0 ? bytes.length + at : at;
  bytes[position] = (bytes[position] ?? 0) ^ 0xff;
  await write(name, bytes);
}

/** All that is wrong, as "severity file: what → consequence". */
function wrongIn(report: DataDirReport): string[] {
  return [report.problems, ...report.partitions.map(({ problems }) => problems)]
    .flat()
    .filter(({ severity }) => severity !== "note")
    .map(({ severity, file, what, consequence }) => `${severity} ${file}: ${what} → ${consequence}`);
}

async function expectWrong(severity: Severity, file: string, message: RegExp): Promise<void> {
  const report = await verify();
  const found = wrongIn(report);
  assert.ok(
    found.some((line) => line.startsWith(`${severity} ${file}: `) && message.test(line)),
    `expected ${severity} ${file} ${message} in\n${found.join("\n")}`,
  );
  assert.equal(report.isSound, false);
}

test("a data dir that was closed in order is sound, and counted", async () => {
  await writeLog({ isClean: true });

  const report = await verify();

  assert.deepEqual(wrongIn(report), []);
  assert.deepEqual([report.isSound, report.isClean, report.formatVersion], [true, true, 1]);
  const [partition] = report.partitions;
  assert.deepEqual([partition?.topic, partition?.partition, partition?.segments], ["orders", 0, 3]);
  assert.deepEqual([partition?.batches, partition?.records], [BATCH_COUNT, BATCH_COUNT]);
  assert.deepEqual([partition?.startOffset, partition?.endOffset], [0, BATCH_COUNT]);
  assert.deepEqual(partition?.recovery, { startOffset: 0, endOffset: BATCH_COUNT, lostBytes: 0, steps: [] });
});

test("a check leaves every file as it was, and the folder unlocked", async () => {
  await writeLog({ isClean: false });
  await flip(`${FIRST}.log`, 100);
  const contents = async () => {
    const files: [string, string][] = [];
    for (const name of (await fileSystem.list("/data/orders-0")).sort()) {
      files.push([name, (await read(`orders-0/${name}`)).toString("hex")]);
    }
    return [(await fileSystem.list("/data")).sort(), files];
  };
  const before = await contents();

  await verify();

  assert.deepEqual(await contents(), before);
});

test("a data dir that a broker uses is refused, and is not to be started on during the check", async () => {
  await writeLog({ isClean: true });
  const dir = await DataDir.open(dirParts());
  await assert.rejects(verify(), /used by another broker \(process 1\); stop it first/);
  await dir.close(true);

  let isRefused = false;
  await verifyDataDir({
    dataDir: "/data",
    ...dirParts(),
    checksRecords: false,
    onPartition: () => {
      DataDir.open(dirParts()).catch(() => {
        isRefused = true;
      });
    },
  });

  assert.equal(isRefused, true);
});

test("a folder that is no data dir is refused", async () => {
  await assert.rejects(verify(), /\/data is no data dir: there is no meta\.json in it/);
});

test("records that their producer garbled are found where records are decoded, and only there", async () => {
  const { topics, close } = await openTopics();
  const topic = await topics.create({ name: "orders", partitions: 1, config: {} });
  for (const compression of ["none", "gzip", "snappy", "lz4", "zstd"] as const) {
    await loadCodec(compression);
    const batch = recordBatch([{ value: "a value" }, { value: "another" }], { baseOffset: 0n, compression });
    await topic.append(0, batch, { acks: -1 }).flushed;
  }
  const garbled = recordBatch([{ value: "a value" }, { value: "another" }], { baseOffset: 0n });
  garbled[BATCH_HEADER_BYTES] = 2;
  stampBatch(garbled, producerStamp(5n, 0));
  await topic.append(0, garbled, { acks: -1 }).flushed;
  await close(true);
  await write("producer-ids.json", '{"nextProducerId":"1000"}');

  assert.deepEqual(wrongIn(await verify()), []);
  const wrong = wrongIn(await verify({ checksRecords: true }));
  assert.equal(wrong.length, 1);
  assert.match(String(wrong[0]), /^damage orders-0\/0{20}\.log: its records cannot be decoded: record ends/);
});

describe("a check tells of", () => {
  beforeEach(() => writeLog({ isClean: true }));

  test("a changed byte in a batch that the next start does not look at", async () => {
    await flip(`${FIRST}.log`, -1);

    await expectWrong("damage", `${FIRST}.log`, /checksum .* the next start does not look there; readers .* fail/);
  });

  test("a batch with an offset that was there already", async () => {
    const bytes = Buffer.from(await read(`${FIRST}.log`));
    bytes.writeBigInt64BE(0n, bytes.readInt32BE(8) + 12);
    await write(`${FIRST}.log`, bytes);

    await expectWrong("damage", `${FIRST}.log`, /expected offset 1 or a later one, found 0/);
  });

  test("a batch that was taken out of the middle", async () => {
    const bytes = await read(`${FIRST}.log`);
    const first = bytes.readInt32BE(8) + 12;
    const second = bytes.readInt32BE(first + 8) + 12;
    await write(`${FIRST}.log`, Buffer.concat([bytes.subarray(0, first), bytes.subarray(first + second)]));

    await expectWrong("damage", `${FIRST}.log`, /offsets 1 to 1 are missing → these records are gone/);
  });

  test("a segment that is missing in the middle, and one that is missing at the start", async () => {
    const bases = (await fileSystem.list("/data/orders-0")).filter((name) => name.endsWith(".log")).sort();
    const [first = "", second = "", third = ""] = bases;
    await fileSystem.remove(`/data/orders-0/${second}`);
    await expectWrong("damage", `orders-0/${third}`, /offsets \d+ to \d+ are missing/);

    await fileSystem.remove(`/data/orders-0/${first}`);
    await expectWrong("damage", "orders-0", /expected a log from offset 0 on/);
  });

  test("a log that ends before its checkpoint", async () => {
    const bases = (await fileSystem.list("/data/orders-0")).filter((name) => name.endsWith(".log")).sort();
    const last = `orders-0/${bases.at(-1)}`;
    await write(last, (await read(last)).subarray(0, 10));

    await expectWrong("damage", "orders-0", /all before offset 12 was on the disk.* the log ends at/);
  });

  for (const [suffix, at, what] of [
    [".index", 7, /no batch begins|entries lead behind|do not rise/],
    [".index", 3, /the batch ends at offset|do not rise/],
    [".timeindex", 7, /largest timestamp|do not rise/],
    [".timeindex", 11, /no batch ends|do not rise|largest timestamp/],
  ] as const) {
    test(`an entry of ${suffix} that is wrong at byte ${at}`, async () => {
      await flip(`${FIRST}${suffix}`, at);

      await expectWrong("repairable", `${FIRST}${suffix}`, what);
    });
  }

  for (const suffix of [".index", ".timeindex"]) {
    test(`an ${suffix} of a closed segment that is cut, or gone`, async () => {
      await write(`${FIRST}${suffix}`, (await read(`${FIRST}${suffix}`)).subarray(0, 5));
      await expectWrong("repairable", `${FIRST}${suffix}`, /expected entries of \d+ bytes, found 5 bytes/);

      await fileSystem.remove(`/data/${FIRST}${suffix}`);
      await expectWrong("repairable", `${FIRST}${suffix}`, /found no file → it is made anew/);
    });
  }

  test("a time index that leaves out the newest timestamps of a closed segment", async () => {
    const bytes = await read(`${FIRST}.timeindex`);
    await write(`${FIRST}.timeindex`, bytes.subarray(0, bytes.length - 12));

    await expectWrong("repairable", `${FIRST}.timeindex`, /the last entry says \d+; the largest timestamp is \d+/);
  });

  test("a producer snapshot with a changed byte, and one that says what the log does not", async () => {
    const name = (await fileSystem.list("/data/orders-0")).filter((each) => each.endsWith(".snapshot")).sort()[0];
    const snapshot = await read(`orders-0/${name}`);
    await flip(`orders-0/${name}`, -1);
    await expectWrong("repairable", `orders-0/${name}`, /its checksum does not fit/);

    await write(`orders-0/${name}`, snapshot);
    const bytes = Buffer.from(await read(`${FIRST}.log`));
    await write(`${FIRST}.log`, withOtherSequences(bytes));
    await expectWrong(
      "damage",
      `orders-0/${name}`,
      /expected sequence \d+ of producer 5, epoch 0 at offset \d+, found/,
    );
  });

  for (const [file, severity] of [
    ["recovery-point-offset-checkpoint", "repairable"],
    ["log-start-offset-checkpoint", "repairable"],
    ["cleaner-offset-checkpoint", "repairable"],
    ["orders-0/leader-epoch-checkpoint", "repairable"],
    ["broker-epoch", "repairable"],
    ["topics.json", "damage"],
    ["acls.json", "damage"],
    ["quotas.json", "damage"],
    ["producer-ids.json", "damage"],
  ] as const) {
    test(`a ${file} that is garbage`, async () => {
      await write(file, "garbage");

      await expectWrong(severity, file, /→ ./);
    });
  }

  test("a checkpoint with a line that makes no sense", async () => {
    await write("recovery-point-offset-checkpoint", "0\n1\norders zero 12\n");

    await expectWrong("repairable", "recovery-point-offset-checkpoint", /found orders zero 12 → the next start reads/);
  });

  test("an epoch that began earlier than the file says", async () => {
    await write("orders-0/leader-epoch-checkpoint", "0\n1\n0 7\n");

    await expectWrong("repairable", "orders-0/leader-epoch-checkpoint", /expected epoch 0 from offset 7 on/);
  });

  test("a folder that is another topic's, and one that is gone", async () => {
    await write("orders-0/partition.metadata", "version: 0\ntopic_id: somebody-else\n");
    await expectWrong("damage", "orders-0/partition.metadata", /expected topic_id .*, found somebody-else/);

    await fileSystem.remove("/data/orders-0");
    await expectWrong("damage", "orders-0", /all before offset 12 was on the disk.* the log ends at 0/);
  });

  test("producer ids that may be given out twice", async () => {
    await write("producer-ids.json", '{"nextProducerId":"5"}');

    await expectWrong("damage", "producer-ids.json", /the next producer id is 5; the logs hold batches of producer 5/);
  });

  test("folders that wait for something, as notes", async () => {
    await fileSystem.makeDirectory("/data/stranger-0");
    await fileSystem.makeDirectory("/data/old-0.AAAAAAAAAAAAAAAAAAAAAA-delete");
    await write(`${FIRST}.log.cleaned`, "half");

    const report = await verify();

    const notes = [report.problems, ...report.partitions.map(({ problems }) => problems)].flat();
    assert.equal(report.isSound, true);
    assert.deepEqual(
      notes.map(({ severity, file }) => `${severity} ${file}`),
      ["note old-0.AAAAAAAAAAAAAAAAAAAAAA-delete", `note ${FIRST}.log.cleaned`, "note stranger-0"],
    );
  });
});

/** The same batches with sequences one higher and checksums that fit. */
function withOtherSequences(log: Buffer): Buffer {
  const batches: Buffer[] = [];
  for (let at = 0, offset = 0n; at < log.length; offset++) {
    const sizeBytes = log.readInt32BE(at + 8) + 12;
    const timestamp = Number(log.readBigInt64BE(at + 27));
    const value = `value ${offset}`;
    batches.push(
      recordBatch([{ value, timestamp }], { baseOffset: offset, stamp: producerStamp(5n, Number(offset) + 1) }),
    );
    at += sizeBytes;
  }
  return Buffer.concat(batches);
}

describe("what is said of the next start is what it does,", () => {
  for (const isClean of [true, false]) {
    for (const [what, change] of [
      ["the log cut", (bytes: Buffer, at: number) => bytes.subarray(0, at)],
      [
        "a byte changed",
        (bytes: Buffer, at: number) => {
          const changed = Buffer.from(bytes);
          changed[at] = (changed[at] ?? 0) ^ 0xff;
          return changed;
        },
      ],
    ] as const) {
      test(`${what} anywhere after ${isClean ? "an orderly end" : "a crash"}`, async () => {
        await writeLog({ isClean });
        if (!isClean) await fileSystem.remove("/data/recovery-point-offset-checkpoint");
        const names = (await fileSystem.list("/data/orders-0")).filter((name) => name.endsWith(".log")).sort();
        const saved = await snapshot(fileSystem);
        for (const name of names) {
          const bytes = saved.get(`/data/orders-0/${name}`) ?? Buffer.alloc(0);
          for (let at = 0; at < bytes.length; at += 7) {
            fileSystem = await restore(saved);
            await write(`orders-0/${name}`, change(bytes, at));

            const [report] = (await verify()).partitions;

            const { topics, close } = await openTopics();
            const log = topics.get("orders")?.partition(0);
            assert.equal(BigInt(report?.recovery.endOffset ?? -1), log?.logEndOffset, `${name} at ${at}`);
            assert.equal(BigInt(report?.recovery.startOffset ?? -1), log?.logStartOffset, `${name} at ${at}`);
            await close(true);
          }
        }
      });
    }
  }

  test("with the bytes that go and the files that are cut and removed", async () => {
    await writeLog({ isClean: false });
    await fileSystem.remove("/data/recovery-point-offset-checkpoint");
    await flip(`${FIRST}.log`, -1);

    const [report] = (await verify()).partitions;

    assert.equal(report?.recovery.endOffset, 3);
    assert.match(report?.recovery.steps.join("; ") ?? "", /^cuts 0+\.log from \d+ to \d+ bytes; removes .*; removes /);
    assert.ok((report?.recovery.lostBytes ?? 0) > 600);
  });

  test("and a write that a crash cut short costs nothing but that", async () => {
    await writeLog({ isClean: false });
    const names = (await fileSystem.list("/data/orders-0")).filter((name) => name.endsWith(".log")).sort();
    const last = `orders-0/${names.at(-1)}`;
    await write(last, Buffer.concat([await read(last), Buffer.alloc(20, 1)]));

    await expectWrong(
      "repairable",
      last,
      /expected a batch header of 61 bytes, found 20 → the next start cuts the log/,
    );
  });
});

async function snapshot(from: FileSystem): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const name of await from.list("/data")) {
    if (name.startsWith("orders-")) {
      for (const inner of await from.list(`/data/${name}`)) {
        files.set(`/data/${name}/${inner}`, Buffer.from(await from.readFile(`/data/${name}/${inner}`)));
      }
    } else files.set(`/data/${name}`, Buffer.from(await from.readFile(`/data/${name}`)));
  }
  return files;
}

async function restore(files: ReadonlyMap<string, Buffer>): Promise<MemoryFileSystem> {
  const restored = new MemoryFileSystem();
  await restored.makeDirectory("/data/orders-0");
  for (const [path, bytes] of files) await writeFileAtomic(restored, path, bytes);
  return restored;
}
