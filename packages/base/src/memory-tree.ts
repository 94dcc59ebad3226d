/** Folders and files by path, in memory; what a file holds is up to its user. Errors are those of a Linux file system. */

import { normalize } from "node:path";

export interface TreeFile<Content> {
  readonly kind: "file";
  readonly content: Content;
}

export interface TreeFolder<Content> {
  readonly kind: "folder";
  readonly entries: Map<string, TreeNode<Content>>;
}

export type TreeNode<Content> = TreeFile<Content> | TreeFolder<Content>;

/** One name in one folder that now stands for another node, or for none. */
export interface TreeChange<Content> {
  readonly folder: TreeFolder<Content>;
  readonly name: string;
  readonly node: TreeNode<Content> | null;
}

/** All that changes the tree returns the changes that it has made, in order. */
export class MemoryTree<Content> {
  readonly root: TreeFolder<Content>;

  constructor(root: TreeFolder<Content> = newFolder()) {
    this.root = root;
  }

  /** Null if nothing is there. */
  find(path: string): TreeNode<Content> | null {
    let node: TreeNode<Content> = this.root;
    for (const name of namesOf(path)) {
      if (node.kind === "file") return null;
      const next = node.entries.get(name);
      if (next === undefined) return null;
      node = next;
    }
    return node;
  }

  /** Throws ENOENT, EISDIR. */
  file(path: string): TreeFile<Content> {
    const node = this.#node(path);
    if (node.kind === "folder") throw fileSystemError("EISDIR", path);
    return node;
  }

  /** Throws ENOENT, ENOTDIR. */
  folder(path: string): TreeFolder<Content> {
    const node = this.#node(path);
    if (node.kind === "file") throw fileSystemError("ENOTDIR", path);
    return node;
  }

  /** Throws EEXIST, ENOENT if the folder is not there. */
  addFile(path: string, content: Content): TreeChange<Content>[] {
    const { folder, name } = this.#place(path);
    if (folder.entries.has(name)) throw fileSystemError("EEXIST", path);
    return change([{ folder, name, node: { kind: "file", content } }]);
  }

  /** The folder and those above it, as far as they are not there. Throws EEXIST if a file is. */
  addFolder(path: string): TreeChange<Content>[] {
    const changes: TreeChange<Content>[] = [];
    let folder = this.root;
    for (const name of namesOf(path)) {
      const next = folder.entries.get(name) ?? newFolder<Content>();
      if (next.kind === "file") throw fileSystemError("EEXIST", path);
      if (!folder.entries.has(name)) changes.push(...change([{ folder, name, node: next }]));
      folder = next;
    }
    return changes;
  }

  /** Throws ENOENT, EISDIR, ENOTDIR, ENOTEMPTY as rename(2). */
  rename(from: string, to: string): TreeChange<Content>[] {
    const source = this.#place(from);
    const target = this.#place(to);
    const node = this.#node(from);
    const replaced = target.folder.entries.get(target.name);
    if (replaced === node) return [];
    if (replaced?.kind === "folder" && node.kind === "file") throw fileSystemError("EISDIR", to);
    if (replaced?.kind === "file" && node.kind === "folder") throw fileSystemError("ENOTDIR", to);
    if (replaced?.kind === "folder" && replaced.entries.size > 0) throw fileSystemError("ENOTEMPTY", to);
    return change([
      { ...source, node: null },
      { ...target, node },
    ]);
  }

  /** Nothing if it is not there. */
  remove(path: string): TreeChange<Content>[] {
    if (this.find(path) === null) return [];
    return change([{ ...this.#place(path), node: null }]);
  }

  *files(folder = this.root): Generator<TreeFile<Content>> {
    for (const node of folder.entries.values()) {
      if (node.kind === "file") yield node;
      else yield* this.files(node);
    }
  }

  #node(path: string): TreeNode<Content> {
    const node = this.find(path);
    if (node === null) throw fileSystemError("ENOENT", path);
    return node;
  }

  #place(path: string): { readonly folder: TreeFolder<Content>; readonly name: string } {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw fileSystemError("EBUSY", path);
    return { folder: this.folder(names.join("/")), name };
  }
}

export function newFolder<Content>(): TreeFolder<Content> {
  return { kind: "folder", entries: new Map() };
}

/** An error as Node's file system throws it. */
export function fileSystemError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code, path });
}

function change<Content>(changes: TreeChange<Content>[]): TreeChange<Content>[] {
  for (const { folder, name, node } of changes) {
    if (node === null) folder.entries.delete(name);
    else folder.entries.set(name, node);
  }
  return changes;
}

function namesOf(path: string): string[] {
  return normalize(path)
    .split(/[\\/]/)
    .filter((name) => name !== "" && name !== ".");
}
