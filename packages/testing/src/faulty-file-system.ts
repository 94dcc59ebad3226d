/** A disk that counts what it is asked and fails when a test says so. */

import type { File, FileSystem, OpenMode } from "@millrace/base";

export interface DiskFaults {
  /** Called before a write; may throw, or return how many bytes are taken of it. */
  onWrite?(path: string, sizeBytes: number): number | undefined | Promise<number | undefined>;
  /** Called after a read of a part of a file, before its caller has it; may throw, or wait. */
  onRead?(path: string): void | Promise<void>;
  /** Called before a file's sync; may throw, or wait. */
  onSync?(path: string): void | Promise<void>;
  onTruncate?(path: string): void;
  /** Called before a whole file is read; may throw. */
  onReadFile?(path: string): void;
  /** Called before a file is renamed or removed, with "rename PATH to PATH" or "remove PATH". */
  onChange?(what: string): void;
  /** Called before a folder is made; may throw. */
  onMakeDirectory?(path: string): void;
  freeBytes?(): number;
}

/** Passes everything on to another file system. */
export class FaultyFileSystem implements FileSystem {
  readonly #inner: FileSystem;
  faults: DiskFaults = {};
  writeCount = 0;
  syncCount = 0;
  openCount = 0;

  constructor(inner: FileSystem) {
    this.#inner = inner;
  }

  async open(path: string, mode: OpenMode): Promise<File> {
    this.openCount += 1;
    const file = await this.#inner.open(path, mode);
    return {
      read: async (buffer, position) => {
        const filledBytes = await file.read(buffer, position);
        await this.faults.onRead?.(path);
        return filledBytes;
      },
      write: async (chunks, position) => {
        this.writeCount += 1;
        const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
        const taken = await this.faults.onWrite?.(path, sizeBytes);
        return taken === undefined
          ? file.write(chunks, position)
          : file.write([Buffer.concat(chunks).subarray(0, taken)], position);
      },
      sync: async () => {
        this.syncCount += 1;
        await this.faults.onSync?.(path);
        await file.sync();
      },
      truncate: async (sizeBytes) => {
        this.faults.onTruncate?.(path);
        await file.truncate(sizeBytes);
      },
      sizeBytes: () => file.sizeBytes(),
      close: () => file.close(),
    };
  }

  async readFile(path: string): Promise<Buffer> {
    this.faults.onReadFile?.(path);
    return this.#inner.readFile(path);
  }

  list(path: string): Promise<string[]> {
    return this.#inner.list(path);
  }

  exists(path: string): Promise<boolean> {
    return this.#inner.exists(path);
  }

  sizeBytes(path: string): Promise<number> {
    return this.#inner.sizeBytes(path);
  }

  async makeDirectory(path: string): Promise<void> {
    this.faults.onMakeDirectory?.(path);
    return this.#inner.makeDirectory(path);
  }

  async rename(from: string, to: string): Promise<void> {
    this.faults.onChange?.(`rename ${from} to ${to}`);
    return this.#inner.rename(from, to);
  }

  async remove(path: string): Promise<void> {
    this.faults.onChange?.(`remove ${path}`);
    return this.#inner.remove(path);
  }

  syncDirectory(path: string): Promise<void> {
    return this.#inner.syncDirectory(path);
  }

  async freeBytes(path: string): Promise<number> {
    return this.faults.freeBytes?.() ?? this.#inner.freeBytes(path);
  }
}
