/** The disk, passed in: Node's, one in memory, or a simulated one that loses what was not synced. */

import {
  close,
  constants,
  fdatasync,
  fstat,
  fsync,
  ftruncate,
  mkdir,
  open,
  read,
  readdir,
  type Stats,
  stat,
  write,
  writeSync,
  writev,
} from "node:fs";
import { rename, rm, statfs, unlink } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/**
 * A write of so little is done within the call, while no file is being synced: it is a copy into the page cache that
 * takes 3 µs, where the way to a thread of Node's pool and back takes 25. During a sync the file's last page or the block
 * with its size may be on its way to the disk, and the write would wait for it, and with it the event loop.
 */
const INLINE_WRITE_BYTES = 16 * 1024;

/** One open file. Positions and sizes are bytes. Errors carry Node's code (ENOENT, ENOSPC, EIO). */
export interface File {
  /** Fills the buffer from the position on; returns how many bytes there were, fewer than asked only at the end. */
  read(buffer: Buffer, position: number): Promise<number>;
  /**
   * Writes the chunks one after the other at the position. Returns how many bytes were written: fewer than given when
   * the disk is full (seen: a short writev and no error; the next write fails with ENOSPC). The caller goes on from there.
   */
  write(chunks: readonly Uint8Array[], position: number): Promise<number>;
  /** fdatasync. After a failure the file's unsynced bytes are in doubt for ever: never retry, recover. */
  sync(): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  sizeBytes(): Promise<number>;
  close(): Promise<void>;
}

export type OpenMode =
  /** Must exist; reads only. */
  | "read"
  /** Created if missing; reads and writes. */
  | "readWrite"
  /** Must not exist (EEXIST); reads and writes. */
  | "create";

export interface FileSystem {
  open(path: string, mode: OpenMode): Promise<File>;
  /** Throws ENOENT if it is not there. */
  readFile(path: string): Promise<Buffer>;
  /** The names in a folder, files and folders, in no order. Throws ENOENT. */
  list(path: string): Promise<string[]>;
  exists(path: string): Promise<boolean>;
  /** How long a file is, without opening it. Throws ENOENT. */
  sizeBytes(path: string): Promise<number>;
  /** Makes the folder and those above it; not an error if it is there. */
  makeDirectory(path: string): Promise<void>;
  /** Replaces what is at the target. Lasting only after syncDirectory of the folder. */
  rename(from: string, to: string): Promise<void>;
  /** A file or a whole folder; not an error if it is not there. */
  remove(path: string): Promise<void>;
  /** Makes creations, renames and removals in this folder last. */
  syncDirectory(path: string): Promise<void>;
  /** Room on the volume that holds the path. */
  freeBytes(path: string): Promise<number>;
}

