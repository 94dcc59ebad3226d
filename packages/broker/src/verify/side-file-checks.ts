/** Compares what lies beside a log, producer snapshots and the epochs' starts, with the log's batches while these are walked. */

import type { BatchHeader } from "@millrace/protocol";
import { parseOffset } from "../log/checkpoint-file.ts";
import type { ProducerState } from "../producer-state.ts";

const SEQUENCE_MASK = 0x7fff_ffffn;

/** What a snapshot says of a batch. */
interface ExpectedBatch {
  readonly file: string;
  readonly producerId: bigint;
  readonly epoch: number;
  readonly lastSequence: number;
}

export class SnapshotCheck {
  readonly #expected = new Map<bigint, ExpectedBatch>();
  readonly #report: (file: string, what: string) => void;

  constructor(report: (file: string, what: string) => void) {
    this.#report = report;
  }

  /** offset: that of the snapshot's name; all it speaks of lies before it. */
  add(file: string, offset: bigint, producers: ProducerState): void {
    for (const { producerId, epoch, batches } of producers.entries()) {
      for (const { lastOffset, lastSequence } of batches) {
        this.#expected.set(lastOffset, { file, producerId, epoch, lastSequence });
        if (lastOffset < offset) continue;
        this.#report(file, `expected batches before offset ${offset}, found producer ${producerId}'s at ${lastOffset}`);
      }
    }
  }

  visit({ baseOffset, lastOffsetDelta, producerId, producerEpoch, baseSequence }: BatchHeader): void {
    const lastOffset = baseOffset + BigInt(lastOffsetDelta);
    const expected = this.#expected.get(lastOffset);
    if (expected === undefined) return;
    this.#expected.delete(lastOffset);
    const lastSequence = Number((BigInt(baseSequence) + BigInt(lastOffsetDelta)) & SEQUENCE_MASK);
    const found = nameOf(producerId, producerEpoch, lastSequence);
    const named = nameOf(expected.producerId, expected.epoch, expected.lastSequence);
    if (found !== named) this.#report(expected.file, `expected ${named} at offset ${lastOffset}, found ${found}`);
  }
}

function nameOf(producerId: bigint, epoch: number, lastSequence: number): string {
  return `sequence ${lastSequence} of producer ${producerId}, epoch ${epoch}`;
}

export class EpochCheck {
  readonly #starts = new Map<number, bigint>();

  /** lines: the file's. False if they are no list of epochs and offsets that both rise. */
  read(lines: readonly (readonly string[])[]): boolean {
    let last = { epoch: -1, start: -1n };
    for (const [epochWord, offsetWord] of lines) {
      const epoch = Number(epochWord);
      const start = parseOffset(offsetWord);
      if (!Number.isInteger(epoch) || start === null || epoch <= last.epoch || start <= last.start) return false;
      this.#starts.set(epoch, start);
      last = { epoch, start };
    }
    return true;
  }

  /** What is wrong, once for each epoch, or null. */
  visit({ partitionLeaderEpoch, baseOffset }: BatchHeader): string | null {
    const start = this.#starts.get(partitionLeaderEpoch);
    if (start === undefined || baseOffset >= start) return null;
    this.#starts.delete(partitionLeaderEpoch);
    return `expected epoch ${partitionLeaderEpoch} from offset ${start} on, found it at offset ${baseOffset}`;
  }
}
