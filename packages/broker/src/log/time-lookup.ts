/** Finds records by their time, in what readers may see of a log. */

import { type BatchHeader, type DecodedRecord, loadCodec, readBatchHeader, readRecords } from "@millrace/protocol";
import { larger } from "./bigints.ts";
import type { Segment } from "./segment.ts";

export interface RecordPosition {
  readonly offset: bigint;
  readonly timestamp: bigint;
}

/** What of a log is searched: its segments, oldest first, between two offsets. */
export interface SearchedLog {
  readonly segments: readonly Segment[];
  readonly logStartOffset: bigint;
  readonly highWatermark: bigint;
}

/** What one batch may decompress to when a timestamp is looked up in it. */
const DECOMPRESSED_LIMIT_BYTES = 100 * 1024 * 1024;

/** The first record that is as young as the timestamp or younger; null if none is. */
export async function findTimestamp(log: SearchedLog, timestampMs: bigint): Promise<RecordPosition | null> {
  for (const segment of log.segments) {
    if ((await segment.newest()).timestamp < timestampMs) continue;
    const fromOffset = larger(await segment.offsetBefore(timestampMs), log.logStartOffset);
    const found = await firstSince(log, segment, fromOffset, timestampMs);
    if (found !== null) return found;
  }
  return null;
}

async function firstSince(
  log: SearchedLog,
  segment: Segment,
  fromOffset: bigint,
  timestampMs: bigint,
): Promise<RecordPosition | null> {
  for (let nextOffset = fromOffset; ; ) {
    const batch = await firstBatch(log, segment, nextOffset, (header) => header.maxTimestamp >= timestampMs);
    if (batch === null) return null;
    const record = (await decodeRecords(batch)).find(
      ({ timestamp, offset }) => timestamp >= timestampMs && offset >= log.logStartOffset,
    );
    if (record !== undefined) return { offset: record.offset, timestamp: record.timestamp };
    const header = readBatchHeader(batch);
    nextOffset = header.baseOffset + BigInt(header.lastOffsetDelta) + 1n;
  }
}

/** The record with the largest timestamp, the first of several; null if the log is empty. */
export async function findNewest(log: SearchedLog): Promise<RecordPosition | null> {
  let newest = { timestamp: -1n, offset: -1n };
  let holder: Segment | null = null;
  for (const segment of log.segments) {
    const candidate = await segment.newestBefore(log.highWatermark);
    if (candidate.offset < 0n || candidate.timestamp <= newest.timestamp) continue;
    newest = candidate;
    holder = segment;
  }
  if (holder === null) return null;
  const { timestamp, offset } = newest;
  const batch = await firstBatch(log, holder, offset, () => true);
  const record = batch === null ? undefined : (await decodeRecords(batch)).find((each) => each.timestamp >= timestamp);
  return record === undefined ? null : { offset: record.offset, timestamp: record.timestamp };
}

/** The first batch that readers may see, from the offset on, with such a header. */
async function firstBatch(
  { highWatermark }: SearchedLog,
  segment: Segment,
  fromOffset: bigint,
  isWanted: (header: BatchHeader) => boolean,
): Promise<Buffer | null> {
  let found: { readonly position: number; readonly sizeBytes: number } | null = null;
  await segment.scanFrom(fromOffset, (header, position) => {
    if (header.baseOffset >= highWatermark) return false;
    if (!isWanted(header)) return true;
    found = { position, sizeBytes: header.sizeBytes };
    return false;
  });
  if (found === null) return null;
  const { position, sizeBytes } = found;
  return segment.readBatch(position, sizeBytes);
}

async function decodeRecords(batch: Buffer): Promise<DecodedRecord[]> {
  await loadCodec(readBatchHeader(batch).compression);
  return readRecords(batch, DECOMPRESSED_LIMIT_BYTES);
}
