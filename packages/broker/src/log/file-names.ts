/** Kafka's names for what lies in a data directory and in a partition's folder. */

const OFFSET_DIGITS = 20;

export const LOG_SUFFIX = ".log";
export const INDEX_SUFFIX = ".index";
export const TIME_INDEX_SUFFIX = ".timeindex";
export const SNAPSHOT_SUFFIX = ".snapshot";
/** Renamed so before it is removed. */
export const DELETED_SUFFIX = ".deleted";
/** Written by compaction, not complete yet. */
export const CLEANED_SUFFIX = ".cleaned";
/** Written by compaction, complete and synced: takes the place of the segments it was made from, also after a crash. */
export const SWAP_SUFFIX = ".swap";

/** A file that is being replaced: the whole one still stands beside it. */
export const TEMPORARY_SUFFIX = ".tmp";

export const LEADER_EPOCH_FILE = "leader-epoch-checkpoint";
export const PARTITION_METADATA_FILE = "partition.metadata";

/** In the data directory: all before these offsets is on the disk. */
export const RECOVERY_POINT_FILE = "recovery-point-offset-checkpoint";
/** In the data directory: records before these offsets were deleted. */
export const LOG_START_FILE = "log-start-offset-checkpoint";
/** In the data directory: all before these offsets was compacted. */
export const CLEANED_FILE = "cleaner-offset-checkpoint";
/** In the data directory: how often a broker was started on it. */
export const BROKER_EPOCH_FILE = "broker-epoch";

/** "00000000000000000042.log" */
export function offsetFileName(offset: bigint, suffix: string): string {
  return `${offset.toString().padStart(OFFSET_DIGITS, "0")}${suffix}`;
}

/** The offset in a name with this suffix; null for any other name. */
export function parseOffsetFileName(name: string, suffix: string): bigint | null {
  if (name.length !== OFFSET_DIGITS + suffix.length || !name.endsWith(suffix)) return null;
  const digits = name.slice(0, OFFSET_DIGITS);
  return /^\d+$/.test(digits) ? BigInt(digits) : null;
}

/** "orders-3" */
export function partitionDirectoryName(topic: string, partition: number): string {
  return `${topic}-${partition}`;
}

/** The topic and partition of a folder's name; null for a folder that is no partition's, deleted ones included. */
export function parsePartitionDirectoryName(name: string): { topic: string; partition: number } | null {
  const match = /^([A-Za-z0-9._-]{1,249})-(0|[1-9]\d{0,8})$/.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) return null;
  return { topic: match[1], partition: Number(match[2]) };
}
