/** RequestJournal: entries on disk that survive the process, appended in groups with one fdatasync for all that wait. */

import { join } from "node:path";
import {
  BoundedQueue,
  createDeferred,
  type Deferred,
  type File,
  type FileSystem,
  type Logger,
  writeFully,
} from "@millrace/base";
import { crc32c } from "@millrace/protocol";

/**
 * A segment is a row of entries:
 *
 *      0 entry length u32, from byte 8 on
 *      4 crc-32c u32 over [8, end)
 *      8 head length u32
 *     12 head, JSON
 *        body, bytes as they are
 *
 * What a crash leaves behind the last whole entry is no entry: nobody was told that it is on disk.
 */
const PREFIX_BYTES = 8;
const FIXED_BYTES = 12;
/** Entries that may wait for one write; each is a request that waits for its answer. */
const WAITING_LIMIT = 100_000;
/** One write and its sync carry at most this much, unless one entry alone is larger. */
const GROUP_BYTES = 8 * 1024 * 1024;
const SUFFIX = ".journal";
const NUMBER_DIGITS = 10;

export interface RequestJournalParts {
  readonly directory: string;
  /** What its files' names begin with: several journals may share a folder. */
  readonly name: string;
  readonly fileSystem: FileSystem;
  readonly logger: Logger;
  /** A segment that has grown beyond this is followed by a new one. */
  readonly segmentBytes: number;
  /** oldestFirst: a segment goes only when those before it are gone. */
  readonly removal: "oldestFirst" | "anyOrder";
}

/** Where an entry is. Whoever holds one keeps its segment from being removed, until `release`. */
export interface EntryPlace {
  readonly segment: Segment;
  readonly position: number;
  readonly sizeBytes: number;
}

export interface Entry {
  readonly head: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

interface Segment {
  readonly number: number;
  readonly path: string;
  sizeBytes: number;
  /** Entries that somebody still needs. */
  liveCount: number;
  isRemoved: boolean;
}

interface WaitingEntry {
  readonly chunks: readonly Uint8Array[];
  readonly sizeBytes: number;
  readonly deferred: Deferred<EntryPlace>;
}

export class RequestJournal {
  readonly #parts: RequestJournalParts;
  readonly #segments: Segment[] = [];
  readonly #waiting = new BoundedQueue<WaitingEntry>(WAITING_LIMIT);
  /** The last segment, open for writing; null before the first append and after a failed write. */
  #active: { readonly segment: Segment; readonly file: File } | null = null;
  #nextNumber = 1;
  #writing: Promise<void> | null = null;
  #isClosed = false;

  private constructor(parts: RequestJournalParts) {
    this.#parts = parts;
  }

