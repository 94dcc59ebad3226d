/** Where in the log each leader epoch began, so that a reader can tell whether what it read is still there (KIP-101, KIP-320). */

import type { FileSystem } from "@millrace/base";
import { encodeCheckpoint, overwriteFile, parseOffset, readCheckpoint } from "./checkpoint-file.ts";

export interface EpochEndOffset {
  /** -1 if the epoch is not known. */
  readonly leaderEpoch: number;
  /** The offset behind the epoch's last record; -1 if it is not known. */
  readonly endOffset: bigint;
}

interface EpochEntry {
  readonly epoch: number;
  readonly startOffset: bigint;
}

const UNKNOWN: EpochEndOffset = { leaderEpoch: -1, endOffset: -1n };

export class LeaderEpochs {
  /** Epochs and start offsets both rise. */
  #entries: EpochEntry[] = [];
  #isSaved = true;

  get latestEpoch(): number {
    return this.#entries.at(-1)?.epoch ?? -1;
  }

  /** The epoch in which the record at the offset was or will be written; -1 if the offset lies before all that is known. */
  epochOf(offset: bigint): number {
    return this.#entries.findLast(({ startOffset }) => startOffset <= offset)?.epoch ?? -1;
  }

  /** The epoch's records begin at the offset, unless it is known already. */
  assign(epoch: number, startOffset: bigint): void {
    if (epoch <= this.latestEpoch) return;
    // An epoch in which nothing was written leaves no trace.
    while ((this.#entries.at(-1)?.startOffset ?? -1n) >= startOffset) this.#entries.pop();
    this.#entries.push({ epoch, startOffset });
    this.#isSaved = false;
  }

  /** Forgets what began at the offset or behind it: the log was cut there. */
  truncateFromEnd(endOffset: bigint): void {
    while ((this.#entries.at(-1)?.startOffset ?? -1n) >= endOffset) {
      this.#entries.pop();
      this.#isSaved = false;
    }
  }

  /** Forgets epochs that ended before the offset. */
  truncateFromStart(startOffset: bigint): void {
    for (
      let second = this.#entries[1];
      second !== undefined && second.startOffset <= startOffset;
      second = this.#entries[1]
    ) {
      this.#entries.shift();
      this.#isSaved = false;
    }
  }

  /** Source: Kafka, LeaderEpochFileCache.endOffsetFor. */
  endOffsetOf(epoch: number, logEndOffset: bigint): EpochEndOffset {
    if (epoch === this.latestEpoch) return { leaderEpoch: epoch, endOffset: logEndOffset };
    const higherIndex = this.#entries.findIndex((entry) => entry.epoch > epoch);
    const higher = this.#entries[higherIndex];
    if (higher === undefined) return UNKNOWN;
    const floor = this.#entries[higherIndex - 1];
    return { leaderEpoch: floor?.epoch ?? epoch, endOffset: higher.startOffset };
  }

  clear(): void {
    this.#entries = [];
  }

  /** False if the file is not there or is damaged: the epochs have to be read from the batches. */
  async load(fileSystem: FileSystem, path: string): Promise<boolean> {
    const lines = await readCheckpoint(fileSystem, path);
    if (lines === null) return false;
    for (const [epochWord, offsetWord] of lines) {
      const epoch = Number(epochWord);
      const startOffset = parseOffset(offsetWord);
      if (!Number.isInteger(epoch) || startOffset === null) {
        this.clear();
        return false;
      }
      this.assign(epoch, startOffset);
    }
    this.#isSaved = true;
    return true;
  }

  async save(fileSystem: FileSystem, path: string): Promise<void> {
    if (this.#isSaved) return;
    this.#isSaved = true;
    try {
      const lines = this.#entries.map(({ epoch, startOffset }) => `${epoch} ${startOffset}`);
      await overwriteFile(fileSystem, path, encodeCheckpoint(lines));
    } catch (error) {
      this.#isSaved = false;
      throw error;
    }
  }
}
