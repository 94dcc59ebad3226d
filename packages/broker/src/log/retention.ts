/** Which segments have had their time. Whole segments, oldest first, never the active one. */

import type { Segment, TimedOffset } from "./segment.ts";

export interface RetentionLimits {
  /** -1: for ever. */
  readonly retentionMs: number;
  /** -1: any number. */
  readonly retentionBytes: number;
}

/** How many of the segments, from the oldest on, are beyond the limits. newestMs caps timestamps that lie in the future. */
export async function countExpired(
  segments: readonly Segment[],
  limits: RetentionLimits,
  nowMs: number,
  openedAtMs: number,
): Promise<number> {
  const bySize = countExcess(
    segments.map((segment) => segment.sizeBytes),
    limits.retentionBytes,
  );
  let count = bySize;
  while (count < segments.length - 1) {
    const segment = segments[count];
    if (segment === undefined || !isExpired(await segment.newest(), limits.retentionMs, nowMs, openedAtMs)) break;
    count += 1;
  }
  return count;
}

/** By size a segment goes while without it there would still be as much as is to be kept. */
export function countExcess(sizesBytes: readonly number[], retentionBytes: number): number {
  if (retentionBytes < 0) return 0;
  let excessBytes = sizesBytes.reduce((sum, sizeBytes) => sum + sizeBytes, -retentionBytes);
  let count = 0;
  while (count < sizesBytes.length - 1) {
    excessBytes -= sizesBytes[count] ?? 0;
    if (excessBytes < 0) break;
    count += 1;
  }
  return count;
}

/**
 * By time a segment goes when its newest record is older than is to be kept.
 *
 * A timestamp ahead of the clock counts as the moment when the log was opened: else one record from the year 2100
 * would hold its segment for ever.
 */
export function isExpired(newest: TimedOffset, retentionMs: number, nowMs: number, openedAtMs: number): boolean {
  if (retentionMs < 0) return false;
  const timestampMs = Number(newest.timestamp);
  const newestMs = newest.offset < 0n || timestampMs > nowMs ? openedAtMs : timestampMs;
  return nowMs - newestMs > retentionMs;
}
