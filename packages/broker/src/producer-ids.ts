/** Producer ids: each is given out once, ever, even across crashes. */

import { join } from "node:path";
import type { FileSystem } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { readJson, writeJson } from "./json-file.ts";

export const PRODUCER_IDS_FILE = "producer-ids.json";
/** Ids taken from the disk at a time; a crash skips what is left of them. As many as Kafka takes. */
const BLOCK_SIZE = 1000n;

export class ProducerIds {
  readonly #fileSystem: FileSystem;
  readonly #path: string;
  #next: bigint;
  /** Behind the last id that may be given out: what the file says, so that nobody gives out one below it again. */
  #blockEnd: bigint;
  #growing: Promise<void> | null = null;

  static async open(fileSystem: FileSystem, dataDir: string): Promise<ProducerIds> {
    const path = join(dataDir, PRODUCER_IDS_FILE);
    return new ProducerIds(fileSystem, path, await readNextProducerId(fileSystem, path));
  }

  private constructor(fileSystem: FileSystem, path: string, firstFree: bigint) {
    this.#fileSystem = fileSystem;
    this.#path = path;
    this.#next = firstFree;
    this.#blockEnd = firstFree;
  }

  /** An id that nobody had. Rejects with KAFKA_STORAGE_ERROR if the disk does not take the claim. */
  async allocate(): Promise<bigint> {
    while (this.#next === this.#blockEnd) {
      this.#growing ??= this.#grow().finally(() => {
        this.#growing = null;
      });
      await this.#growing;
    }
    return this.#next++;
  }

  async #grow(): Promise<void> {
    const end = this.#blockEnd + BLOCK_SIZE;
    try {
      await writeJson(this.#fileSystem, this.#path, { nextProducerId: end.toString() });
    } catch (cause) {
      throw new KafkaError("KAFKA_STORAGE_ERROR", `cannot write ${this.#path}`, { cause });
    }
    this.#blockEnd = end;
  }
}

/** The first id that was never given out. Rejects with KAFKA_STORAGE_ERROR if the file is damaged. */
export async function readNextProducerId(fileSystem: FileSystem, path: string): Promise<bigint> {
  const found = await readJson(fileSystem, path);
  const text = found === null ? "0" : found.nextProducerId;
  if (typeof text === "string" && /^\d+$/.test(text)) return BigInt(text);
  throw new KafkaError("KAFKA_STORAGE_ERROR", `${path} is damaged: nextProducerId must be a text of digits`);
}
