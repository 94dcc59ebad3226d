/** Who uses a data dir: one process at a time. */

import { join } from "node:path";
import { type Clock, type FileSystem, hasCode, type Logger, type Random, sleep, writeFully } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { readJson } from "./json-file.ts";

const LOCK_FILE = ".lock";
/** A process that was killed takes a moment to be gone; one that was told to stop hands over when it is done. */
const LOCK_ATTEMPTS = 6;
const LOCK_RETRY_MS = 100;

export interface DataDirLockParts {
  readonly path: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** What the lock says of us. */
  readonly processId: number;
  /** What to do if another broker has it; without it, what whoever starts a broker can do. */
  readonly wayOut?: string;
}

/** Folders that this process has locked: its own process id says nothing about them. */
const lockedHere = new WeakMap<FileSystem, Set<string>>();

interface LockHolder {
  readonly pid: number;
  /** Clock ticks from boot to the process's start, where the system tells: process ids are used again. */
  readonly startTicks: string | null;
}

/**
 * Node has no flock: a file made exclusively, with the name of its process, stands for it. Whoever finds the file of a
 * process that is gone moves it aside and tries again; of two who find it, one moves it and the other finds it gone.
 *
 * Rejects with KAFKA_STORAGE_ERROR while another broker has it.
 */
export async function lockDataDir(parts: DataDirLockParts): Promise<void> {
  const { path, fileSystem, processId } = parts;
  const locked = lockedHere.get(fileSystem) ?? new Set();
  lockedHere.set(fileSystem, locked);
  if (locked.has(path)) throw inUse(parts, processId);
  // At once: to another opening of this process the lock file would look like one of a process before it.
  locked.add(path);
  try {
    await takeLock(parts);
  } catch (error) {
    locked.delete(path);
    throw error;
  }
}

async function takeLock(parts: DataDirLockParts): Promise<void> {
  const { path, fileSystem, clock, processId } = parts;
  const lockPath = join(path, LOCK_FILE);
  let holder: LockHolder | null = null;
  for (let attempt = 1; attempt <= LOCK_ATTEMPTS; attempt++) {
    if (await tryCreateLock(fileSystem, lockPath, processId)) return;
    holder = await readLock(fileSystem, lockPath);
    if (holder === null || !(await isAlive(fileSystem, holder, processId))) await moveStaleLock(parts, lockPath);
    else if (attempt < LOCK_ATTEMPTS) await sleep(clock, LOCK_RETRY_MS);
  }
  throw inUse(parts, holder?.pid ?? null);
}

export async function unlockDataDir({
  path,
  fileSystem,
}: Pick<DataDirLockParts, "path" | "fileSystem">): Promise<void> {
  lockedHere.get(fileSystem)?.delete(path);
  await fileSystem.remove(join(path, LOCK_FILE));
}

async function moveStaleLock({ path, fileSystem, random, logger }: DataDirLockParts, lockPath: string): Promise<void> {
  logger.info({ path }, "taking over the data dir from a process that is gone");
  const stalePath = `${lockPath}.${random.bytes(6).toString("hex")}`;
  try {
    await fileSystem.rename(lockPath, stalePath);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
  await fileSystem.remove(stalePath);
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

function inUse({ path, wayOut }: DataDirLockParts, pid: number | null): KafkaError {
  const way = wayOut ?? "stop it, or give this one a data dir of its own";
  return new KafkaError(
    "KAFKA_STORAGE_ERROR",
    `${path} is used by another broker (process ${pid ?? "unknown"}); ${way}`,
  );
}
