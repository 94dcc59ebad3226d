/**
 * The folder that holds everything: who may use it, which format it has, and whether it was left in order.
 *
 *     .lock             the process that uses the folder
 *     meta.json         format version, cluster id, node id
 *     clean-shutdown    there only while no broker runs and the last one closed in order
 *     topics.json       all topics and their settings
 *     producer-ids.json the first producer id that was never given out
 *     acls.json         who may do what
 *     orders-3/         partition 3 of topic orders
 */

import { dirname, join } from "node:path";
import {
  type Clock,
  type FileSystem,
  hasCode,
  type Logger,
  type Random,
  sleep,
  writeFileAtomic,
  writeFully,
} from "@millrace/base";
import { KafkaError } from "@millrace/protocol";

const FORMAT_VERSION = 1;
const LOCK_FILE = ".lock";
const META_FILE = "meta.json";
const CLEAN_FILE = "clean-shutdown";
/** A process that was killed takes a moment to be gone; one that was told to stop hands over when it is done. */
const LOCK_ATTEMPTS = 6;
const LOCK_RETRY_MS = 100;

interface DataDirParts {
  readonly path: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly nodeId: number;
  /** What the lock says of us. */
  readonly processId: number;
}

/** Folders that a broker of this process has open: its own process id says nothing about them. */
const openHere = new WeakMap<FileSystem, Set<string>>();

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
   * Rejects with a KafkaError that names the folder and the way out: in use by another broker, written by a newer
   * version, or not writable.
   */
  static async open(parts: DataDirParts): Promise<DataDir> {
    const { path, fileSystem } = parts;
    try {
      await makeLasting(fileSystem, path);
      await lock(parts);
    } catch (error) {
      throw error instanceof KafkaError ? error : unusable(path, error);
    }
    try {
      const meta = await openMeta(parts);
      const isCleanStart = await fileSystem.exists(join(path, CLEAN_FILE));
      // Gone before anything is loaded: a crash from here on must be seen as one (KAFKA-10471).
      await fileSystem.remove(join(path, CLEAN_FILE));
      await fileSystem.syncDirectory(path);
      return new DataDir(parts, meta.clusterId, isCleanStart);
    } catch (error) {
      await unlock(parts);
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
      await unlock({ path: this.path, fileSystem: this.#fileSystem });
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

interface Meta {
  readonly clusterId: string;
}

async function openMeta({ path, fileSystem, random, nodeId }: DataDirParts): Promise<Meta> {
  const metaPath = join(path, META_FILE);
  const found = await readJson(fileSystem, metaPath);
  if (found === null) {
    const clusterId = random.bytes(16).toString("base64url");
    await writeJson(fileSystem, metaPath, { formatVersion: FORMAT_VERSION, clusterId, nodeId });
    return { clusterId };
  }
  const { formatVersion, clusterId } = found;
  if (typeof formatVersion !== "number" || typeof clusterId !== "string") {
    throw new KafkaError("KAFKA_STORAGE_ERROR", `${metaPath} is damaged: formatVersion and clusterId must be there`);
  }
  if (formatVersion > FORMAT_VERSION) {
    throw new KafkaError(
      "KAFKA_STORAGE_ERROR",
      `${path} has format version ${formatVersion}; this Millrace reads up to ${FORMAT_VERSION}: use a newer one`,
    );
  }
  return { clusterId };
}

interface LockHolder {
  readonly pid: number;
  /** Clock ticks from boot to the process's start, where the system tells: process ids are used again. */
  readonly startTicks: string | null;
}

/**
 * Node has no flock: a file made exclusively, with the name of its process, stands for it. Whoever finds the file of a
 * process that is gone moves it aside and tries again; of two who find it, one moves it and the other finds it gone.
 */
async function lock(parts: DataDirParts): Promise<void> {
  const { path, fileSystem, clock, processId } = parts;
  const open = openHere.get(fileSystem) ?? new Set();
  openHere.set(fileSystem, open);
  if (open.has(path)) throw inUse(path, processId);
  const lockPath = join(path, LOCK_FILE);
  let holder: LockHolder | null = null;
  for (let attempt = 1; attempt <= LOCK_ATTEMPTS; attempt++) {
    if (await tryCreateLock(fileSystem, lockPath, processId)) {
      open.add(path);
      return;
    }
    holder = await readLock(fileSystem, lockPath);
    if (holder === null || !(await isAlive(fileSystem, holder, processId))) await moveStaleLock(parts, lockPath);
    else if (attempt < LOCK_ATTEMPTS) await sleep(clock, LOCK_RETRY_MS);
  }
  throw inUse(path, holder?.pid ?? null);
}

async function moveStaleLock({ path, fileSystem, random, logger }: DataDirParts, lockPath: string): Promise<void> {
  logger.info({ path }, "taking over the data dir from a process that is gone");
  const stalePath = `${lockPath}.${random.bytes(6).toString("hex")}`;
  try {
    await fileSystem.rename(lockPath, stalePath);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
  await fileSystem.remove(stalePath);
}

async function unlock({ path, fileSystem }: Pick<DataDirParts, "path" | "fileSystem">): Promise<void> {
  openHere.get(fileSystem)?.delete(path);
  await fileSystem.remove(join(path, LOCK_FILE));
}

async function tryCreateLock(fileSystem: FileSystem, lockPath: string, processId: number): Promise<boolean> {
  const self = await readProcess(fileSystem, processId);
  const holder: LockHolder = { pid: processId, startTicks: self?.startTicks ?? null };
  try {
    const file = await fileSystem.open(lockPath, "create");
    try {
      await writeFully(file, [Buffer.from(`${JSON.stringify(holder)}\n`)], 0);
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  }
}

/** Null for a lock that is gone, or whose process died before it wrote its name. */
async function readLock(fileSystem: FileSystem, lockPath: string): Promise<LockHolder | null> {
  const found = await readJson(fileSystem, lockPath).catch(() => null);
  if (found === null || typeof found.pid !== "number") return null;
  return { pid: found.pid, startTicks: typeof found.startTicks === "string" ? found.startTicks : null };
}

async function isAlive(fileSystem: FileSystem, holder: LockHolder, processId: number): Promise<boolean> {
  // A lock in our own name that this process does not hold is left from a process before us: containers start at pid 1.
  if (holder.pid === processId) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (hasCode(error, "ESRCH")) return false;
  }
  const found = await readProcess(fileSystem, holder.pid);
  if (found === null) return true;
  // Ended, and only its parent has not taken notice: where nobody does, it stays so for ever.
  if (found.state === "Z" || found.state === "X") return false;
  return holder.startTicks === null || found.startTicks === holder.startTicks;
}

/** From /proc/PID/stat, which only Linux has: null elsewhere. Fields 3 and 22; the name in field 2 may hold spaces. */
async function readProcess(fileSystem: FileSystem, pid: number): Promise<{ state: string; startTicks: string } | null> {
  try {
    const stat = (await fileSystem.readFile(`/proc/${pid}/stat`)).toString("latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state = "", startTicks = ""] = [fields[0], fields[19]];
    return { state, startTicks };
  } catch {
    return null;
  }
}

function inUse(path: string, pid: number | null): KafkaError {
  return new KafkaError(
    "KAFKA_STORAGE_ERROR",
    `${path} is used by another broker (process ${pid ?? "unknown"}); stop it, or give this one a data dir of its own`,
  );
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
