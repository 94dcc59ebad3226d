/** Compares a segment's index files with its batches while these are walked. */

import type { BatchHeader } from "@millrace/protocol";
import { OFFSET_ENTRY_BYTES, OffsetIndex } from "../log/offset-index.ts";
import { RELATIVE_OFFSET_LIMIT } from "../log/segment.ts";
import { TIME_ENTRY_BYTES, TimeIndex } from "../log/time-index.ts";

/** Each entry must lead to the start of a batch that ends at its offset. */
export class OffsetIndexCheck {
  readonly #index: OffsetIndex | null;
  readonly #baseOffset: bigint;
  readonly #report: (position: number | null, what: string) => void;
  #next = 0;

  /** report: position is that of an entry in the index file. */
  constructor(bytes: Buffer, baseOffset: bigint, report: (position: number | null, what: string) => void) {
    this.#index = OffsetIndex.decode(bytes, Number.POSITIVE_INFINITY);
    this.#baseOffset = baseOffset;
    this.#report = report;
    if (this.#index === null) report(null, notRising(bytes.length, OFFSET_ENTRY_BYTES));
  }

  visit(header: BatchHeader, position: number): void {
    const index = this.#index;
    if (index === null) return;
    for (; this.#next < index.count && index.positionAt(this.#next) <= position; this.#next++) {
      const lastOffset = header.baseOffset + BigInt(header.lastOffsetDelta);
      const entryOffset = this.#baseOffset + BigInt(index.offsetAt(this.#next));
      if (index.positionAt(this.#next) < position) this.#say("no batch begins");
      else if (entryOffset !== lastOffset) this.#say(`the batch ends at offset ${lastOffset}, not ${entryOffset}`);
    }
  }

  /** Entries of a place that was not read prove nothing. */
  skipTo(position: number): void {
    const index = this.#index;
    while (index !== null && this.#next < index.count && index.positionAt(this.#next) < position) this.#next += 1;
  }

  /** endPosition: up to where the log was read. */
  end(endPosition: number): void {
    const index = this.#index;
    if (index === null || this.#next === index.count) return;
    const leftCount = index.count - this.#next;
    this.#report(
      this.#next * OFFSET_ENTRY_BYTES,
      `${leftCount} entries lead behind the log's last batch, which ends at byte ${endPosition}`,
    );
  }

  #say(what: string): void {
    const position = this.#index?.positionAt(this.#next);
    this.#report(this.#next * OFFSET_ENTRY_BYTES, `an entry leads to byte ${position} of the log, where ${what}`);
  }
}

/** Each entry must name the largest timestamp up to the batch that has it; the last one of a closed segment, of all. */
export class TimeIndexCheck {
  #index: TimeIndex | null;
  readonly #baseOffset: bigint;
  readonly #report: (position: number | null, what: string) => void;
  #next = 0;
  #maxTimestamp = -1n;

  constructor(bytes: Buffer, baseOffset: bigint, report: (position: number | null, what: string) => void) {
    this.#index = TimeIndex.decode(bytes, RELATIVE_OFFSET_LIMIT);
    this.#baseOffset = baseOffset;
    this.#report = report;
    if (this.#index === null) report(null, notRising(bytes.length, TIME_ENTRY_BYTES));
  }

  visit(header: BatchHeader): void {
    if (header.maxTimestamp > this.#maxTimestamp) this.#maxTimestamp = header.maxTimestamp;
    const index = this.#index;
    if (index === null) return;
    const lastOffset = header.baseOffset + BigInt(header.lastOffsetDelta);
    for (; this.#next < index.count && this.#entryOffset <= lastOffset; this.#next++) {
      const timestamp = index.timestampAt(this.#next);
      if (this.#entryOffset < lastOffset) this.#say(`no batch ends at offset ${this.#entryOffset}`);
      else if (timestamp !== this.#maxTimestamp) {
        this.#say(`up to offset ${lastOffset} the largest timestamp is ${this.#maxTimestamp}, not ${timestamp}`);
      }
    }
  }

  /** Behind a batch that could not be read nobody knows the largest timestamp. */
  giveUp(): void {
    this.#index = null;
  }

  end(isSealed: boolean): void {
    const index = this.#index;
    if (index === null) return;
    if (this.#next < index.count) this.#say(`${index.count - this.#next} entries are of offsets behind the log's end`);
    else if (isSealed && index.lastTimestamp < this.#maxTimestamp) {
      this.#report(null, `the last entry says ${index.lastTimestamp}; the largest timestamp is ${this.#maxTimestamp}`);
    }
  }

  get #entryOffset(): bigint {
    return this.#baseOffset + BigInt(this.#index?.offsetAt(this.#next) ?? 0);
  }

  #say(what: string): void {
    this.#report(this.#next * TIME_ENTRY_BYTES, what);
  }
}

function notRising(sizeBytes: number, entryBytes: number): string {
  return sizeBytes % entryBytes === 0
    ? "its entries do not rise"
    : `expected entries of ${entryBytes} bytes, found ${sizeBytes} bytes: one is cut off`;
}
