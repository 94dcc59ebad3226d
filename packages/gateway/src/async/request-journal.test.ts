import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryFileSystem, silentLogger } from "@millrace/base";
import { FaultyFileSystem } from "@millrace/testing";
import { type EntryPlace, RequestJournal } from "./request-journal.ts";

const DIRECTORY = "/journal";
const FIRST = `${DIRECTORY}/test-0000000001.journal`;

interface Opened {
  readonly journal: RequestJournal;
  readonly read: string[];
  readonly told: string[];
}

async function open(fileSystem: FaultyFileSystem): Promise<Opened> {
  const read: string[] = [];
  const told: string[] = [];
  const tell = (level: string) => (_fields: object, message: string) => told.push(`${level}: ${message}`);
  const logger = { ...silentLogger, warn: tell("warn"), error: tell("error") };
  const parts = { directory: DIRECTORY, name: "test", fileSystem, logger, segmentBytes: 1_000_000 } as const;
  const journal = await RequestJournal.open({ ...parts, removal: "anyOrder" }, (_place, { head, body }) =>
    read.push(`${head.id} ${body}`),
  );
  return { journal, read, told };
}

async function write(journal: RequestJournal, ids: readonly string[]): Promise<EntryPlace[]> {
  return Promise.all(ids.map((id) => journal.append({ id }, Buffer.from(`{"body":"of ${id}"}`))));
}

/** A journal of three entries, after its process has ended. */
async function written(): Promise<{ readonly disk: FaultyFileSystem; readonly places: EntryPlace[] }> {
  const disk = new FaultyFileSystem(new MemoryFileSystem());
  const { journal } = await open(disk);
  const places = await write(journal, ["a", "b", "c"]);
  await journal.close();
  return { disk, places };
}

async function change(disk: FaultyFileSystem, edit: (bytes: Buffer) => Buffer): Promise<void> {
  const bytes = edit(Buffer.from(await disk.readFile(FIRST)));
  const file = await disk.open(FIRST, "readWrite");
  await file.truncate(0);
  await file.write([bytes], 0);
  await file.close();
}

const A = 'a {"body":"of a"}';
const B = 'b {"body":"of b"}';
const C = 'c {"body":"of c"}';

test("what was written is read again, and entries that came at once share a sync", async () => {
  const { disk } = await written();

  const { read, told } = await open(disk);

  assert.deepEqual([read, told], [[A, B, C], []]);
  assert.equal(disk.syncCount, 1);
});

test("wherever a crash cut the last entry off, those before it are read", async () => {
  const { places } = await written();
  const [, , last] = places;
  assert.ok(last !== undefined);
  for (let cut = 1; cut < last.sizeBytes; cut++) {
    const { disk } = await written();
    await change(disk, (bytes) => bytes.subarray(0, last.position + cut));

    const { read, told } = await open(disk);

    assert.deepEqual(read, [A, B], `cut after ${cut} bytes`);
    assert.match(told.join(), /^warn: journal ends in an entry that was never whole/);
  }
});

test("whichever byte of an entry is damaged, those before and behind it are read, and it is told", async () => {
  const { places } = await written();
  const [, middle] = places;
  assert.ok(middle !== undefined);
  for (let at = 0; at < middle.sizeBytes; at++) {
    const { disk } = await written();
    await change(disk, (bytes) => {
      bytes[middle.position + at] = (bytes[middle.position + at] ?? 0) ^ 0xff;
      return bytes;
    });

    const { read, told } = await open(disk);

    assert.deepEqual(read, [A, C], `byte ${at}`);
    assert.match(told.join(), /^error: journal is damaged/);
  }
});

test("a disk that is full refuses entries, is not filled with files, and takes entries when there is room again", async () => {
  const { disk } = await written();
  const { journal } = await open(disk);
  disk.faults.onWrite = () => {
    throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  };

  for (let attempt = 0; attempt < 10; attempt++) {
    await assert.rejects(journal.append({ id: "d" }, null), { code: "ENOSPC" });
  }
  const filesWhileFull = await disk.list(DIRECTORY);
  disk.faults = {};
  await write(journal, ["e"]);
  await journal.close();

  assert.equal(filesWhileFull.length, 1);
  assert.deepEqual((await open(disk)).read, [A, B, C, 'e {"body":"of e"}']);
});

test("what a failed sync left on disk is not taken for an entry", async () => {
  const disk = new FaultyFileSystem(new MemoryFileSystem());
  const { journal } = await open(disk);
  await write(journal, ["a"]);
  disk.faults.onSync = () => {
    throw Object.assign(new Error("input/output error"), { code: "EIO" });
  };
  await assert.rejects(journal.append({ id: "b" }, null), { code: "EIO" });
  disk.faults = {};
  await write(journal, ["c"]);
  await journal.close();

  assert.deepEqual((await open(disk)).read, [A, C]);
});
