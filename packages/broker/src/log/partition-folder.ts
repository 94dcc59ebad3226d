/** The folder of a partition: made with the first record, and lasting before that one is acknowledged. */

import { type FileSystem, writeFully } from "@millrace/base";
import { PARTITION_METADATA_FILE } from "./file-names.ts";

/** What it takes to make a folder. */
interface MissingFolder {
  readonly topicId: string;
  /** Makes the folders that were made in the data dir last. */
  syncDataDir(): Promise<void>;
}

/** A thousand topics that nobody writes to are a line each in topics.json, and no work for the disk. */
export class PartitionFolder {
  readonly path: string;
  readonly #fileSystem: FileSystem;
  #isThere: boolean;
  /** Null once its name in the data dir lasts. */
  #missing: MissingFolder | null;

  /** missing: null for a folder that is there. Such a one lasts: LogManager.open syncs the data dir. */
  constructor(fileSystem: FileSystem, path: string, missing: MissingFolder | null) {
    this.path = path;
    this.#fileSystem = fileSystem;
    this.#isThere = missing === null;
    this.#missing = missing;
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
    if (this.#isThere || this.#missing === null) return;
    await this.#fileSystem.makeDirectory(this.path);
    const file = await this.#fileSystem.open(`${this.path}/${PARTITION_METADATA_FILE}`, "readWrite");
    try {
      await writeFully(file, [Buffer.from(`version: 0\ntopic_id: ${this.#missing.topicId}\n`)], 0);
    } finally {
      await file.close();
    }
    this.#isThere = true;
  }

  /** Makes the names of the files in it last, and its own. */
  async sync(): Promise<void> {
    const names = this.#fileSystem.syncDirectory(this.path);
    await (this.#missing === null ? names : Promise.all([names, this.#missing.syncDataDir()]));
    this.#missing = null;
  }
}
