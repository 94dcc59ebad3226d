/** What a partition's log is told about itself: the topic's settings, resolved to numbers. */

import { DAY_MS, HOUR_MS, MEBIBYTE } from "@millrace/base";

/**
 * When bytes go to the disk for good, and with that what an acknowledgement means.
 *
 *     always    acks=all waits for fdatasync, and readers see only what a power cut cannot take back
 *     interval  acks=all waits for the write; a power cut loses up to flushIntervalMs or flushIntervalBytes
 *     os        acks=all waits for the write; a power cut loses what the kernel still held, some 30 s. Kafka's default
 *
 * All three survive a killed process.
 */
export type FlushMode = "always" | "interval" | "os";

export type CleanupPolicy = "delete" | "compact" | "compact,delete";

/** Names are Kafka's topic settings in camelCase. -1 for a limit: none. */
export interface LogSettings {
  /** A batch that would make the segment longer opens the next one. 128 MiB bounds what a restart may have to scan. */
  readonly segmentBytes: number;
  /** Age, by the broker's clock and counted from the first append, at which a segment is closed. */
  readonly segmentMs: number;
  /** One entry in the offset index for so many bytes of batches. */
  readonly indexIntervalBytes: number;
  /** Largest record batch, its 12 bytes of offset and length included. */
  readonly maxMessageBytes: number;
  readonly flush: FlushMode;
  /** Flush mode "interval": a sync at the latest after so many bytes … */
  readonly flushIntervalBytes: number;
  /** … or so long after the first byte that was not synced. */
  readonly flushIntervalMs: number;
  readonly retentionMs: number;
  readonly retentionBytes: number;
  readonly cleanupPolicy: CleanupPolicy;
  readonly messageTimestampType: "CreateTime" | "LogAppendTime";
  /** How far a CreateTime may lie behind the broker's clock; -1: any. */
  readonly messageTimestampBeforeMaxMs: number;
  /** How far a CreateTime may lie ahead of it; -1: any. */
  readonly messageTimestampAfterMaxMs: number;
  /** Compaction: how long a tombstone is kept, so that a slow reader still sees it. */
  readonly deleteRetentionMs: number;
  /** Compaction starts when this share of the bytes that it could clean has not been cleaned yet. */
  readonly minCleanableDirtyRatio: number;
  /** Records younger than this are not compacted. */
  readonly minCompactionLagMs: number;
  /** A producer id that wrote nothing for so long is forgotten. */
  readonly producerIdExpirationMs: number;
  /** Bytes that may wait to be written; beyond it appends are refused as retriable. */
  readonly queuedBytesLimit: number;
}

export const defaultLogSettings: LogSettings = {
  segmentBytes: 128 * MEBIBYTE,
  segmentMs: 7 * DAY_MS,
  indexIntervalBytes: 4096,
  maxMessageBytes: 1_048_588,
  flush: "always",
  flushIntervalBytes: MEBIBYTE,
  flushIntervalMs: 100,
  retentionMs: 7 * DAY_MS,
  retentionBytes: -1,
  cleanupPolicy: "delete",
  messageTimestampType: "CreateTime",
  messageTimestampBeforeMaxMs: -1,
  messageTimestampAfterMaxMs: HOUR_MS,
  deleteRetentionMs: DAY_MS,
  minCleanableDirtyRatio: 0.5,
  minCompactionLagMs: 0,
  producerIdExpirationMs: DAY_MS,
  queuedBytesLimit: 64 * MEBIBYTE,
};
