/** A list that outlives the broker: one JSON file, replaced as a whole. */

import type { FileSystem } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { readJson, writeJson } from "./json-file.ts";

const FORMAT_VERSION = 1;

export interface StoredListParts<T> {
  readonly fileSystem: FileSystem;
  readonly path: string;
  /** One item as the file has it; null if it is none. */
  read(value: unknown): T | null;
}

export class StoredList<T> {
  readonly #parts: StoredListParts<T>;
  #items: readonly T[];
  /** The last change under way: they happen one after the other. */
  #changing: Promise<unknown> = Promise.resolve();

  /** Without a file the list is empty. Rejects with KAFKA_STORAGE_ERROR for a file that is damaged, or not of this version. */
  static async open<T>(parts: StoredListParts<T>): Promise<StoredList<T>> {
    const { fileSystem, path } = parts;
    const found = await readJson(fileSystem, path);
    if (found === null) return new StoredList(parts, []);
    if (found.version !== FORMAT_VERSION) {
      throw new KafkaError(
        "KAFKA_STORAGE_ERROR",
        `${path} has version ${found.version}; this Millrace reads ${FORMAT_VERSION}: use the version that wrote it`,
      );
    }
    const items = Array.isArray(found.items) ? found.items.map((item) => parts.read(item)) : [null];
    const good = items.filter((item) => item !== null);
    if (good.length < items.length) throw new KafkaError("KAFKA_STORAGE_ERROR", `${path} is damaged`);
    return new StoredList(parts, good);
  }

  private constructor(parts: StoredListParts<T>, items: readonly T[]) {
    this.#parts = parts;
    this.#items = items;
  }

  get items(): readonly T[] {
    return this.#items;
  }

  /**
   * Resolves once the changed list is on disk, from when on it is in force.
   *
   * edit: gives the new list; the same one if there is nothing to change. What it throws comes out here, and nothing is
   * changed. Rejects with KAFKA_STORAGE_ERROR if the disk does not take it.
   */
  change(edit: (items: readonly T[]) => readonly T[]): Promise<void> {
    const changed = this.#changing.then(() => this.#change(edit));
    this.#changing = changed.catch(() => {});
    return changed;
  }

  async #change(edit: (items: readonly T[]) => readonly T[]): Promise<void> {
    const items = edit(this.#items);
    if (items === this.#items) return;
    const { fileSystem, path } = this.#parts;
    try {
      await writeJson(fileSystem, path, { version: FORMAT_VERSION, items });
    } catch (cause) {
      throw new KafkaError("KAFKA_STORAGE_ERROR", `cannot write ${path}`, { cause });
    }
    this.#items = items;
  }
}
