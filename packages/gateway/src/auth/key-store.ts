/**
 * KeyStore: the API keys of a data dir, as their hashes.
 *
 *     api-keys/
 *       3f9a0c….json     one key: its hash and what it may do
 *       last-used.json   when each was last used, written by the server now and then
 *
 * A file is written whole when its key is created, never changed, and removed when it is revoked. So a command and any
 * number of servers may work on the folder at the same time without a lock, and no change can be lost to another.
 */

import { hash, timingSafeEqual } from "node:crypto";
import { join } from "node:path";
import {
  type Clock,
  type FileSystem,
  hasCode,
  type Logger,
  MINUTE_MS,
  type Random,
  SECOND_MS,
  type Timer,
  writeFileAtomic,
} from "@millrace/base";
import { type Principal, type Scope, scopes } from "./principal.ts";

const FOLDER = "api-keys";
const LAST_USED_FILE = "last-used.json";
const KEY_FILE = /^([0-9a-f]{16})\.json$/;
/** In front of every key, so that a secret scanner and a person know one when they see it. */
const KEY_PREFIX = "mrk_";
const KEY_BYTES = 32;
const ID_BYTES = 8;
/** How soon a running server knows of a key that was created or revoked elsewhere. */
const WATCH_MS = SECOND_MS;
const SAVE_USE_MS = MINUTE_MS;

export interface ApiKey extends Principal {
  /** Milliseconds since 1970. */
  readonly createdAtMs: number;
  /** Null: never. */
  readonly expiresAtMs: number | null;
}

export interface NewApiKey {
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly topicPrefixes: readonly string[];
  readonly expiresAtMs: number | null;
}

/** What a key is kept as. */
interface StoredKey extends ApiKey {
  readonly digest: Buffer;
}

