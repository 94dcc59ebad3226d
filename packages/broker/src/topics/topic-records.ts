/** TopicRecords: the topics of a data dir as topics.json has them. */

import { join } from "node:path";
import type { FileSystem } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { TOPICS_FILE } from "../data-dir.ts";
import { readJson, writeJson } from "../json-file.ts";
import { CoalescedTask } from "../log/coalesced-task.ts";
import { collisionKey } from "./topic-names.ts";
import type { TopicConfig } from "./topic-settings.ts";

const TOPICS_FILE_VERSION = 1;

/** What a topic is on disk. */
export interface TopicRecord {
  readonly name: string;
  readonly id: string;
  readonly partitions: number;
  readonly isInternal: boolean;
  readonly config: TopicConfig;
}

/** What the file says, or is about to say: changes are on disk once `save` has resolved. */
export class TopicRecords {
  readonly #fileSystem: FileSystem;
  readonly #path: string;
  readonly #records = new Map<string, TopicRecord>();
  readonly #namesByCollisionKey = new Map<string, string>();
  readonly #saving = new CoalescedTask(() => this.#write());

  /** Rejects as `readTopics` does. */
  static async open(fileSystem: FileSystem, dataDir: string): Promise<TopicRecords> {
    const path = join(dataDir, TOPICS_FILE);
    const records = new TopicRecords(fileSystem, path);
    for (const record of await readTopics(fileSystem, path)) records.set(record);
    return records;
  }

  private constructor(fileSystem: FileSystem, path: string) {
    this.#fileSystem = fileSystem;
    this.#path = path;
  }

  all(): TopicRecord[] {
    return [...this.#records.values()];
  }

  get(name: string): TopicRecord | undefined {
    return this.#records.get(name);
  }

  /** The topic that one of this name would be mistaken for. */
  collidingWith(name: string): string | undefined {
    return this.#namesByCollisionKey.get(collisionKey(name));
  }

  set(record: TopicRecord): void {
    this.#records.set(record.name, record);
    this.#namesByCollisionKey.set(collisionKey(record.name), record.name);
  }

  delete(name: string): void {
    this.#records.delete(name);
    this.#namesByCollisionKey.delete(collisionKey(name));
  }

  /** Writes the file. What changes while one write is under way goes into the next, one for all. */
  save(): Promise<void> {
    return this.#saving.run();
  }

  #write(): Promise<void> {
    return writeJson(this.#fileSystem, this.#path, { version: TOPICS_FILE_VERSION, topics: this.all() });
  }
}

/** The topics of a data dir, none without a file. Rejects with KAFKA_STORAGE_ERROR if it is damaged, or not of this version. */
export async function readTopics(fileSystem: FileSystem, path: string): Promise<TopicRecord[]> {
  const file = await readJson(fileSystem, path);
  if (file === null) return [];
  const { version, topics } = file;
  if (version !== TOPICS_FILE_VERSION) {
    throw new KafkaError(
      "KAFKA_STORAGE_ERROR",
      `${path} has version ${version}; this Millrace reads ${TOPICS_FILE_VERSION}: start the version that wrote it`,
    );
  }
  if (!Array.isArray(topics) || !topics.every(isTopicRecord)) {
    throw new KafkaError("KAFKA_STORAGE_ERROR", `${path} is damaged: it does not hold a list of topics`);
  }
  return topics;
}

function isTopicRecord(value: unknown): value is TopicRecord {
  if (typeof value !== "object" || value === null) return false;
  const record: Partial<Record<keyof TopicRecord, unknown>> = value;
  return (
    typeof record.name === "string" &&
    typeof record.id === "string" &&
    typeof record.partitions === "number" &&
    typeof record.isInternal === "boolean" &&
    typeof record.config === "object" &&
    record.config !== null
  );
}
