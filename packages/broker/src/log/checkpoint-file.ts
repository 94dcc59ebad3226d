/** Kafka's small text files: a version, a count, and so many lines of words. */

import { type FileSystem, writeFileAtomic } from "@millrace/base";

const VERSION = "0";

/**
 *     0
 *     2
 *     orders 0 1042
 *     orders 1 977
 *
 * The words of each line, or null if the file is not there or is damaged: what it says can always be found out again
 * from the log, only slower.
 */
export async function readCheckpoint(fileSystem: FileSystem, path: string): Promise<string[][] | null> {
  let text: string;
  try {
    text = (await fileSystem.readFile(path)).toString("utf8");
  } catch {
    return null;
  }
  const lines = text.split("\n");
  const count = Number(lines[1]);
  if (lines[0] !== VERSION || !Number.isInteger(count) || count < 0 || lines.length < count + 2) return null;
  return lines.slice(2, count + 2).map((line) => line.split(" "));
}

/** Replaces the file, for good: after a crash it is the old one or the new one. */
export async function writeCheckpoint(fileSystem: FileSystem, path: string, lines: readonly string[]): Promise<void> {
  const text = `${VERSION}\n${lines.length}\n${lines.map((line) => `${line}\n`).join("")}`;
  await writeFileAtomic(fileSystem, path, Buffer.from(text));
}

/** A whole number of a checkpoint's line; null for anything else. */
export function parseOffset(word: string | undefined): bigint | null {
  return word !== undefined && /^\d{1,19}$/.test(word) ? BigInt(word) : null;
}
