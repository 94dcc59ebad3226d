/** Checks every batch of one segment's log file. */

import {
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_AT,
  BATCH_MAGIC,
  BATCH_PREFIX_BYTES,
  type BatchHeader,
  MAGIC_AT,
  readBatchHeader,
  WireError,
} from "@millrace/protocol";
import { type ReadAt, scanBatches } from "../log/batch-scanner.ts";
import { RELATIVE_OFFSET_LIMIT } from "../log/segment.ts";

export interface SegmentParts {
  readonly baseOffset: bigint;
  readonly sizeBytes: number;
  readonly readAt: ReadAt;
  /** Where the segment before this one ended, or where the first one begins. */
  readonly expectedOffset: bigint;
  /** Whether offsets may be missing from this one on, because the log is compacted. */
  mayLackOffsets(offset: bigint): boolean;
  /** Called for each good batch, in order. batch: its bytes, for the time of the call. */
  visit(header: BatchHeader, position: number, batch: Buffer): void;
  /** A place where no good batch is. offset: what was expected there. isEnd: what follows cannot be told apart. */
  onBadBatch(position: number, offset: bigint, what: string, isEnd: boolean): void;
  onMissingOffsets(position: number, from: bigint, until: bigint): void;
}

/** Returns the offset behind the last good batch. */
export async function verifyBatches(parts: SegmentParts): Promise<bigint> {
  const { baseOffset, sizeBytes, readAt } = parts;
  let position = 0;
  let endOffset = baseOffset;
  /** Null: behind a bad batch nobody knows which offset comes next. */
  let expectedOffset: bigint | null = parts.expectedOffset;
  for (;;) {
    position = await scanBatches(readAt, {
      fromPosition: position,
      endPosition: sizeBytes,
      minimumOffset: endOffset,
      maximumOffset: baseOffset + BigInt(RELATIVE_OFFSET_LIMIT),
      checkCrcFrom: -1n,
      visit(header, at, bytes, start) {
        if (expectedOffset !== null && header.baseOffset > expectedOffset && !parts.mayLackOffsets(expectedOffset)) {
          parts.onMissingOffsets(at, expectedOffset, header.baseOffset);
        }
        parts.visit(header, at, bytes.subarray(start, start + header.sizeBytes));
        endOffset = header.baseOffset + BigInt(header.lastOffsetDelta) + 1n;
        expectedOffset = endOffset;
        return true;
      },
    });
    if (position >= sizeBytes) return endOffset;
    const header = Buffer.alloc(Math.min(BATCH_HEADER_BYTES, sizeBytes - position));
    await readAt(header, position);
    const { what, skippedBytes } = diagnose(header, sizeBytes - position, endOffset);
    parts.onBadBatch(position, endOffset, what, skippedBytes === null);
    if (skippedBytes === null) return endOffset;
    position += skippedBytes;
    expectedOffset = null;
  }
}

interface Diagnosis {
  readonly what: string;
  /** How far behind it the next batch begins; null if nothing tells. */
  readonly skippedBytes: number | null;
}

/** Why no good batch starts here. header: as many of a header's bytes as the file still has. */
function diagnose(header: Buffer, leftBytes: number, minimumOffset: bigint): Diagnosis {
  const isZero = header.every((byte) => byte === 0);
  if (isZero)
    return { what: `expected a record batch, found zeros (${leftBytes} bytes to the end)`, skippedBytes: null };
  if (header.length < BATCH_HEADER_BYTES) {
    return { what: `expected a batch header of ${BATCH_HEADER_BYTES} bytes, found ${leftBytes}`, skippedBytes: null };
  }
  const sizeBytes = header.readInt32BE(BATCH_LENGTH_AT) + BATCH_PREFIX_BYTES;
  const isSizeSound = header[MAGIC_AT] === BATCH_MAGIC && sizeBytes >= BATCH_HEADER_BYTES;
  if (isSizeSound && sizeBytes > leftBytes) {
    return { what: `expected a batch of ${sizeBytes} bytes, found ${leftBytes}: it is cut off`, skippedBytes: null };
  }
  const skippedBytes = isSizeSound ? sizeBytes : null;
  try {
    const { baseOffset, lastOffsetDelta } = readBatchHeader(header);
    if (baseOffset < minimumOffset) {
      return { what: `expected offset ${minimumOffset} or a later one, found ${baseOffset}`, skippedBytes };
    }
    const lastOffset = baseOffset + BigInt(lastOffsetDelta);
    if (lastOffset > minimumOffset + BigInt(RELATIVE_OFFSET_LIMIT)) {
      return {
        what: `expected offset ${minimumOffset} or a near one, found ${baseOffset} to ${lastOffset}`,
        skippedBytes,
      };
    }
  } catch (error) {
    if (error instanceof WireError) return { what: `no record batch: ${error.message}`, skippedBytes };
    throw error;
  }
  return { what: "the checksum (CRC-32C) does not fit the batch's bytes", skippedBytes };
}
