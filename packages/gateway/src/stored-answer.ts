/** The answer for records that are all stored, written as bytes: a body may hold thousands of records. */

import type { BatchReceipt } from "@millrace/client/internal";
import { offsetAt, type RecordOutcomes, timestampAt } from "./record-outcomes.ts";

const HEAD = '{"offsets":[';
const TAIL = "]}";
/** About what an entry takes; where it is more, the buffer grows. */
const ENTRY_GUESS_BYTES = 64;
/** Of an offset: the digits that are counted on in place, four at most, and what they can count to. */
const LOW_DIGITS = 4;
const LOW_COUNT = 10_000;
const DIGIT_ZERO = 0x30;

/**
 * `{"offsets":[…]}`, each record as `outcomeEntry` has it, without ids and details.
 *
 * Records that stand one behind the other in a batch have all in common but the last digits of their offsets: the first
 * one's entry is copied, twice as many with each copy, and the digits are written into the copies. For a run of many that
 * takes a tenth of the time that a text for each takes (Node 20).
 */
export function storedAnswer(outcomes: RecordOutcomes): Buffer {
  const { recordCount } = outcomes;
  let bytes: Buffer = Buffer.allocUnsafe(HEAD.length + recordCount * ENTRY_GUESS_BYTES + TAIL.length);
  let at = bytes.write(HEAD, 0, "latin1");
  for (let slot = 0; slot < recordCount; ) {
    const receipt = outcomes.receipt(slot);
    if (receipt === null) break;
    const run = entryRun(receipt, outcomes.place(slot), outcomes.runLength(slot));
    const endAt = at + run.count * run.entry.length;
    if (endAt + TAIL.length > bytes.length) bytes = grown(bytes, at, endAt + TAIL.length);
    writeRun(bytes, at, run);
    at = endAt;
    slot += run.count;
  }
  // In place of the last comma.
  at += bytes.write(TAIL, at - 1, "latin1") - 1;
  return bytes.subarray(0, at);
}

/** Entries that differ in nothing but the last digits of their offsets. */
interface EntryRun {
  readonly count: number;
  /** The first one, with a comma behind it. */
  readonly entry: string;
  /** Where in it the digits end that are counted on; how many they are; what they say. */
  readonly digitsEnd: number;
  readonly digitCount: number;
  readonly low: number;
}

/** As many of the records that stand from this place on as can be counted through without a carry. */
function entryRun(receipt: BatchReceipt, place: number, recordCount: number): EntryRun {
  const offset = offsetAt(receipt, place);
  const low = offset < 0n ? 0 : Number(offset % BigInt(LOW_COUNT));
  const digits = String(offset);
  const digitCount = offset < 0n ? 0 : Math.min(LOW_DIGITS, digits.length);
  const timestamp = timestampAt(receipt, place);
  const limit = digitCount === 0 ? recordCount : Math.min(recordCount, 10 ** digitCount - low);
  let count = 1;
  while (count < limit && timestampAt(receipt, place + count) === timestamp) count += 1;
  const head = `{"partition":${receipt.partition},"offset":${digits}`;
  const tail = timestamp < 0 ? "}," : `,"timestamp":${timestamp}},`;
  return { count, entry: head + tail, digitsEnd: head.length, digitCount, low };
}

function writeRun(bytes: Buffer, at: number, { count, entry, digitsEnd, digitCount, low }: EntryRun): void {
  const entryBytes = bytes.write(entry, at, "latin1");
  const runBytes = count * entryBytes;
  for (let filled = entryBytes; filled < runBytes; filled *= 2) {
    bytes.copyWithin(at + filled, at, at + Math.min(filled, runBytes - filled));
  }
  for (let index = 1; index < count; index++) {
    let rest = low + index;
    const end = at + index * entryBytes + digitsEnd;
    for (let digit = 1; digit <= digitCount; digit++) {
      const tens = (rest / 10) | 0; // a division of integers: half the time of Math.trunc
      bytes[end - digit] = DIGIT_ZERO + rest - tens * 10;
      rest = tens;
    }
  }
}

function grown(bytes: Buffer, filledBytes: number, neededBytes: number): Buffer {
  const larger = Buffer.allocUnsafe(Math.max(neededBytes, 2 * bytes.length));
  bytes.copy(larger, 0, 0, filledBytes);
  return larger;
}
