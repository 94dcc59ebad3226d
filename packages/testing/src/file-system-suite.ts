/** What every FileSystem does. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { type File, type FileSystem, writeFileAtomic, writeFully } from "@millrace/base";

export interface FileSystemUnderTest {
  readonly fileSystem: FileSystem;
  /** A folder that is there, and is for one test alone. */
  readonly directory: string;
  readonly close: () => Promise<void>;
}

export function fileSystemSuite(name: string, open: () => Promise<FileSystemUnderTest>): void {
  describe(name, () => {
    let underTest: FileSystemUnderTest;
    let fileSystem: FileSystem;
    let openFiles: File[] = [];
    const at = (...names: string[]) => join(underTest.directory, ...names);
    const openFile = async (path: string, mode: Parameters<FileSystem["open"]>[1]) => {
      const file = await fileSystem.open(path, mode);
      openFiles.push(file);
      return file;
    };
    const create = async (path: string, text: string) => {
      const file = await openFile(path, "create");
      await writeFully(file, [Buffer.from(text)], 0);
      return file;
    };
    const readText = async (path: string) => (await fileSystem.readFile(path)).toString();

    beforeEach(async () => {
      underTest = await open();
      fileSystem = underTest.fileSystem;
    });
    afterEach(async () => {
      for (const file of openFiles) await file.close();
      openFiles = [];
      await underTest.close();
    });

    test("reads back what was written, wherever the chunks were cut", async () => {
      const file = await openFile(at("a"), "create");

      const writtenBytes = await file.write([Buffer.from("one "), Buffer.alloc(0), Buffer.from("two")], 0);

      assert.equal(writtenBytes, 7);
      assert.equal(await readText(at("a")), "one two");
      const middle = Buffer.alloc(3);
      assert.equal(await file.read(middle, 2), 3);
      assert.equal(middle.toString(), "e t");
    });

    test("reads fewer bytes than asked only at the end", async () => {
      const file = await create(at("a"), "0123456789");

      assert.equal(await file.read(Buffer.alloc(4), 8), 2);
      assert.equal(await file.read(Buffer.alloc(4), 10), 0);
      assert.equal(await file.read(Buffer.alloc(4), 100), 0);
    });

    test("overwrites in the middle and grows at the end", async () => {
      const file = await create(at("a"), "0123456789");

      await file.write([Buffer.from("ab")], 4);
      await file.write([Buffer.from("cd")], 9);

      assert.equal(await readText(at("a")), "0123ab678cd");
      assert.equal(await file.sizeBytes(), 11);
      assert.equal(await fileSystem.sizeBytes(at("a")), 11);
    });

    test("fills a gap before a write with zeros", async () => {
      const file = await create(at("a"), "a");

      await file.write([Buffer.from("b")], 3);

      assert.equal(await readText(at("a")), "a\0\0b");
    });

    test("holds large files", async () => {
      const file = await openFile(at("a"), "create");
      const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251));

      for (let position = 0; position < bytes.length; position += 7001) {
        await writeFully(file, [bytes.subarray(position, position + 7001)], position);
      }

      assert.ok((await fileSystem.readFile(at("a"))).equals(bytes));
      const part = Buffer.alloc(100_000);
      assert.equal(await file.read(part, 123_456), 100_000);
      assert.ok(part.equals(bytes.subarray(123_456, 223_456)));
    });

    test("cuts off with truncate, and what grows back is zeros", async () => {
      const file = await create(at("a"), "0123456789");

      await file.truncate(4);
      await file.truncate(6);

      assert.equal(await readText(at("a")), "0123\0\0");
    });

    test("syncs without changing anything", async () => {
      const file = await create(at("a"), "kept");

      await file.sync();

      assert.equal(await readText(at("a")), "kept");
    });

    test("opens only what is there to read", async () => {
      await create(at("a"), "x");

      const file = await openFile(at("a"), "read");

      assert.equal(await file.sizeBytes(), 1);
      await assert.rejects(file.write([Buffer.from("y")], 0), { code: "EBADF" });
      await assert.rejects(fileSystem.open(at("b"), "read"), { code: "ENOENT" });
    });

    test("opens to read and write what is there, as it is, or makes it", async () => {
      await create(at("a"), "x");

      const old = await openFile(at("a"), "readWrite");
      const made = await openFile(at("b"), "readWrite");

      assert.equal(await old.sizeBytes(), 1);
      assert.equal(await made.sizeBytes(), 0);
    });

    test("creates only what is not there", async () => {
      await create(at("a"), "x");

      await assert.rejects(fileSystem.open(at("a"), "create"), { code: "EEXIST" });
      await assert.rejects(fileSystem.open(at("no", "a"), "create"), { code: "ENOENT" });
      assert.equal(await readText(at("a")), "x");
    });

    test("refuses a closed file, which may be closed twice", async () => {
      const file = await create(at("a"), "x");

      await file.close();
      await file.close();

      await assert.rejects(file.read(Buffer.alloc(1), 0), { code: "EBADF" });
    });

    test("makes folders with those above them, and again without an error", async () => {
      await fileSystem.makeDirectory(at("a", "b", "c"));
      await fileSystem.makeDirectory(at("a", "b", "c"));

      assert.deepEqual(await fileSystem.list(at("a")), ["b"]);
      assert.equal(await fileSystem.exists(at("a", "b", "c")), true);
      await fileSystem.syncDirectory(at("a"));
    });

    test("lists files and folders of one folder only", async () => {
      await fileSystem.makeDirectory(at("folder"));
      await create(at("file"), "");
      await create(at("folder", "below"), "");

      assert.deepEqual((await fileSystem.list(at())).sort(), ["file", "folder"]);
    });

    test("tells what is not there with ENOENT", async () => {
      assert.equal(await fileSystem.exists(at("no")), false);
      await assert.rejects(fileSystem.readFile(at("no")), { code: "ENOENT" });
      await assert.rejects(fileSystem.list(at("no")), { code: "ENOENT" });
      await assert.rejects(fileSystem.sizeBytes(at("no")), { code: "ENOENT" });
      await assert.rejects(fileSystem.rename(at("no"), at("a")), { code: "ENOENT" });
      await assert.rejects(fileSystem.syncDirectory(at("no")), { code: "ENOENT" });
    });

    test("tells a folder from a file", async () => {
      await create(at("file"), "");

      await assert.rejects(fileSystem.readFile(at()), { code: "EISDIR" });
      await assert.rejects(fileSystem.list(at("file")), { code: "ENOTDIR" });
      await assert.rejects(fileSystem.makeDirectory(at("file")), { code: "EEXIST" });
    });

    test("renames over what is there", async () => {
      await create(at("new"), "new");
      await create(at("old"), "old");

      await fileSystem.rename(at("new"), at("old"));

      assert.deepEqual(await fileSystem.list(at()), ["old"]);
      assert.equal(await readText(at("old")), "new");
    });

    test("renames a folder with all that is in it", async () => {
      await fileSystem.makeDirectory(at("a"));
      await create(at("a", "file"), "x");

      await fileSystem.rename(at("a"), at("b"));

      assert.equal(await readText(at("b", "file")), "x");
      assert.equal(await fileSystem.exists(at("a")), false);
    });

    test("goes on writing to an open file that was renamed", async () => {
      const file = await create(at("a"), "x");

      await fileSystem.rename(at("a"), at("b"));
      await file.write([Buffer.from("y")], 1);

      assert.equal(await readText(at("b")), "xy");
    });

    test("removes files and folders with all that is in them, and what is not there", async () => {
      await fileSystem.makeDirectory(at("a", "b"));
      await create(at("a", "b", "file"), "x");
      await create(at("file"), "x");

      await fileSystem.remove(at("a"));
      await fileSystem.remove(at("file"));
      await fileSystem.remove(at("no"));

      assert.deepEqual(await fileSystem.list(at()), []);
    });

    test("knows how much room there is", async () => {
      const freeBytes = await fileSystem.freeBytes(at());

      assert.ok(Number.isInteger(freeBytes) && freeBytes > 0);
    });

    test("replaces a file whole with writeFileAtomic, and leaves nothing else behind", async () => {
      await writeFileAtomic(fileSystem, at("a"), Buffer.from("the first, longer content"));
      await writeFileAtomic(fileSystem, at("a"), Buffer.from("the second"));

      assert.equal(await readText(at("a")), "the second");
      assert.deepEqual(await fileSystem.list(at()), ["a"]);
    });

    test("writes a file atomically also where an attempt before died half-way", async () => {
      await create(at("a.tmp"), "half");

      await writeFileAtomic(fileSystem, at("a"), Buffer.from("whole"));

      assert.equal(await readText(at("a")), "whole");
      assert.deepEqual(await fileSystem.list(at()), ["a"]);
    });
  });
}
