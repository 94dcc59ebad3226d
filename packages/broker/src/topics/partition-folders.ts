/** PartitionFolders: which partitions have a folder in the data dir, and how the folders of deleted topics go. */

import { join } from "node:path";
import type { FileSystem, Logger } from "@millrace/base";
import { parsePartitionDirectoryName, partitionDirectoryName } from "../log/file-names.ts";
import type { TopicRecord } from "./topic-records.ts";

/** A folder on its way out: what is left of its name, and the id of the topic it belonged to. */
export const DELETED_FOLDER = /\.([A-Za-z0-9_-]{22})-delete$/;
/** With the id and the suffix behind it, a folder's name stays within 255 bytes. */
const DELETED_NAME_LENGTH = 200;

/**
 * The folders of a deleted topic are renamed first, and removed once topics.json no longer has the topic: until then a
 * renamed folder is what tells the next start to finish the deletion.
 */
export class PartitionFolders {
  readonly #dataDir: string;
  readonly #fileSystem: FileSystem;
  readonly #logger: Logger;
  /** Those that were there at the start, without what was renamed since. */
  readonly #found = new Set<string>();
  /** Renamed and not removed yet, by the topic's id. */
  readonly #renamed = new Map<string, string[]>();
  readonly #removals = new Set<Promise<void>>();

  static async open(parts: {
    readonly dataDir: string;
    readonly fileSystem: FileSystem;
    readonly logger: Logger;
  }): Promise<PartitionFolders> {
    const folders = new PartitionFolders(parts.dataDir, parts.fileSystem, parts.logger);
    for (const name of await parts.fileSystem.list(parts.dataDir)) {
      const topicId = DELETED_FOLDER.exec(name)?.[1];
      if (topicId !== undefined) folders.#noteRenamed(topicId, name);
      else if (parsePartitionDirectoryName(name) !== null) folders.#found.add(name);
    }
    return folders;
  }

  private constructor(dataDir: string, fileSystem: FileSystem, logger: Logger) {
    this.#dataDir = dataDir;
    this.#fileSystem = fileSystem;
    this.#logger = logger;
  }

  /** Of topics whose deletion was begun. */
  get deletedTopicIds(): string[] {
    return [...this.#renamed.keys()];
  }

  /** Whether a partition had one at the start. */
  had(topic: string, partition: number): boolean {
    return this.#found.has(partitionDirectoryName(topic, partition));
  }

  /** Those that were there at the start and that no topic of these claims. */
  strangersTo(partitionCountOf: (topic: string) => number): string[] {
    return [...this.#found].filter((folder) => {
      const found = parsePartitionDirectoryName(folder);
      return found !== null && found.partition >= partitionCountOf(found.topic);
    });
  }

  /** Begins a deletion: from now on a start finishes it. May be called again if it rejected half way. */
  async rename({ name: topic, id, partitions }: TopicRecord): Promise<void> {
    for (let partition = 0; partition < partitions; partition++) {
      const name = partitionDirectoryName(topic, partition);
      if (!(await this.#fileSystem.exists(join(this.#dataDir, name)))) continue;
      const deleted = `${partitionDirectoryName(topic.slice(0, DELETED_NAME_LENGTH), partition)}.${id}-delete`;
      await this.#fileSystem.rename(join(this.#dataDir, name), join(this.#dataDir, deleted));
      this.#found.delete(name);
      this.#noteRenamed(id, deleted);
    }
    await this.#fileSystem.syncDirectory(this.#dataDir);
  }

  /** Ends a deletion: what was renamed is removed when there is time. */
  removeRenamed(topicId: string): void {
    for (const name of this.#renamed.get(topicId) ?? []) this.#remove(join(this.#dataDir, name));
    this.#renamed.delete(topicId);
  }

  /** Resolves once all that is being removed is gone. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#removals);
  }

  #noteRenamed(topicId: string, name: string): void {
    this.#renamed.set(topicId, [...(this.#renamed.get(topicId) ?? []), name]);
  }

  #remove(folder: string): void {
    const removal: Promise<void> = this.#fileSystem
      .remove(folder)
      .catch((error) => this.#logger.warn({ folder, error }, "could not remove a deleted topic's folder"))
      .finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
  }
}
