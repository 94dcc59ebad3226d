/** Small files of JSON: read with an error that names them, and replaced as a whole. */

import { type FileSystem, hasCode, writeFileAtomic } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";

/** A JSON object; null if the file is not there. Throws KafkaError (KAFKA_STORAGE_ERROR) if it holds anything else. */
export async function readJson(fileSystem: FileSystem, path: string): Promise<Record<string, unknown> | null> {
  let bytes: Buffer;
  try {
    bytes = await fileSystem.readFile(path);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  }
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>; // an object has keys of text
  } catch (cause) {
    throw new KafkaError("KAFKA_STORAGE_ERROR", `${path} is damaged: it is not JSON`, { cause });
  }
  throw new KafkaError("KAFKA_STORAGE_ERROR", `${path} is damaged: expected a JSON object`);
}

export async function writeJson(fileSystem: FileSystem, path: string, value: object): Promise<void> {
  await writeFileAtomic(fileSystem, path, Buffer.from(`${JSON.stringify(value, null, 1)}\n`));
}
