/** Read handles for all segments of a broker: the least recently used are closed when there are too many. */

import { type File, type FileSystem, fileSystemError } from "@millrace/base";

/** Whose file it is. It is told when its handle goes, to let go of what it keeps in memory for reading. */
export interface HandleOwner {
  readonly logPath: string;
  onHandleEvicted(): void;
}

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
  readonly #handles = new Map<HandleOwner, CachedHandle>();
  /** Owners whose files are gone. Another file may have the same name by now. */
  readonly #retired = new WeakSet<HandleOwner>();

  constructor(fileSystem: FileSystem, limit: number) {
    this.#fileSystem = fileSystem;
    this.#limit = limit;
  }

  get openCount(): number {
    return this.#handles.size;
  }

  /**
   * Fills the buffer from the position on, as far as the file goes; returns how many bytes there were.
   *
   * Rejects with the error of the system; ENOENT for an owner that is retired.
   */
  async read(owner: HandleOwner, buffer: Buffer, position: number): Promise<number> {
    if (this.#retired.has(owner)) throw fileSystemError("ENOENT", owner.logPath);
    const handle = this.#acquire(owner);
    try {
      const file = await handle.file;
      return await file.read(buffer, position);
    } finally {
      this.#release(handle);
    }
  }

  /** Nothing more is read for an owner whose file is about to be removed or replaced. Reads in progress end as they began. */
  retire(owner: HandleOwner): void {
    this.#retired.add(owner);
    this.#evict(owner);
  }

  #evict(owner: HandleOwner): void {
    const handle = this.#handles.get(owner);
    if (handle === undefined) return;
    this.#handles.delete(owner);
    handle.isEvicted = true;
    if (handle.userCount === 0) closeQuietly(handle);
    owner.onHandleEvicted();
  }

  close(): void {
    for (const owner of [...this.#handles.keys()]) this.#evict(owner);
  }

  #acquire(owner: HandleOwner): CachedHandle {
    let handle = this.#handles.get(owner);
    if (handle === undefined) {
      handle = { file: this.#fileSystem.open(owner.logPath, "read"), userCount: 0, isEvicted: false };
      const opened = handle;
      opened.file.catch(() => {
        // The reader gets the error; the next one tries again.
        if (this.#handles.get(owner) === opened) this.#handles.delete(owner);
      });
    } else {
      this.#handles.delete(owner);
    }
    this.#handles.set(owner, handle);
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
    for (const [owner, handle] of this.#handles) {
      if (handle.userCount === 0) {
        this.#evict(owner);
        return;
      }
    }
  }
}

/** Closing a handle that was only read from loses nothing, whatever close says. */
function closeQuietly(handle: CachedHandle): void {
  handle.file.then((file) => file.close()).catch(() => {});
}
