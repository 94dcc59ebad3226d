/** A disk on virtual time that does what disks do: takes its time, fails, fills up, and loses at a crash what was not synced. */

import {
  type File,
  type FileSystem,
  fileSystemError,
  MemoryTree,
  newFolder,
  type OpenMode,
  type Random,
  type TreeChange,
  type TreeFolder,
  type TreeNode,
} from "@millrace/base";
import { type DiskFault, DiskOperations, type DiskOptions } from "./disk-operations.ts";
import { SimulatedContent } from "./simulated-content.ts";

const ENDLESS_BYTES = 2 ** 40;

export interface SimulatedFileSystemOptions extends DiskOptions {
  /** What fits on the disk. */
  readonly capacityBytes?: number;
}

type Folder = TreeFolder<SimulatedContent>;
/** What one operation changed in the folders; it lasts whole or not at all. */
type Changes = readonly TreeChange<SimulatedContent>[];

/** What the machine holds, whichever process looks at it. */
interface DiskState {
  readonly tree: MemoryTree<SimulatedContent>;
  readonly lasting: LastingNames;
  /** In order. */
  unsynced: Changes[];
}

/**
 * What is seen and what lasts are kept apart:
 *
 *                      seen at once                lasting
 *     a file's bytes   write, truncate   ─ sync ──────────▶ synced bytes
 *     a folder's names open, rename, …   ─ syncDirectory ─▶ synced names
 */
export class SimulatedFileSystem implements FileSystem {
  /** May be changed at any time: a disk fills up, and somebody makes room. */
  capacityBytes: number;
  readonly #options: SimulatedFileSystemOptions;
  readonly #operations: DiskOperations;
  readonly #state: DiskState;

  constructor(options: SimulatedFileSystemOptions, state: DiskState = stateOf(newFolder())) {
    this.capacityBytes = options.capacityBytes ?? ENDLESS_BYTES;
    this.#options = options;
    this.#operations = new DiskOperations(options);
    this.#state = state;
  }

  /** Returns the function that ends the fault. */
  inject(fault: DiskFault): () => void {
    return this.#operations.inject(fault);
  }

  /**
   * The power goes. This file system refuses everything from now on, with EIO; the one that is returned is what the
   * machine finds when it comes up again, without the faults that were injected.
   *
   * What was not made lasting is in the hands of chance: it may be there, gone, or torn.
   */
  crash(): SimulatedFileSystem {
    this.#operations.takeDown("crash");
    const { tree, lasting, unsynced } = this.#state;
    const { random } = this.#options;
    const keptCount = random.integer(unsynced.length + 1);
    for (const changes of unsynced.slice(0, keptCount)) lasting.apply(changes);
    return this.#successor(stateOf(lasting.survivor(tree.root, random)));
  }

  /**
   * The process is gone, and the machine goes on: what was written is there, what was synced is no more than before.
   *
   * This file system refuses everything from now on, with EIO; the one that is returned is what the next process finds,
   * without the faults that were injected.
   */
  kill(): SimulatedFileSystem {
    this.#operations.takeDown("kill");
    return this.#successor(this.#state);
  }