  /**
   * Opens the journal and tells `onEntry` of all that is in it, oldest first. Each place counts as held: release those that nobody
   * needs, then call removeReleased.
   */
  static async open(
    parts: RequestJournalParts,
    onEntry: (place: EntryPlace, entry: Entry) => void,
  ): Promise<RequestJournal> {
    const journal = new RequestJournal(parts);
    for (const number of await journal.#findSegments()) await journal.#load(number, onEntry);
    return journal;
  }

  /** Bytes of all files. */
  get sizeBytes(): number {
    return this.#segments.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  }

  /** Bytes of the files that removeReleased would leave. */
  get neededBytes(): number {
    const isNeeded = (segment: Segment) => segment.liveCount > 0 || segment === this.#active?.segment;
    const first = this.#segments.findIndex(isNeeded);
    if (first < 0) return 0;
    const left = this.#parts.removal === "oldestFirst" ? this.#segments.slice(first) : this.#segments.filter(isNeeded);
    return left.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  }

  /**
   * Resolves once the entry is on disk. Rejects with Node's error (ENOSPC, EIO): then it is not, or nobody can tell.
   */
  append(head: Readonly<Record<string, unknown>>, body: Buffer | null): Promise<EntryPlace> {
    const deferred = createDeferred<EntryPlace>();
    const chunks = encodeEntry(head, body);
    const sizeBytes = chunks.reduce((total, chunk) => total + chunk.length, 0);
    if (this.#isClosed || !this.#waiting.push({ chunks, sizeBytes, deferred })) {
      return Promise.reject(new Error(`journal ${this.#parts.name} takes no more entries`));
    }
    this.#writing ??= this.#writeAll();
    return deferred.promise;
  }

  async read(place: EntryPlace): Promise<Entry> {
    const file = await this.#parts.fileSystem.open(place.segment.path, "read");
    try {
      const bytes = Buffer.allocUnsafe(place.sizeBytes);
      const readBytes = await file.read(bytes, place.position);
      const entry = decodeEntry(bytes.subarray(0, readBytes), 0);
      if (entry === null) throw new Error(`${place.segment.path}: no entry at ${place.position}`);
      return entry;
    } finally {
      await file.close();
    }
  }

  /** Nobody needs this entry any more. */
  release(place: EntryPlace): void {
    place.segment.liveCount -= 1;
  }

  /** Whether an entry's bytes are still on disk, needed or not. */
  holds(place: EntryPlace): boolean {
    return !place.segment.isRemoved;
  }

  /** Deletes the segments that nobody needs, but for the one that is written to. */
  async removeReleased(): Promise<void> {
    const { fileSystem, directory, removal } = this.#parts;
    const count = this.#segments.length;
    for (const segment of [...this.#segments]) {
      if (segment.liveCount > 0 || segment === this.#active?.segment) {
        if (removal === "oldestFirst") break;
        continue;
      }
      await this.#remove(segment);
    }
    if (this.#segments.length < count) await fileSystem.syncDirectory(directory);
  }

  /** Writes what was appended, then closes the file. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#writing;
    const active = this.#active;
    this.#active = null;
    await active?.file.close();
  }

  async #remove(segment: Segment): Promise<void> {
    await this.#parts.fileSystem.remove(segment.path);
    segment.isRemoved = true;
    this.#segments.splice(this.#segments.indexOf(segment), 1);
  }

  async #writeAll(): Promise<void> {
    // At the end of this turn, so that all who append in it share the first sync too.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        await this.#writeGroup(group);
      } catch (error) {
        await this.#giveUpActive();
        this.#parts.logger.error({ journal: this.#parts.name, reason: String(error) }, "journal could not be written");
        const failure = error instanceof Error ? error : new Error(String(error));
        for (const { deferred } of group) deferred.reject(failure);
      }
    }
    this.#writing = null;
  }

  #takeGroup(): WaitingEntry[] {
    const group: WaitingEntry[] = [];
    let groupBytes = 0;
    for (let next = this.#waiting.peek(); next !== undefined; next = this.#waiting.peek()) {
      if (group.length > 0 && groupBytes + next.sizeBytes > GROUP_BYTES) break;
      groupBytes += next.sizeBytes;
      group.push(next);
      this.#waiting.shift();
    }
    return group;
  }

  async #writeGroup(group: readonly WaitingEntry[]): Promise<void> {
    const { segment, file } = await this.#openActive();
    const position = segment.sizeBytes;
    await writeFully(
      file,
      group.flatMap(({ chunks }) => chunks),
      position,
    );
    await file.sync();
    for (const { sizeBytes, deferred } of group) {
      const place = { segment, position: segment.sizeBytes, sizeBytes };
      segment.sizeBytes += sizeBytes;
      segment.liveCount += 1;
      deferred.resolve(place);
    }
  }

  async #openActive(): Promise<{ readonly segment: Segment; readonly file: File }> {
    const { fileSystem, directory, segmentBytes } = this.#parts;
    if (this.#active !== null && this.#active.segment.sizeBytes < segmentBytes) return this.#active;
    await this.#active?.file.close();
    this.#active = null;
    await fileSystem.makeDirectory(directory);
    const segment = this.#segmentOf(this.#nextNumber);
    // Also where it comes to nothing: a file of that name may be there by now.
    this.#nextNumber += 1;
    const file = await fileSystem.open(segment.path, "create");
    this.#segments.push(segment);
    this.#active = { segment, file };
    await fileSystem.syncDirectory(directory);
    return this.#active;
  }

  /** After a failed write or sync nothing may be appended behind bytes in doubt: the next entry starts a new segment. */
  async #giveUpActive(): Promise<void> {
    const active = this.#active;
    this.#active = null;
    if (active === null) return;
    const { segment, file } = active;
    await file.truncate(segment.sizeBytes).catch(() => {});
    await file.close().catch(() => {});
    // A disk that stays full must not fill with empty files.
    if (segment.sizeBytes === 0) await this.#remove(segment).catch(() => {});
  }

  async #findSegments(): Promise<number[]> {
    const { fileSystem, directory, name } = this.#parts;
    if (!(await fileSystem.exists(directory))) return [];
    const numbers: number[] = [];
    for (const fileName of await fileSystem.list(directory)) {
      if (!fileName.startsWith(`${name}-`) || !fileName.endsWith(SUFFIX)) continue;
      const number = Number(fileName.slice(name.length + 1, -SUFFIX.length));
      if (Number.isSafeInteger(number)) numbers.push(number);
    }
    return numbers.sort((a, b) => a - b);
  }

  async #load(number: number, onEntry: (place: EntryPlace, entry: Entry) => void): Promise<void> {
    const segment = this.#segmentOf(number);
    const bytes = await this.#parts.fileSystem.readFile(segment.path);
    this.#nextNumber = number + 1;
    this.#segments.push(segment);
    segment.sizeBytes = bytes.length;
    for (let at = 0; at < bytes.length; ) {
      const entry = decodeEntry(bytes, at);
      if (entry === null) {
        at = this.#passOver(segment, bytes, at);
        continue;
      }
      const place = { segment, position: at, sizeBytes: PREFIX_BYTES + bytes.readUInt32BE(at) };
      at += place.sizeBytes;
      segment.liveCount += 1;
      onEntry(place, entry);
    }
  }

  /** Behind bytes that are no entry: a write that was cut off, or, if whole entries follow, damage to the disk. */
  #passOver({ path }: Segment, bytes: Buffer, at: number): number {
    const { logger } = this.#parts;
    const next = findEntry(bytes, at + 1);
    if (next === null) {
      const about = { path, wholeBytes: at, sizeBytes: bytes.length };
      logger.warn(about, "journal ends in an entry that was never whole; nobody was promised it");
      return bytes.length;
    }
    logger.error({ path, position: at, lostBytes: next - at }, "journal is damaged; what stood there is lost");
    return next;
  }

