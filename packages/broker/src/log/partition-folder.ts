/** The folder of a partition: made with the first record, and lasting before that one is acknowledged. */

import { type FileSystem, writeFully } from "@millrace/base";
import { PARTITION_METADATA_FILE } from "./file-names.ts";

interface PartitionFolderParts {
  readonly path: string;
  readonly topicId: string;
  /** False if there is nothing of that name yet. */
  readonly isThere: boolean;
  readonly fileSystem: FileSystem;
  /** Makes the folders that were made in the data dir last. */
  syncDataDir(): Promise<void>;
}

/** A thousand topics that nobody writes to are a line each in topics.json, and no work for the disk. */
export class PartitionFolder {
  readonly path: string;
  readonly #parts: PartitionFolderParts;
  #isThere: boolean;
  /** Whether a power cut leaves its name in the data dir. */
  #isLasting: boolean;

  constructor(parts: PartitionFolderParts) {
    this.path = parts.path;
    this.#parts = parts;
    this.#isThere = parts.isThere;
    // What is there at the start lasts: LogManager.open syncs the data dir.
    this.#isLasting = parts.isThere;
  }

  get isThere(): boolean {
    return this.#isThere;
  }

  /**
   * Makes the folder if it is not there. After a failure it may be tried again.
   *
   * Kafka's partition.metadata is there for Kafka's tools and for people; topics.json is what we go by.
   */
  async make(): Promise<void> {
    if (this.#isThere) return;
    const { fileSystem, topicId } = this.#parts;
    await fileSystem.makeDirectory(this.path);
    const file = await fileSystem.open(`${this.path}/${PARTITION_METADATA_FILE}`, "readWrite");
    try {
      await writeFully(file, [Buffer.from(`version: 0\ntopic_id: ${topicId}\n`)], 0);
    } finally {
      await file.close();
    }
    this.#isThere = true;
  }

  /** Makes the names of the files in it last, and its own. */
  async sync(): Promise<void> {
    const names = this.#parts.fileSystem.syncDirectory(this.path);
    await (this.#isLasting ? names : Promise.all([names, this.#parts.syncDataDir()]));
    this.#isLasting = true;
  }
}
