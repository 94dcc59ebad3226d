/** Producer state as files, in Kafka's format, so that a restart need not read the whole log to know its producers. */

import { crc32c } from "@millrace/protocol";
import { ProducerState } from "../producer-state.ts";
import { overwriteFile } from "./checkpoint-file.ts";
import { offsetFileName, SNAPSHOT_SUFFIX } from "./file-names.ts";
import type { SegmentContext } from "./segment.ts";

/**
 * The snapshot files of one log. Each is named by the offset that it was taken at.
 *
 * One that is ahead of what a crash leaves is of no use, so an older one is kept until the recovery point has passed a
 * newer one. Whoever reads one checks its CRC: only those of a segment's base are synced.
 */
export class ProducerSnapshots {
  readonly #context: SegmentContext;
  /** Rising. */
  #offsets: bigint[];

  constructor(context: SegmentContext, offsets: readonly bigint[]) {
    this.#context = context;
    this.#offsets = [...offsets];
  }

  /** Whether no batch of the log is newer than the newest snapshot. */
  isUpTo(endOffset: bigint): boolean {
    return endOffset === 0n || (this.#offsets.at(-1) ?? -1n) >= endOffset;
  }

  async write(offset: bigint, bytes: Buffer, isSynced: boolean): Promise<void> {
    await overwriteFile(this.#context.fileSystem, this.#pathOf(offset), bytes, { isSynced });
    this.#offsets = [...this.#offsets.filter((other) => other !== offset), offset].sort((a, b) => (a < b ? -1 : 1));
  }

  /** The state as of the newest snapshot that can be read and is not ahead of the offset. */
  async newestUpTo(offset: bigint, nowMs: number): Promise<{ offset: bigint; producers: ProducerState } | null> {
    for (const candidate of this.#offsets.filter((other) => other <= offset).reverse()) {
      const bytes = await this.#context.fileSystem.readFile(this.#pathOf(candidate));
      const producers = decodeSnapshot(bytes, nowMs);
      if (producers !== null) return { offset: candidate, producers };
      this.#context.logger.warn(
        { path: this.#pathOf(candidate) },
        "a producer snapshot is damaged: taking an older one",
      );
    }
    return null;
  }

  /** Removes those that a restart from the recovery point would not look at, but for that of the active segment's base. */
  async removeBefore(recoveryPoint: bigint, activeBaseOffset: bigint): Promise<void> {
    const newestUseful = this.#offsets.filter((offset) => offset <= recoveryPoint).at(-1);
    if (newestUseful === undefined) return;
    await this.#remove((offset) => offset < newestUseful && offset !== activeBaseOffset);
  }

  /** Removes those that speak of what is no longer in the log. */
  async removeBehind(endOffset: bigint): Promise<void> {
    await this.#remove((offset) => offset > endOffset);
  }

  async #remove(isGone: (offset: bigint) => boolean): Promise<void> {
    const gone = this.#offsets.filter(isGone);
    this.#offsets = this.#offsets.filter((offset) => !isGone(offset));
    for (const offset of gone) await this.#context.fileSystem.remove(this.#pathOf(offset));
  }

  #pathOf(offset: bigint): string {
    return `${this.#context.directory}/${offsetFileName(offset, SNAPSHOT_SUFFIX)}`;
  }
}

/**
 *     version i16 = 1 │ crc u32 over what follows │ entry count i32 │ entries …
 *
 *     an entry: producer id i64 │ epoch i16 │ last sequence i32 │ last offset i64 │ offset delta i32 │ timestamp i64 │
 *               coordinator epoch i32 │ first offset of the open transaction i64
 *
 * Kafka keeps one entry a producer, its last batch. Here each of a producer's last batches has one, oldest first: a
 * reader that knows only one takes the last, as it should, and after a restart all five retries are still known.
 */
const VERSION = 1;
const CRC_AT = 2;
const COUNT_AT = 6;
const ENTRIES_AT = 10;
const ENTRY_BYTES = 46;
const NO_COORDINATOR_EPOCH = -1;
const NO_OFFSET = -1n;

export function encodeSnapshot(state: ProducerState): Buffer {
  let entryCount = 0;
  for (const producer of state.entries()) entryCount += producer.batches.length;
  const bytes = Buffer.allocUnsafe(ENTRIES_AT + entryCount * ENTRY_BYTES);
  bytes.writeInt16BE(VERSION, 0);
  bytes.writeInt32BE(entryCount, COUNT_AT);
  let at = ENTRIES_AT;
  for (const producer of state.entries()) {
    for (const batch of producer.batches) {
      bytes.writeBigInt64BE(producer.producerId, at);
      bytes.writeInt16BE(producer.epoch, at + 8);
      bytes.writeInt32BE(batch.lastSequence, at + 10);
      bytes.writeBigInt64BE(batch.lastOffset, at + 14);
      bytes.writeInt32BE(Number(batch.lastOffset - batch.baseOffset), at + 22);
      bytes.writeBigInt64BE(batch.timestamp, at + 26);
      bytes.writeInt32BE(NO_COORDINATOR_EPOCH, at + 34);
      bytes.writeBigInt64BE(NO_OFFSET, at + 38);
      at += ENTRY_BYTES;
    }
  }
  bytes.writeUInt32BE(crc32c(bytes.subarray(COUNT_AT)), CRC_AT);
  return bytes;
}

/** Null if the bytes are no whole snapshot. Producers count as active from nowMs on: the file does not say when they were. */
export function decodeSnapshot(bytes: Buffer, nowMs: number): ProducerState | null {
  if (bytes.length < ENTRIES_AT || bytes.readInt16BE(0) !== VERSION) return null;
  if (crc32c(bytes.subarray(COUNT_AT)) !== bytes.readUInt32BE(CRC_AT)) return null;
  const entryCount = bytes.readInt32BE(COUNT_AT);
  if (bytes.length !== ENTRIES_AT + entryCount * ENTRY_BYTES) return null;
  const state = new ProducerState();
  for (let at = ENTRIES_AT; at < bytes.length; at += ENTRY_BYTES) {
    const lastSequence = bytes.readInt32BE(at + 10);
    const lastOffset = bytes.readBigInt64BE(at + 14);
    const offsetDelta = bytes.readInt32BE(at + 22);
    state.add(bytes.readBigInt64BE(at), bytes.readInt16BE(at + 8), nowMs, {
      firstSequence: subtractFromSequence(lastSequence, offsetDelta),
      lastSequence,
      baseOffset: lastOffset - BigInt(offsetDelta),
      lastOffset,
      timestamp: bytes.readBigInt64BE(at + 26),
    });
  }
  return state;
}

/** Sequences wrap below 0 to 2^31 - 1. */
function subtractFromSequence(sequence: number, decrement: number): number {
  return decrement <= sequence ? sequence - decrement : 2 ** 31 - decrement + sequence;
}