  #successor(state: DiskState): SimulatedFileSystem {
    return new SimulatedFileSystem({ ...this.#options, capacityBytes: this.capacityBytes }, state);
  }

  async open(path: string, mode: OpenMode): Promise<File> {
    await this.#operations.run("open", path);
    if (mode === "create" || (mode === "readWrite" && this.#state.tree.find(path) === null)) {
      this.#changed(this.#state.tree.addFile(path, new SimulatedContent()));
    }
    const { content } = this.#state.tree.file(path);
    return new SimulatedFile({
      path,
      content,
      isReadOnly: mode === "read",
      operations: this.#operations,
      random: this.#options.random,
      freeBytes: () => this.#freeBytes(),
    });
  }

  async readFile(path: string): Promise<Buffer> {
    await this.#operations.run("read", path);
    return this.#state.tree.file(path).content.seen.toBuffer();
  }

  async list(path: string): Promise<string[]> {
    await this.#operations.run("list", path);
    return [...this.#state.tree.folder(path).entries.keys()];
  }

  async exists(path: string): Promise<boolean> {
    await this.#operations.run("stat", path);
    return this.#state.tree.find(path) !== null;
  }

  async sizeBytes(path: string): Promise<number> {
    await this.#operations.run("stat", path);
    return this.#state.tree.file(path).content.seen.sizeBytes;
  }

  async makeDirectory(path: string): Promise<void> {
    await this.#operations.run("makeDirectory", path);
    for (const change of this.#state.tree.addFolder(path)) this.#changed([change]);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#operations.run("rename", from);
    this.#changed(this.#state.tree.rename(from, to));
  }

  async remove(path: string): Promise<void> {
    await this.#operations.run("remove", path);
    this.#changed(this.#state.tree.remove(path));
  }

  async syncDirectory(path: string): Promise<void> {
    const state = this.#state;
    const before = [...state.unsynced];
    await this.#operations.run("syncDirectory", path);
    const synced = changesOf(state.tree.folder(path), before);
    for (const changes of state.unsynced.filter((candidate) => synced.has(candidate))) state.lasting.apply(changes);
    state.unsynced = state.unsynced.filter((candidate) => !synced.has(candidate));
  }

  async freeBytes(): Promise<number> {
    return this.#freeBytes();
  }

  /** Of all files together. */
  get usedBytes(): number {
    let usedBytes = 0;
    for (const { content } of this.#state.tree.files()) usedBytes += content.seen.sizeBytes;
    return usedBytes;
  }

  #freeBytes(): number {
    if (this.capacityBytes === ENDLESS_BYTES) return ENDLESS_BYTES;
    return Math.max(this.capacityBytes - this.usedBytes, 0);
  }

  #changed(changes: Changes): void {
    if (changes.length > 0) this.#state.unsynced.push(changes);
  }
}

function stateOf(root: Folder): DiskState {
  return { tree: new MemoryTree(root), lasting: new LastingNames(root), unsynced: [] };
}

/** The operations that touched the folder, and those before them that touched the same names elsewhere. */
function changesOf(folder: Folder, operations: readonly Changes[]): Set<Changes> {
  const found = new Set<Changes>();
  const isTouchedLater = (change: TreeChange<SimulatedContent>) =>
    [...found].some((changes) => changes.some(({ folder, name }) => folder === change.folder && name === change.name));
  for (const changes of operations.toReversed()) {
    if (changes.some((change) => change.folder === folder || isTouchedLater(change))) found.add(changes);
  }
  return found;
}

/** The names in each folder that a crash leaves. */
class LastingNames {
  readonly #names = new Map<Folder, Map<string, TreeNode<SimulatedContent>>>();

  constructor(root: Folder) {
    this.#add(root);
  }

  apply(changes: Changes): void {
    for (const { folder, name, node } of changes) {
      const names = this.#names.get(folder) ?? new Map<string, TreeNode<SimulatedContent>>();
      this.#names.set(folder, names);
      if (node === null) names.delete(name);
      else names.set(name, node);
    }
  }

  /** The folder as it is after a crash. */
  survivor(folder: Folder, random: Random): Folder {
    const survivor: Folder = newFolder();
    for (const [name, node] of this.#names.get(folder) ?? []) {
      const left: TreeNode<SimulatedContent> =
        node.kind === "folder" ? this.survivor(node, random) : { kind: "file", content: node.content.survivor(random) };
      survivor.entries.set(name, left);
    }
    return survivor;
  }

  #add(folder: Folder): void {
    this.#names.set(folder, new Map(folder.entries));
    for (const node of folder.entries.values()) if (node.kind === "folder") this.#add(node);
  }
}

interface SimulatedFileOptions {
  readonly path: string;
  readonly content: SimulatedContent;
  readonly isReadOnly: boolean;
  readonly operations: DiskOperations;
  readonly random: Random;
  freeBytes(): number;
}

class SimulatedFile implements File {
  readonly #options: SimulatedFileOptions;
  #isClosed = false;

  constructor(options: SimulatedFileOptions) {
    this.#options = options;
  }

  async read(buffer: Buffer, position: number): Promise<number> {
    this.#check();
    const { operations, path, content } = this.#options;
    await operations.run("read", path);
    return content.seen.read(buffer, position);
  }

  /** The bytes are on their way at once: a crash before the promise resolves may find some of them on the disk. */
  async write(chunks: readonly Uint8Array[], position: number): Promise<number> {
    this.#check("write");
    const { operations, path, content } = this.#options;
    const given = Buffer.concat(chunks);
    const effect = operations.begin("write", path, ` ${given.length} bytes at ${position}`);
    const written = given.subarray(0, this.#fittingBytes(given, position, effect));
    if (effect === null || effect === "short") content.write(written, position);
    await operations.finish(path, written.length === 0 && given.length > 0 ? (effect ?? "ENOSPC") : effect);
    return written.length;
  }

  async sync(): Promise<void> {
    this.#check();
    const { operations, path, content } = this.#options;
    const changeCount = content.changeCount;
    try {
      await operations.run("sync", path);
    } catch (error) {
      // As Linux does: the pages count as clean, and the next sync has nothing to say about them.
      if (!operations.isDown) content.giveUp(changeCount, this.#options.random);
      throw error;
    }
    content.makeLasting(changeCount);
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#check("write");
    const { operations, path, content } = this.#options;
    await operations.run("truncate", path);
    content.truncate(sizeBytes);
  }

  async sizeBytes(): Promise<number> {
    this.#check();
    await this.#options.operations.run("stat", this.#options.path);
    return this.#options.content.seen.sizeBytes;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  /** How much of a write the disk takes: all, a part that chance chooses, or what there is room for. */
  #fittingBytes(given: Buffer, position: number, effect: string | null): number {
    const { content, random, freeBytes } = this.#options;
    const grownBytes = Math.max(position + given.length - content.seen.sizeBytes, 0);
    const fittingBytes = Math.max(given.length - Math.max(grownBytes - freeBytes(), 0), 0);
    return effect === "short" && fittingBytes > 1 ? 1 + random.integer(fittingBytes - 1) : fittingBytes;
  }

  #check(access: "read" | "write" = "read"): void {
    const isAllowed = !this.#isClosed && (access === "read" || !this.#options.isReadOnly);
    if (!isAllowed) throw fileSystemError("EBADF", this.#options.path);
  }
}
