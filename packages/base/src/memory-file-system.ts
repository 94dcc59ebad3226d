/** A disk in memory: what it holds is gone with the process. */

import type { File, FileSystem, OpenMode } from "./file-system.ts";
import { MemoryBytes } from "./memory-bytes.ts";
import { fileSystemError, MemoryTree } from "./memory-tree.ts";
import { GIBIBYTE } from "./units.ts";

const LIMIT_BYTES = GIBIBYTE;

/** limitBytes: what all files may hold together; beyond it the disk is full. */
export class MemoryFileSystem implements FileSystem {
  readonly #tree = new MemoryTree<MemoryBytes>();
  readonly #room: Room;

  constructor(limitBytes = LIMIT_BYTES) {
    this.#room = { limitBytes, usedBytes: 0 };
  }

  async open(path: string, mode: OpenMode): Promise<File> {
    if (mode === "create" || (mode === "readWrite" && this.#tree.find(path) === null)) {
      this.#tree.addFile(path, new MemoryBytes());
    }
    return new MemoryFile(path, this.#tree.file(path).content, mode === "read", this.#room);
  }

  async readFile(path: string): Promise<Buffer> {
    return this.#tree.file(path).content.toBuffer();
  }

  async list(path: string): Promise<string[]> {
    return [...this.#tree.folder(path).entries.keys()];
  }

  async exists(path: string): Promise<boolean> {
    return this.#tree.find(path) !== null;
  }

  async sizeBytes(path: string): Promise<number> {
    return this.#tree.file(path).content.sizeBytes;
  }

  async makeDirectory(path: string): Promise<void> {
    this.#tree.addFolder(path);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#tree.rename(from, to);
    this.#measure();
  }

  async remove(path: string): Promise<void> {
    this.#tree.remove(path);
    this.#measure();
  }

  async syncDirectory(path: string): Promise<void> {
    this.#tree.folder(path);
  }

  async freeBytes(path: string): Promise<number> {
    if (!(await this.exists(path))) throw fileSystemError("ENOENT", path);
    return this.#room.limitBytes - this.#room.usedBytes;
  }

  #measure(): void {
    this.#room.usedBytes = 0;
    for (const { content } of this.#tree.files()) this.#room.usedBytes += content.sizeBytes;
  }
}

/** What all files share. */
interface Room {
  readonly limitBytes: number;
  usedBytes: number;
}

class MemoryFile implements File {
  readonly #path: string;
  readonly #content: MemoryBytes;
  readonly #isReadOnly: boolean;
  readonly #room: Room;
  #isClosed = false;

  constructor(path: string, content: MemoryBytes, isReadOnly: boolean, room: Room) {
    this.#path = path;
    this.#content = content;
    this.#isReadOnly = isReadOnly;
    this.#room = room;
  }

  async read(buffer: Buffer, position: number): Promise<number> {
    this.#check(!this.#isClosed);
    return this.#content.read(buffer, position);
  }

  async write(chunks: readonly Uint8Array[], position: number): Promise<number> {
    this.#check(!this.#isClosed && !this.#isReadOnly);
    let end = position;
    for (const chunk of chunks) {
      const grownBytes = Math.max(end + chunk.length - this.#content.sizeBytes, 0);
      const missingBytes = Math.max(this.#room.usedBytes + grownBytes - this.#room.limitBytes, 0);
      const fitting = chunk.subarray(0, Math.max(chunk.length - missingBytes, 0));
      this.#resized(() => this.#content.write(fitting, end));
      end += fitting.length;
      if (missingBytes > 0) break;
    }
    // As a disk does: a short count first, and the error only when nothing at all would fit.
    if (end === position && chunks.some((chunk) => chunk.length > 0)) throw fileSystemError("ENOSPC", this.#path);
    return end - position;
  }

  async sync(): Promise<void> {
    this.#check(!this.#isClosed);
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#check(!this.#isClosed && !this.#isReadOnly);
    this.#resized(() => this.#content.truncate(sizeBytes));
  }

  async sizeBytes(): Promise<number> {
    this.#check(!this.#isClosed);
    return this.#content.sizeBytes;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #resized(write: () => void): void {
    const before = this.#content.sizeBytes;
    write();
    this.#room.usedBytes += this.#content.sizeBytes - before;
  }

  #check(isAllowed: boolean): void {
    if (!isAllowed) throw fileSystemError("EBADF", this.#path);
  }
}
