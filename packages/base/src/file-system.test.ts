import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileSystemSuite } from "@millrace/testing";
import { dropBytes, type File, nodeFileSystem, writeFully } from "./file-system.ts";
import { MemoryFileSystem } from "./memory-file-system.ts";

fileSystemSuite("NodeFileSystem", async () => {
  const directory = await mkdtemp(join(tmpdir(), "millrace-files-"));
  return { fileSystem: nodeFileSystem, directory, close: () => rm(directory, { recursive: true }) };
});

fileSystemSuite("MemoryFileSystem", async () => {
  const fileSystem = new MemoryFileSystem();
  await fileSystem.makeDirectory("/data/folder");
  return { fileSystem, directory: "/data/folder", close: async () => {} };
});

test("a full disk in memory takes what fits, then refuses with ENOSPC", async () => {
  const fileSystem = new MemoryFileSystem(10);
  const file = await fileSystem.open("a", "create");

  assert.equal(await file.write([Buffer.from("123456"), Buffer.from("789012")], 0), 10);
  await assert.rejects(file.write([Buffer.from("x")], 10), { code: "ENOSPC" });

  assert.equal(await file.write([Buffer.from("over")], 3), 4, "what is there can be overwritten");
  assert.equal((await fileSystem.readFile("a")).toString(), "123over890");
});

test("a disk in memory has room again after a truncate, a removal and a replacement", async () => {
  const fileSystem = new MemoryFileSystem(10);
  const write = async (path: string, text: string) => {
    const file = await fileSystem.open(path, "create");
    await writeFully(file, [Buffer.from(text)], 0);
    return file;
  };
  const a = await write("a", "12345");
  await write("b", "12345");
  assert.equal(await fileSystem.freeBytes("/"), 0);

  await a.truncate(3);
  assert.equal(await fileSystem.freeBytes("/"), 2);
  await fileSystem.rename("a", "b");
  assert.equal(await fileSystem.freeBytes("/"), 7);
  await fileSystem.remove("b");
  assert.equal(await fileSystem.freeBytes("/"), 10);
});

test("writeFully goes on after short writes, in order", async () => {
  const written: string[] = [];
  const file = shortWriting(4, written);

  await writeFully(file, [Buffer.from("abc"), Buffer.alloc(0), Buffer.from("defghij")], 100);

  assert.deepEqual(written, ["abcd@100", "efgh@104", "ij@108"]);
});

test("writeFully tells of a full disk when nothing more is taken", async () => {
  await assert.rejects(writeFully(shortWriting(0, []), [Buffer.from("abc")], 0), { code: "ENOSPC" });
});

test("dropBytes drops from the front, over the ends of chunks", () => {
  const chunks = [Buffer.from("abc"), Buffer.from("de"), Buffer.from("f")];
  const rest = (sizeBytes: number) => Buffer.concat(dropBytes(chunks, sizeBytes)).toString();

  assert.deepEqual([0, 2, 3, 4, 6].map(rest), ["abcdef", "cdef", "def", "ef", ""]);
});

/** A file that takes so many bytes at a time and notes them. */
function shortWriting(limitBytes: number, written: string[]): File {
  return {
    read: async () => 0,
    write: async (chunks, position) => {
      const taken = Buffer.concat(chunks).subarray(0, limitBytes);
      written.push(`${taken.toString()}@${position}`);
      return taken.length;
    },
    sync: async () => {},
    truncate: async () => {},
    sizeBytes: async () => 0,
    close: async () => {},
  };
}

test("a folder that cannot be made is an error, and no search without end", {
  skip: process.platform !== "linux",
}, async () => {
  await assert.rejects(nodeFileSystem.makeDirectory("/proc/no-such-process/data"), { code: "ENOENT" });
});
