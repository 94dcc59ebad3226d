/**
 * The folder that holds everything: who may use it, which format it has, and whether it was left in order.
 *
 *     .lock             the process that uses the folder
 *     meta.json         format version, cluster id, node id
 *     clean-shutdown    there only while no broker runs and the last one closed in order
 *     topics.json       all topics and their settings
 *     producer-ids.json the first producer id that was never given out
 *     acls.json         who may do what
 *     quotas.json       how many bytes a second clients may write and read
 *     orders-3/         partition 3 of topic orders, from its first record on
 */

import { dirname, join } from "node:path";
import { type FileSystem, hasCode, writeFileAtomic } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { type DataDirLockParts, lockDataDir, unlockDataDir } from "./data-dir-lock.ts";
import { readJson, writeJson } from "./json-file.ts";

const FORMAT_VERSION = 1;
const META_FILE = "meta.json";
/** Apache Kafka's file of the same purpose. */
const KAFKA_META_FILE = "meta.properties";
export const TOPICS_FILE = "topics.json";
export const ACLS_FILE = "acls.json";
export const QUOTAS_FILE = "quotas.json";
export const CLEAN_FILE = "clean-shutdown";

interface DataDirParts extends DataDirLockParts {
  readonly nodeId: number;
}

export class DataDir {
  readonly path: string;
  readonly clusterId: string;
  /** Whether the last broker here closed in order, so that its files can be trusted as they are. */
  readonly isCleanStart: boolean;
  readonly #fileSystem: FileSystem;
  #isClosed = false;

  /**
   * Takes the folder for this process, making it if it is not there.
   *
   * Rejects with a KafkaError that names the folder and the way out: in use by another broker, of another format, or
   * not writable.
   */
  static async open(parts: DataDirParts): Promise<DataDir> {
    const { path, fileSystem } = parts;
    let found: Meta | null;
    try {
      await makeLasting(fileSystem, path);
      // Before anything is written: what is not ours stays as it is.
      found = await readMeta(fileSystem, path);
      await lockDataDir(parts);
    } catch (error) {
      throw error instanceof KafkaError ? error : unusable(path, error);
    }
    try {
      const meta = found ?? (await openMeta(parts));
      const isCleanStart = await fileSystem.exists(join(path, CLEAN_FILE));
      // Gone before anything is loaded: a crash from here on must be seen as one (KAFKA-10471).
      await fileSystem.remove(join(path, CLEAN_FILE));
      await fileSystem.syncDirectory(path);
      return new DataDir(parts, meta.clusterId, isCleanStart);
    } catch (error) {
      await unlockDataDir(parts);
      throw error instanceof KafkaError ? error : unusable(path, error);
    }
  }

  private constructor(parts: DataDirParts, clusterId: string, isCleanStart: boolean) {
    this.path = parts.path;
    this.#fileSystem = parts.fileSystem;
    this.clusterId = clusterId;
    this.isCleanStart = isCleanStart;
  }

  /** Gives the folder back. isClean: all in it is written and synced. May be called twice. */
  async close(isClean: boolean): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      if (isClean) await writeFileAtomic(this.#fileSystem, join(this.path, CLEAN_FILE), Buffer.from("1\n"));
    } finally {
      await unlockDataDir({ path: this.path, fileSystem: this.#fileSystem });
    }
  }
}

/**
 * Makes the folder and those above it, for good: with a name that is not synced all that is in the folder goes at a power
 * cut. One that is there already may have been made by a process that was killed before it came to that.
 */
async function makeLasting(fileSystem: FileSystem, path: string): Promise<void> {
  const folders = [path];
  for (let above = dirname(path); !(await fileSystem.exists(above)); above = dirname(above)) folders.push(above);
  await fileSystem.makeDirectory(path);
  for (const folder of folders) await fileSystem.syncDirectory(dirname(folder));
}

export interface Meta {
  readonly formatVersion: number;
  readonly clusterId: string;
}

async function openMeta({ path, fileSystem, random, nodeId }: DataDirParts): Promise<Meta> {
  const found = await readMeta(fileSystem, path);
  if (found !== null) return found;
  const meta = { formatVersion: FORMAT_VERSION, clusterId: random.bytes(16).toString("base64url") };
  await writeJson(fileSystem, join(path, META_FILE), { ...meta, nodeId });
  return meta;
}

/**
 * What a data dir says of itself; null for a folder that is none yet.
 *
 * Rejects with KAFKA_STORAGE_ERROR, and the way out, for a format that is not ours: nobody knows what its files mean.
 */
export async function readMeta(fileSystem: FileSystem, path: string): Promise<Meta | null> {
  const metaPath = join(path, META_FILE);
  const found = await readJson(fileSystem, metaPath);
  if (found === null) {
    await expectNoTopics(fileSystem, path);
    return null;
  }
  const { formatVersion, clusterId } = found;
  if (typeof formatVersion !== "number" || typeof clusterId !== "string") {
    throw damaged(`${metaPath} is damaged: formatVersion and clusterId must be there; take it from a backup`);
  }
  if (formatVersion === FORMAT_VERSION) return { formatVersion, clusterId };
  const way =
    formatVersion > FORMAT_VERSION
      ? "start the version that wrote it, or a newer one"
      : "start the version that wrote it, and copy its topics to a new data dir with any Kafka client";
  throw damaged(`${path} has format version ${formatVersion}; this Millrace reads version ${FORMAT_VERSION}: ${way}`);
}

/** meta.json is the first file of a data dir: topics without it are somebody else's, or their format is lost. */
async function expectNoTopics(fileSystem: FileSystem, path: string): Promise<void> {
  const names = await fileSystem.list(path);
  if (names.includes(KAFKA_META_FILE)) {
    throw damaged(
      `${path} is a data dir of Apache Kafka (${KAFKA_META_FILE}): choose an empty folder, and copy the topics over with MirrorMaker or any Kafka client`,
    );
  }
  if (!names.includes(TOPICS_FILE)) return;
  throw damaged(
    `${path} has topics but no ${META_FILE}, so that nobody knows their format: take the file from a backup, or choose an empty folder`,
  );
}

function damaged(message: string): KafkaError {
  return new KafkaError("KAFKA_STORAGE_ERROR", message);
}

const NOT_OURS =
  "give the folder to the user that this process runs as (ls -ld shows whose it is), or choose another data dir";
const WAYS_OUT: readonly (readonly [code: string, way: string])[] = [
  ["EACCES", NOT_OURS],
  ["EPERM", NOT_OURS],
  ["EROFS", "mount its volume for writing, or choose another data dir"],
  ["ENOSPC", "make room on its volume, or choose another data dir"],
  ["ENOTDIR", "a file is in the way: choose another data dir"],
  ["EEXIST", "a file is in the way: choose another data dir"],
];

function unusable(path: string, cause: unknown): KafkaError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const way = WAYS_OUT.find(([code]) => hasCode(cause, code))?.[1];
  const hint = way === undefined ? "" : `; ${way}`;
  return new KafkaError("KAFKA_STORAGE_ERROR", `cannot use the data dir ${path}: ${reason}${hint}`, { cause });
}
