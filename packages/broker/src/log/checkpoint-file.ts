/** Kafka's small text files: a version, a count, and so many lines of words. */

import { type FileSystem, hasCode, writeFully } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";

const VERSION = "0";

/**
 *     0
 *     2
 *     orders 0 1042
 *     orders 1 977
 *
 * The words of each line, or null if the file is not there or is damaged: what it says can always be found out again
 * from the log, only slower. Rejects with KAFKA_STORAGE_ERROR if it is there and cannot be read.
 */
export async function readCheckpoint(fileSystem: FileSystem, path: string): Promise<string[][] | null> {
  const text = await readText(fileSystem, path);
  if (text === null) return null;
  const lines = text.split("\n");
  const count = Number(lines[1]);
  if (lines[0] !== VERSION || !Number.isInteger(count) || count < 0 || lines.length < count + 2) return null;
  return lines.slice(2, count + 2).map((line) => line.split(" "));
}

/** Null if the file is not there. Rejects with KAFKA_STORAGE_ERROR for whatever else keeps it from being read. */
export async function readText(fileSystem: FileSystem, path: string): Promise<string | null> {
  try {
    return (await fileSystem.readFile(path)).toString("utf8");
  } catch (cause) {
    if (hasCode(cause, "ENOENT")) return null;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new KafkaError("KAFKA_STORAGE_ERROR", `cannot read ${path}: ${reason}`, { cause });
  }
}

export function encodeCheckpoint(lines: readonly string[]): Buffer {
  return Buffer.from(`${VERSION}\n${lines.length}\n${lines.map((line) => `${line}\n`).join("")}`);
}

/**
 * Overwrites a file in place, for contents that tell by themselves whether they are whole: a crash may leave half of
 * them. Four calls and no sync, unless asked for, where writeFileAtomic takes two syncs.
 */
export async function overwriteFile(
  fileSystem: FileSystem,
  path: string,
  bytes: Uint8Array,
  { isSynced = false } = {},
): Promise<void> {
  const file = await fileSystem.open(path, "readWrite");
  try {
    await writeFully(file, [bytes], 0);
    await file.truncate(bytes.length);
    if (isSynced) await file.sync();
  } finally {
    await file.close();
  }
}

/** A whole number of a checkpoint's line; null for anything else. */
export function parseOffset(word: string | undefined): bigint | null {
  return word !== undefined && /^\d{1,19}$/.test(word) ? BigInt(word) : null;
}
