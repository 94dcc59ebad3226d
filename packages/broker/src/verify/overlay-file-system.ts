/** A disk that is only looked at: what is written to it is kept in memory, so that one sees what a change would do. */

import { basename } from "node:path";
import type { File, FileSystem, OpenMode } from "@millrace/base";

/** A file that was changed: the first bytes of one on the disk, if any, and what was written over them. */
interface Changed {
  readonly basePath: string | null;
  /** As far as the file on the disk is still valid. */
  baseBytes: number;
  pieces: { readonly position: number; readonly bytes: Buffer }[];
  sizeBytes: number;
}

export interface Change {
  readonly path: string;
  /** Null: the file is gone. */
  readonly sizeBytes: number | null;
}

/**
 * Passes reads on to another file system and writes nothing to it.
 *
 * For files of one folder, which is all that the recovery of a log touches; folders are neither made nor removed.
 */
export class OverlayFileSystem implements FileSystem {
  readonly #below: FileSystem;
  /** Null: removed. */
  readonly #changed = new Map<string, Changed | null>();

  constructor(below: FileSystem) {
    this.#below = below;
  }

  /** What is different from the disk, in the order in which it was first changed. */
  changes(): Change[] {
    return [...this.#changed].map(([path, changed]) => ({ path, sizeBytes: changed?.sizeBytes ?? null }));
  }

  async open(path: string, mode: OpenMode): Promise<File> {
    if (mode !== "read") await this.#change(path);
    else if (!this.#changed.has(path)) return this.#below.open(path, mode);
    return new OverlayFile(this.#below, this.#expect(path));
  }

  async readFile(path: string): Promise<Buffer> {
    if (!this.#changed.has(path)) return this.#below.readFile(path);
    const file = new OverlayFile(this.#below, this.#expect(path));
    const bytes = Buffer.alloc(await file.sizeBytes());
    await file.read(bytes, 0);
    await file.close();
    return bytes;
  }

  async list(path: string): Promise<string[]> {
    const names = new Set(await this.#below.list(path));
    for (const [changedPath, changed] of this.#changed) {
      if (changed === null) names.delete(basename(changedPath));
      else names.add(basename(changedPath));
    }
    return [...names];
  }

  async exists(path: string): Promise<boolean> {
    const changed = this.#changed.get(path);
    return changed === undefined ? this.#below.exists(path) : changed !== null;
  }

  async sizeBytes(path: string): Promise<number> {
    return this.#changed.has(path) ? this.#expect(path).sizeBytes : this.#below.sizeBytes(path);
  }

  async makeDirectory(): Promise<void> {}

  async rename(from: string, to: string): Promise<void> {
    this.#changed.set(to, await this.#change(from));
    this.#changed.set(from, null);
  }

  async remove(path: string): Promise<void> {
    if (this.#changed.has(path) || (await this.#below.exists(path))) this.#changed.set(path, null);
  }

  async syncDirectory(): Promise<void> {}

  freeBytes(path: string): Promise<number> {
    return this.#below.freeBytes(path);
  }

  async #change(path: string): Promise<Changed> {
    const known = this.#changed.get(path);
    if (known !== undefined && known !== null) return known;
    const isOnDisk = known === undefined && (await this.#below.exists(path));
    const sizeBytes = isOnDisk ? await this.#below.sizeBytes(path) : 0;
    const changed = { basePath: isOnDisk ? path : null, baseBytes: sizeBytes, pieces: [], sizeBytes };
    this.#changed.set(path, changed);
    return changed;
  }

  #expect(path: string): Changed {
    const changed = this.#changed.get(path);
    if (changed) return changed;
    throw Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT" });
  }
}

class OverlayFile implements File {
  readonly #below: FileSystem;
  readonly #changed: Changed;
  #base: File | null = null;

  constructor(below: FileSystem, changed: Changed) {
    this.#below = below;
    this.#changed = changed;
  }

  async read(buffer: Buffer, position: number): Promise<number> {
    const { basePath, baseBytes, pieces, sizeBytes } = this.#changed;
    const wanted = buffer.subarray(0, Math.max(Math.min(buffer.length, sizeBytes - position), 0));
    wanted.fill(0);
    if (basePath !== null && position < baseBytes) {
      this.#base ??= await this.#below.open(basePath, "read");
      await this.#base.read(wanted.subarray(0, baseBytes - position), position);
    }
    for (const piece of pieces) {
      const from = Math.max(piece.position, position);
      const end = Math.min(piece.position + piece.bytes.length, position + wanted.length);
      if (from < end) piece.bytes.copy(wanted, from - position, from - piece.position, end - piece.position);
    }
    return wanted.length;
  }

  async write(chunks: readonly Uint8Array[], position: number): Promise<number> {
    const bytes = Buffer.concat(chunks);
    this.#changed.pieces.push({ position, bytes });
    this.#changed.sizeBytes = Math.max(this.#changed.sizeBytes, position + bytes.length);
    return bytes.length;
  }

  async sync(): Promise<void> {}

  async truncate(sizeBytes: number): Promise<void> {
    const changed = this.#changed;
    changed.baseBytes = Math.min(changed.baseBytes, sizeBytes);
    changed.pieces = changed.pieces
      .filter(({ position }) => position < sizeBytes)
      .map(({ position, bytes }) => ({ position, bytes: bytes.subarray(0, sizeBytes - position) }));
    changed.sizeBytes = sizeBytes;
  }

  async sizeBytes(): Promise<number> {
    return this.#changed.sizeBytes;
  }

  async close(): Promise<void> {
    await this.#base?.close();
    this.#base = null;
  }
}