  #segmentOf(number: number): Segment {
    const fileName = `${this.#parts.name}-${String(number).padStart(NUMBER_DIGITS, "0")}${SUFFIX}`;
    const path = join(this.#parts.directory, fileName);
    return { number, path, sizeBytes: 0, liveCount: 0, isRemoved: false };
  }
}

function encodeEntry(head: Readonly<Record<string, unknown>>, body: Buffer | null): Uint8Array[] {
  const headBytes = Buffer.from(JSON.stringify(head));
  const bodyBytes = body?.length ?? 0;
  const front = Buffer.allocUnsafe(FIXED_BYTES + headBytes.length);
  front.writeUInt32BE(FIXED_BYTES - PREFIX_BYTES + headBytes.length + bodyBytes, 0);
  front.writeUInt32BE(headBytes.length, PREFIX_BYTES);
  headBytes.copy(front, FIXED_BYTES);
  const frontCrc = crc32c(front.subarray(PREFIX_BYTES));
  front.writeUInt32BE(body === null ? frontCrc : crc32c(body, frontCrc), PREFIX_BYTES / 2);
  return body === null ? [front] : [front, body];
}

/** The entry that starts here; null if there is no whole one. */
function decodeEntry(bytes: Buffer, at: number): Entry | null {
  if (bytes.length - at < FIXED_BYTES) return null;
  const end = at + PREFIX_BYTES + bytes.readUInt32BE(at);
  if (end > bytes.length || end < at + FIXED_BYTES) return null;
  if (crc32c(bytes.subarray(at + PREFIX_BYTES, end)) !== bytes.readUInt32BE(at + PREFIX_BYTES / 2)) return null;
  const bodyStart = at + FIXED_BYTES + bytes.readUInt32BE(at + PREFIX_BYTES);
  if (bodyStart > end) return null;
  const head: unknown = JSON.parse(bytes.toString("utf8", at + FIXED_BYTES, bodyStart));
  if (typeof head !== "object" || head === null) return null;
  return { head: { ...head }, body: bytes.subarray(bodyStart, end) };
}

/** Where the next whole entry starts, from here on; null if there is none. */
function findEntry(bytes: Buffer, from: number): number | null {
  for (let brace = bytes.indexOf("{", from + FIXED_BYTES); brace >= 0; brace = bytes.indexOf("{", brace + 1)) {
    // A head is an object; most braces stand in others' heads and bodies, and the lengths before them are none.
    if (decodeEntry(bytes, brace - FIXED_BYTES) !== null) return brace - FIXED_BYTES;
  }
  return null;
}