/** Writes a file so that after a crash it is either the old one or the new one, whole, and the new one once this resolves. */
export async function writeFileAtomic(fileSystem: FileSystem, path: string, bytes: Uint8Array): Promise<void> {
  const temporaryPath = `${path}.tmp`;
  await fileSystem.remove(temporaryPath);
  const file = await fileSystem.open(temporaryPath, "create");
  try {
    await writeFully(file, [bytes], 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await fileSystem.rename(temporaryPath, path);
  await fileSystem.syncDirectory(dirname(path));
}

/** Writes all chunks, going on after short writes; throws ENOSPC if the disk takes no more. */
export async function writeFully(file: File, chunks: readonly Uint8Array[], position: number): Promise<void> {
  let rest = chunks.filter((chunk) => chunk.length > 0);
  while (rest.length > 0) {
    const writtenBytes = await file.write(rest, position);
    if (writtenBytes === 0) throw Object.assign(new Error("the disk takes no more bytes"), { code: "ENOSPC" });
    position += writtenBytes;
    rest = dropBytes(rest, writtenBytes);
  }
}

/** The chunks without their first sizeBytes bytes. */
export function dropBytes(chunks: readonly Uint8Array[], sizeBytes: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let toDrop = sizeBytes;
  for (const chunk of chunks) {
    if (toDrop >= chunk.length) toDrop -= chunk.length;
    else {
      rest.push(toDrop === 0 ? chunk : chunk.subarray(toDrop));
      toDrop = 0;
    }
  }
  return rest;
}

/** How many files are being synced. */
interface SyncCount {
  inProgress: number;
}

export class NodeFileSystem implements FileSystem {
  readonly #syncs: SyncCount = { inProgress: 0 };

  async open(path: string, mode: OpenMode): Promise<File> {
    return new NodeFile(await openNode(path, mode), this.#syncs);
  }

  async readFile(path: string): Promise<Buffer> {
    const file = await this.open(path, "read");
    try {
      const bytes = Buffer.allocUnsafe(await file.sizeBytes());
      return bytes.subarray(0, await file.read(bytes, 0));
    } finally {
      await file.close();
    }
  }

  list(path: string): Promise<string[]> {
    return call((done) => readdir(path, done));
  }

  async exists(path: string): Promise<boolean> {
    try {
      await statOf(path);
      return true;
    } catch (error) {
      if (hasCode(error, "ENOENT")) return false;
      throw error;
    }
  }

  async sizeBytes(path: string): Promise<number> {
    return (await statOf(path)).size;
  }

  /** One folder at a time: Node's recursive mkdir never ends where a folder cannot be made, as below /proc (seen: 20.20, 24.21). */
  async makeDirectory(path: string): Promise<void> {
    const absolute = resolve(path);
    const parent = dirname(absolute);
    try {
      await makeOne(absolute);
    } catch (error) {
      if (!hasCode(error, "ENOENT") || parent === absolute) throw error;
      await this.makeDirectory(parent);
      await makeOne(absolute);
    }
  }

  rename(from: string, to: string): Promise<void> {
    return rename(from, to);
  }

  async remove(path: string): Promise<void> {
    try {
      // Nearly always a file, for which rm makes some calls more.
      await unlink(path);
    } catch (error) {
      if (!hasCode(error, "ENOENT")) await rm(path, { recursive: true, force: true });
    }
  }

  async syncDirectory(path: string): Promise<void> {
    let fd: number;
    try {
      fd = await openFd(path, "r");
    } catch (error) {
      // Windows cannot open a folder; there a rename is as lasting as the volume makes it.
      if (hasCode(error, "EISDIR") || hasCode(error, "EPERM") || hasCode(error, "EACCES")) return;
      throw error;
    }
    try {
      await call<void>((done) => fsync(fd, done));
    } catch (error) {
      if (!hasCode(error, "EPERM") && !hasCode(error, "EINVAL")) throw error;
    } finally {
      await call<void>((done) => close(fd, done));
    }
  }

  async freeBytes(path: string): Promise<number> {
    const volume = await statfs(path);
    return volume.bavail * volume.bsize;
  }
}

export const nodeFileSystem: FileSystem = new NodeFileSystem();

async function openNode(path: string, mode: OpenMode): Promise<number> {
  if (mode === "read") return openFd(path, "r");
  if (mode === "create") return openFd(path, "wx+");
  return openFd(path, constants.O_RDWR | constants.O_CREAT);
}

function openFd(path: string, flags: string | number): Promise<number> {
  return call((done) => open(path, flags, done));
}

/**
 * Plain file descriptors under callbacks: a FileHandle of node:fs/promises is an event emitter that the garbage
 * collector watches, and costs twice the time to open, read and close (a broker opens thousands at its start).
 */
class NodeFile implements File {
  #fd: number;
  readonly #syncs: SyncCount;

  constructor(fd: number, syncs: SyncCount) {
    this.#fd = fd;
    this.#syncs = syncs;
  }

  async read(buffer: Buffer, position: number): Promise<number> {
    const fd = this.#openFd();
    let filledBytes = 0;
    while (filledBytes < buffer.length) {
      const at = filledBytes;
      const readBytes = await call<number>((done) => read(fd, buffer, at, buffer.length - at, position + at, done));
      if (readBytes === 0) break;
      filledBytes += readBytes;
    }
    return filledBytes;
  }

  async write(chunks: readonly Uint8Array[], position: number): Promise<number> {
    const fd = this.#openFd();
    const only = chunks.length === 1 ? chunks[0] : undefined;
    if (only === undefined) return call((done) => writev(fd, chunks, position, done));
    if (only.length <= INLINE_WRITE_BYTES && this.#syncs.inProgress === 0) {
      return writeSync(fd, only, 0, only.length, position);
    }
    return call((done) => write(fd, only, 0, only.length, position, done));
  }

  async sync(): Promise<void> {
    const fd = this.#openFd();
    this.#syncs.inProgress += 1;
    try {
      await call<void>((done) => fdatasync(fd, done));
    } finally {
      this.#syncs.inProgress -= 1;
    }
  }

  async truncate(sizeBytes: number): Promise<void> {
    const fd = this.#openFd();
    return call((done) => ftruncate(fd, sizeBytes, done));
  }

  async sizeBytes(): Promise<number> {
    const fd = this.#openFd();
    return (await call<Stats>((done) => fstat(fd, done))).size;
  }

  async close(): Promise<void> {
    const fd = this.#fd;
    if (fd === CLOSED_FD) return;
    this.#fd = CLOSED_FD;
    return call((done) => close(fd, done));
  }

  /** The number may belong to another file by now, once this one is closed. */
  #openFd(): number {
    if (this.#fd === CLOSED_FD) throw Object.assign(new Error("EBADF: the file is closed"), { code: "EBADF" });
    return this.#fd;
  }
}

const CLOSED_FD = -1;

function call<T>(start: (done: (error: Error | null, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error === null || error === undefined)
        resolve(value as T); // a call without an error has its value
      else reject(error);
    });
  });
}

function statOf(path: string): Promise<Stats> {
  return call((done) => stat(path, done));
}

/** One folder, whose parent is there. Asking first whether it is there would cost more than making it does. */
async function makeOne(path: string): Promise<void> {
  try {
    await call<void>((done) => mkdir(path, done));
  } catch (error) {
    // A file of that name is in the way; systems differ in how they refuse to make a root.
    if (!(await isDirectory(path))) throw error;
  }
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await statOf(path)).isDirectory();
  } catch {
    return false;
  }
}

/** True for an error of Node's with this code ("ENOENT"). */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
