/** Read handles for all segments of a broker: the least recently used are closed when there are too many. */

import type { File, FileSystem } from "@millrace/base";

interface CachedHandle {
  readonly file: Promise<File>;
  userCount: number;
  isEvicted: boolean;
}

export class FileHandles {
  readonly #fileSystem: FileSystem;
  /** Handles in use may exceed it for as long as they are in use. */
  readonly #limit: number;
  /** Oldest use first: a Map keeps the order in which its keys came. */
  readonly #handles = new Map<string, CachedHandle>();

  constructor(fileSystem: FileSystem, limit: number) {
    this.#fileSystem = fileSystem;
    this.#limit = limit;
  }

  get openCount(): number {
    return this.#handles.size;
  }

  /** Fills the buffer from the position on, as far as the file goes; returns how many bytes there were. */
  async read(path: string, buffer: Buffer, position: number): Promise<number> {
    const handle = this.#acquire(path);
    try {
      const file = await handle.file;
      return await file.read(buffer, position);
    } finally {
      this.#release(handle);
    }
  }

  /** Forgets a file that is about to be removed or replaced. Reads in progress end as they began. */
  evict(path: string): void {
    const handle = this.#handles.get(path);
    if (handle === undefined) return;
    this.#handles.delete(path);
    handle.isEvicted = true;
    if (handle.userCount === 0) closeQuietly(handle);
  }

  close(): void {
    for (const path of [...this.#handles.keys()]) this.evict(path);
  }

  #acquire(path: string): CachedHandle {
    let handle = this.#handles.get(path);
    if (handle === undefined) {
      handle = { file: this.#fileSystem.open(path, "read"), userCount: 0, isEvicted: false };
      const opened = handle;
      opened.file.catch(() => {
        // The reader gets the error; the next one tries again.
        if (this.#handles.get(path) === opened) this.#handles.delete(path);
      });
    } else {
      this.#handles.delete(path);
    }
    this.#handles.set(path, handle);
    handle.userCount += 1;
    this.#evictOldest();
    return handle;
  }

  #release(handle: CachedHandle): void {
    handle.userCount -= 1;
    if (handle.isEvicted && handle.userCount === 0) closeQuietly(handle);
  }

  #evictOldest(): void {
    if (this.#handles.size <= this.#limit) return;
    for (const [path, handle] of this.#handles) {
      if (handle.userCount === 0) {
        this.evict(path);
        return;
      }
    }
  }
}

/** Closing a handle that was only read from loses nothing, whatever close says. */
function closeQuietly(handle: CachedHandle): void {
  handle.file.then((file) => file.close()).catch(() => {});
}