export interface KeyStoreParts {
  readonly dataDir: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export class KeyStore {
  readonly #parts: KeyStoreParts;
  readonly #folder: string;
  readonly #keys = new Map<string, StoredKey>();
  /** By digest: what a caller can steer is the key, never the digest, so that the time of this lookup tells nothing. */
  readonly #byDigest = new Map<string, StoredKey>();
  readonly #lastUsedMs = new Map<string, number>();
  #unsavedUses = false;
  #isClosed = false;
  #watchTimer: Timer | null = null;
  #saveTimer: Timer | null = null;

  private constructor(parts: KeyStoreParts) {
    this.#parts = parts;
    this.#folder = join(parts.dataDir, FOLDER);
  }

  /** Reads the keys; the folder need not be there yet. */
  static async open(parts: KeyStoreParts): Promise<KeyStore> {
    const store = new KeyStore(parts);
    await store.refresh();
    await store.#readLastUsed();
    return store;
  }

  /** Keys that live as long as this object, for servers whose operator names them. They may do everything. */
  addFixed(texts: readonly string[]): void {
    for (const [index, text] of texts.entries()) {
      const id = `fixed-${index + 1}`;
      const nowMs = this.#parts.clock.timestampMs();
      const rest = { name: id, scopes, topicPrefixes: [], createdAtMs: nowMs, expiresAtMs: null };
      this.#add({ id, ...rest, digest: digestOf(text) });
    }
  }

  /** The keys, oldest first. */
  list(): ApiKey[] {
    return [...this.#keys.values()].sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));
  }

  /** The key whose text this is, unless it has expired. */
  find(text: string): ApiKey | null {
    const digest = digestOf(text);
    const found = this.#byDigest.get(digest.toString("latin1"));
    if (found === undefined || !timingSafeEqual(found.digest, digest)) return null;
    return found.expiresAtMs !== null && found.expiresAtMs <= this.#parts.clock.timestampMs() ? null : found;
  }

  /** Milliseconds since 1970; null if never, as far as was saved. */
  lastUsedMs(id: string): number | null {
    return this.#lastUsedMs.get(id) ?? null;
  }

  markUsed(id: string): void {
    this.#lastUsedMs.set(id, this.#parts.clock.timestampMs());
    this.#unsavedUses = true;
  }

  /** Resolves once the key is on disk. Its text is told here and nowhere else: it cannot be had back from its hash. */
  async create(wanted: NewApiKey): Promise<{ readonly text: string; readonly key: ApiKey }> {
    const { fileSystem, random, clock, dataDir } = this.#parts;
    const text = KEY_PREFIX + random.bytes(KEY_BYTES).toString("base64url");
    const id = random.bytes(ID_BYTES).toString("hex");
    const stored: StoredKey = { id, ...wanted, createdAtMs: clock.timestampMs(), digest: digestOf(text) };
    await fileSystem.makeDirectory(this.#folder);
    await fileSystem.syncDirectory(dataDir);
    await writeFileAtomic(fileSystem, this.#pathOf(id), Buffer.from(toJson(stored)));
    this.#add(stored);
    return { text, key: stored };
  }

  /** False if there is no such key. Resolves once it is gone for good; other servers know within a second. */
  async revoke(id: string): Promise<boolean> {
    const { fileSystem } = this.#parts;
    if (!KEY_FILE.test(`${id}.json`) || !(await fileSystem.exists(this.#pathOf(id)))) return false;
    await fileSystem.remove(this.#pathOf(id));
    await fileSystem.syncDirectory(this.#folder);
    this.#drop(id);
    return true;
  }

  /** Takes up what was created and revoked by others. */
  async refresh(): Promise<void> {
    const names = await this.#list();
    const ids = new Set(names.flatMap((name) => KEY_FILE.exec(name)?.[1] ?? []));
    for (const id of this.#keys.keys()) if (!ids.has(id) && !id.startsWith("fixed-")) this.#drop(id);
    for (const id of ids) {
      if (this.#keys.has(id)) continue;
      const stored = await this.#read(id);
      if (stored !== null) this.#add(stored);
    }
  }

  /** From now on changes made elsewhere are seen within a second, and last uses are saved each minute. */
  watch(): void {
    const { clock, logger } = this.#parts;
    const next = () => {
      if (this.#isClosed) return;
      this.#watchTimer = clock.schedule(WATCH_MS, look, { background: true });
    };
    const look = () => {
      this.refresh()
        .catch((error: unknown) => logger.error({ reason: String(error) }, "API keys could not be read again"))
        .finally(next);
    };
    const save = () => {
      this.#saveTimer = clock.schedule(SAVE_USE_MS, save, { background: true });
      this.#saveLastUsed().catch((error: unknown) => {
        logger.warn({ reason: String(error) }, "the last use of API keys could not be saved");
      });
    };
    next();
    this.#saveTimer = clock.schedule(SAVE_USE_MS, save, { background: true });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#watchTimer?.cancel();
    this.#saveTimer?.cancel();
    await this.#saveLastUsed().catch((error: unknown) => {
      this.#parts.logger.warn({ reason: String(error) }, "the last use of API keys could not be saved");
    });
  }

  #add(stored: StoredKey): void {
    this.#keys.set(stored.id, stored);
    this.#byDigest.set(stored.digest.toString("latin1"), stored);
  }

  #drop(id: string): void {
    const stored = this.#keys.get(id);
    if (stored === undefined) return;
    this.#keys.delete(id);
    this.#byDigest.delete(stored.digest.toString("latin1"));
    this.#lastUsedMs.delete(id);
  }

  #pathOf(id: string): string {
    return join(this.#folder, `${id}.json`);
  }

  async #list(): Promise<string[]> {
    try {
      return await this.#parts.fileSystem.list(this.#folder);
    } catch (error) {
      if (hasCode(error, "ENOENT")) return [];
      throw error;
    }
  }

  /** Null for a file that is no key, which then opens nothing. */
  async #read(id: string): Promise<StoredKey | null> {
    const { fileSystem, logger } = this.#parts;
    try {
      return fromJson(id, JSON.parse((await fileSystem.readFile(this.#pathOf(id))).toString("utf8")));
    } catch (error) {
      if (hasCode(error, "ENOENT")) return null;
      logger.warn(
        { file: this.#pathOf(id), reason: String(error) },
        "an API key could not be read and is not accepted",
      );
      return null;
    }
  }

  async #readLastUsed(): Promise<void> {
    try {
      const bytes = await this.#parts.fileSystem.readFile(join(this.#folder, LAST_USED_FILE));
      const times: unknown = JSON.parse(bytes.toString("utf8"));
      if (typeof times !== "object" || times === null) return;
      for (const [id, at] of Object.entries(times)) {
        const atMs = Date.parse(String(at));
        if (this.#keys.has(id) && !Number.isNaN(atMs)) this.#lastUsedMs.set(id, atMs);
      }
    } catch {
      // Never written, or not to be read: it is a convenience, and begins anew.
    }
  }

  async #saveLastUsed(): Promise<void> {
    if (!this.#unsavedUses) return;
    this.#unsavedUses = false;
    const times = [...this.#lastUsedMs]
      .filter(([id]) => KEY_FILE.test(`${id}.json`))
      .map(([id, atMs]) => [id, new Date(atMs).toISOString()]);
    if (times.length === 0) return;
    const json = `${JSON.stringify(Object.fromEntries(times), null, 2)}\n`;
    await writeFileAtomic(this.#parts.fileSystem, join(this.#folder, LAST_USED_FILE), Buffer.from(json));
  }
}

/**
 * SHA-256, unsalted and fast: a key is 256 random bits, so that neither a table nor any number of guesses leads back to
 * it. What bcrypt and its kin make dear is guessing passwords that people chose.
 */
function digestOf(text: string): Buffer {
  return Buffer.from(hash("sha256", text, "hex"), "hex");
}

function toJson(stored: StoredKey): string {
  const { id, name, digest, topicPrefixes, createdAtMs, expiresAtMs } = stored;
  const file = {
    id,
    name,
    sha256: digest.toString("hex"),
    scopes: stored.scopes,
    topicPrefixes,
    createdAt: new Date(createdAtMs).toISOString(),
    expiresAt: expiresAtMs === null ? null : new Date(expiresAtMs).toISOString(),
  };
  return `${JSON.stringify(file, null, 2)}\n`;
}

/** Throws Error, saying what is wrong: a key that cannot be understood must not open more than it was made for. */
function fromJson(id: string, file: unknown): StoredKey {
  if (typeof file !== "object" || file === null) throw new Error("expected a JSON object");
  const fields: Readonly<Record<string, unknown>> = { ...file };
  const { name, sha256, topicPrefixes, createdAt, expiresAt } = fields;
  if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256)) throw new Error("sha256 must be 64 hex digits");
  if (!isTextList(topicPrefixes)) throw new Error("topicPrefixes must be a list of texts");
  const known = isTextList(fields.scopes) ? scopes.filter((scope) => isIn(fields.scopes, scope)) : [];
  if (known.length === 0) throw new Error(`scopes must hold some of ${scopes.join(", ")}`);
  const expiresAtMs = expiresAt === null ? null : Date.parse(String(expiresAt));
  if (Number.isNaN(expiresAtMs)) throw new Error("expiresAt must be null or a time");
  return {
    id,
    name: String(name),
    digest: Buffer.from(sha256, "hex"),
    scopes: known,
    topicPrefixes,
    createdAtMs: Date.parse(String(createdAt)) || 0,
    expiresAtMs,
  };
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function isIn(list: unknown, item: string): boolean {
  return Array.isArray(list) && list.includes(item);
}
