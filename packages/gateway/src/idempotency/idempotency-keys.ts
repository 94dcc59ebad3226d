/** IdempotencyKeys: which requests were made before, so that one that is sent again is answered and not done again. */

import { hash } from "node:crypto";
import type { Clock, FileSystem, Logger } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import type { StoredAnswer } from "../answers.ts";
import { type Entry, type EntryPlace, RequestJournal } from "../async/request-journal.ts";
import { RequestError } from "../errors.ts";

/** A segment can only go as a whole: so many of them make up what may be kept. */
const SEGMENTS_PER_LIMIT = 8;
const SEGMENT_BYTES_MAX = 16 * 1024 * 1024;

export interface IdempotencyOptions {
  readonly idempotencyRetentionMs: number;
  readonly idempotencyKeysLimit: number;
  readonly idempotencyLimitBytes: number;
}

export interface IdempotencyParts {
  readonly options: IdempotencyOptions;
  readonly directory: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The answer of an async request that was to have this id; null if it was never accepted. */
  readonly acceptedAnswer: (requestId: string) => StoredAnswer | null;
}

/** Who may use a key, and for what: the same key elsewhere is another. */
export interface KeyScope {
  readonly ownerId: string;
  readonly topic: string;
  readonly key: string;
}

export type Begun =
  | { readonly kind: "first"; readonly attempt: Attempt }
  | { readonly kind: "again"; readonly answer: StoredAnswer };

/** The one time that a request is done. Exactly one of these is called, once its fate is known; none of them rejects. */
export interface Attempt {
  /** Resolves once the answer is on disk. */
  answered(answer: StoredAnswer): Promise<void>;
  /** Nothing was done: the same request may be tried anew. */
  undone(): Promise<void>;
  /** What was done cannot be told. */
  inDoubt(): void;
}

/**
 *     running ──► answered   the answer is in the journal
 *        │  └───► (gone)     nothing was done
 *        └──────► inDoubt    the process ended in between, or the journal did not take the answer
 */
type State =
  | { readonly kind: "running" }
  | { readonly kind: "answered"; readonly place: EntryPlace }
  | { readonly kind: "inDoubt" };

interface Remembered {
  readonly fingerprint: string;
  readonly begunAtMs: number;
  /** Where it stands that the request has begun; null once that is not needed. */
  begunAt: EntryPlace | null;
  state: State;
}

/**
 * A journal of what was begun and what was answered:
 *
 *     begun      before anything is done, so that after a crash nobody does it a second time
 *     answered   with the answer, before that is sent
 *     undone     the key is free again
 *
 * Sized for retries, which come within minutes: when there are more keys or bytes than may be kept, the oldest go first.
 */
export class IdempotencyKeys {
  readonly #parts: IdempotencyParts;
  readonly #journal: RequestJournal;
  /** By id, the oldest first. */
  readonly #remembered: Map<string, Remembered>;
  readonly #writing = new Set<Promise<void>>();
  #tidying: Promise<void> | null = null;
  #hasToldOfLimit = false;

  private constructor(parts: IdempotencyParts, journal: RequestJournal, remembered: Map<string, Remembered>) {
    this.#parts = parts;
    this.#journal = journal;
    this.#remembered = remembered;
  }

  /** Reads what the last process left. */
  static async open(parts: IdempotencyParts): Promise<IdempotencyKeys> {
    const { directory, fileSystem, logger, options } = parts;
    const segmentBytes = Math.min(SEGMENT_BYTES_MAX, Math.ceil(options.idempotencyLimitBytes / SEGMENTS_PER_LIMIT));
    const recovery = new Recovery();
    const journal = await RequestJournal.open(
      { directory, fileSystem, logger, name: "answers", segmentBytes, removal: "oldestFirst" },
      (place, entry) => recovery.read(place, entry),
    );
    recovery.release(journal);
    const keys = new IdempotencyKeys(parts, journal, recovery.remembered);
    await keys.#settleAccepted(recovery.requestIds);
    keys.#forgetOld();
    await keys.#tidy();
    return keys;
  }

  /**
   * The first time: resolves once it is on disk that the request has begun. Later: its answer.
   *
   * fingerprint: equal for equal requests. requestId: which the async request will have, if it is one.
   * Rejects with RequestError IDEMPOTENCY_KEY_REUSED for another request, IDEMPOTENCY_KEY_IN_USE while the first is under
   * way, IDEMPOTENCY_IN_DOUBT where nobody can tell what became of it; with KafkaError KAFKA_STORAGE_ERROR if the disk
   * does not take it, and then nothing was begun.
   */
  async begin(scope: KeyScope, fingerprint: string, requestId: string | null): Promise<Begun> {
    this.#forgetOld();
    const id = idOf(scope);
    const known = this.#remembered.get(id);
    if (known !== undefined) return { kind: "again", answer: await this.#answerOf(known, fingerprint, scope) };
    const begunAtMs = this.#parts.clock.timestampMs();
    const remembered: Remembered = { fingerprint, begunAtMs, begunAt: null, state: { kind: "running" } };
    // Before the journal is waited for: whoever comes meanwhile is not the first.
    this.#remembered.set(id, remembered);
    try {
      remembered.begunAt = await this.#journal.append({ type: "begun", id, fingerprint, begunAtMs, requestId }, null);
    } catch (error) {
      this.#remembered.delete(id);
      const reason = error instanceof Error ? error.message : String(error);
      const message = `the idempotency key could not be written to disk: ${reason}`;
      throw new KafkaError("KAFKA_STORAGE_ERROR", message, { retriable: true, persisted: "no", cause: error });
    }
    return { kind: "first", attempt: this.#attempt(id, remembered) };
  }

  get count(): number {
    return this.#remembered.size;
  }

  /** Writes what was settled, and closes the journal. Attempts that are not settled by now are in doubt. */
  async close(): Promise<void> {
    await Promise.all(this.#writing);
    await this.#tidying;
    await this.#journal.close();
  }

  #attempt(id: string, remembered: Remembered): Attempt {
    return {
      answered: (answer) => this.#track(this.#writeAnswer(id, remembered, answer)),
      undone: () => this.#track(this.#writeUndone(id, remembered)),
      inDoubt: () => {
        remembered.state = { kind: "inDoubt" };
      },
    };
  }

  #track(written: Promise<void>): Promise<void> {
    const tracked = written.finally(() => this.#writing.delete(tracked));
    this.#writing.add(tracked);
    return tracked;
  }

  async #writeAnswer(id: string, remembered: Remembered, { status, headers, body }: StoredAnswer): Promise<void> {
    const { fingerprint, begunAtMs } = remembered;
    try {
      const head = { type: "answered", id, fingerprint, begunAtMs, status, headers };
      const place = await this.#journal.append(head, typeof body === "string" ? Buffer.from(body) : body);
      remembered.state = { kind: "answered", place };
      this.#releaseBegun(remembered);
    } catch (error) {
      // The journal has told why. The request itself was done: its sender must hear of that.
      remembered.state = { kind: "inDoubt" };
      this.#parts.logger.warn({ reason: String(error) }, "an answer could not be kept for its idempotency key");
    }
    this.#forgetOld();
  }

  async #writeUndone(id: string, remembered: Remembered): Promise<void> {
    try {
      this.#journal.release(await this.#journal.append({ type: "undone", id }, null));
    } catch {
      // In memory it is known; only the next process would take it for one in doubt.
    }
    this.#drop(id, remembered);
  }

  async #answerOf(known: Remembered, fingerprint: string, { key }: KeyScope): Promise<StoredAnswer> {
    if (known.fingerprint !== fingerprint) {
      throw new RequestError("IDEMPOTENCY_KEY_REUSED", `the idempotency key ${key} was used for another request`);
    }
    const { state } = known;
    switch (state.kind) {
      case "running":
        throw new RequestError("IDEMPOTENCY_KEY_IN_USE", "the first request with this idempotency key is under way");
      case "inDoubt":
        throw new RequestError(
          "IDEMPOTENCY_IN_DOUBT",
          "the server stopped during the first request with this idempotency key: its records may be stored or not",
        );
      case "answered": {
        const { head, body } = await this.#journal.read(state.place);
        return { ...(head as unknown as Omit<StoredAnswer, "body">), body }; // as we wrote it, and its CRC is right
      }
    }
  }

  /** A crash between an async request's acceptance and its answer: its own journal knows. */
  async #settleAccepted(requestIds: ReadonlyMap<string, string>): Promise<void> {
    for (const [id, requestId] of requestIds) {
      const remembered = this.#remembered.get(id);
      if (remembered?.state.kind !== "inDoubt") continue;
      const answer = this.#parts.acceptedAnswer(requestId);
      if (answer === null) await this.#writeUndone(id, remembered);
      else await this.#writeAnswer(id, remembered, answer);
    }
  }

  /** Lets go of keys whose time is over, and of the oldest if there are too many of them or of their bytes. */
  #forgetOld(): void {
    const { options, clock } = this.#parts;
    const oldestMs = clock.timestampMs() - options.idempotencyRetentionMs;
    let isOverLimit = false;
    for (const [id, remembered] of this.#remembered) {
      const isExpired = remembered.begunAtMs <= oldestMs;
      const isTooMany = this.#remembered.size > options.idempotencyKeysLimit;
      const isRunning = remembered.state.kind === "running";
      // The journal gives up its files from the oldest on: while that is needed, no other makes room.
      const makesRoom = !isRunning && this.#journal.neededBytes > options.idempotencyLimitBytes;
      if (!isExpired && !isTooMany && !makesRoom) break;
      if (isRunning) continue;
      isOverLimit ||= !isExpired;
      this.#drop(id, remembered);
    }
    if (!isOverLimit || this.#hasToldOfLimit) return;
    this.#hasToldOfLimit = true;
    this.#parts.logger.warn(
      { keys: this.#remembered.size, sizeBytes: this.#journal.sizeBytes },
      "idempotency keys are forgotten before their time: raise idempotencyKeysLimit or idempotencyLimitBytes",
    );
  }

  #drop(id: string, remembered: Remembered): void {
    this.#remembered.delete(id);
    this.#releaseBegun(remembered);
    if (remembered.state.kind === "answered") this.#release(remembered.state.place);
  }

  #releaseBegun(remembered: Remembered): void {
    if (remembered.begunAt !== null) this.#release(remembered.begunAt);
    remembered.begunAt = null;
  }

  #release(place: EntryPlace): void {
    this.#journal.release(place);
    if (place.segment.liveCount === 0) void this.#tidy();
  }

  /** Deletes the files that nobody needs. Never rejects: what is left is deleted another time. */
  #tidy(): Promise<void> {
    this.#tidying ??= this.#journal
      .removeReleased()
      .catch((error: unknown) => this.#parts.logger.warn({ reason: String(error) }, "a journal could not be tidied"))
      .finally(() => {
        this.#tidying = null;
      });
    return this.#tidying;
  }
}

/** Puts together what there was when the last process ended. */
class Recovery {
  readonly remembered = new Map<string, Remembered>();
  /** Of async requests that were begun, by the id of their key. */
  readonly requestIds = new Map<string, string>();
  readonly #released: EntryPlace[] = [];

  read(place: EntryPlace, { head }: Entry): void {
    const id = String(head.id);
    const before = this.remembered.get(id);
    switch (head.type) {
      case "begun":
        this.#release(before);
        this.#remember(id, { ...aboutKey(head), begunAt: place, state: { kind: "inDoubt" } });
        if (typeof head.requestId === "string") this.requestIds.set(id, head.requestId);
        return;
      case "answered":
        this.#release(before);
        this.#remember(id, { ...aboutKey(head), begunAt: null, state: { kind: "answered", place } });
        return;
      default:
        this.#release(before);
        this.#released.push(place);
        this.remembered.delete(id);
    }
  }

  release(journal: RequestJournal): void {
    for (const place of this.#released) journal.release(place);
  }

  /** At the end, so that the map is in the order of what was written last. */
  #remember(id: string, remembered: Remembered): void {
    this.remembered.delete(id);
    this.remembered.set(id, remembered);
  }

  #release(before: Remembered | undefined): void {
    if (before?.begunAt) this.#released.push(before.begunAt);
    if (before?.state.kind === "answered") this.#released.push(before.state.place);
  }
}

function aboutKey(head: Entry["head"]): Pick<Remembered, "fingerprint" | "begunAtMs"> {
  return { fingerprint: String(head.fingerprint), begunAtMs: Number(head.begunAtMs) };
}

/** Of fixed length, as millions of keys may come; and what a client calls its requests is nobody else's to read. */
function idOf({ ownerId, topic, key }: KeyScope): string {
  return hash("sha256", JSON.stringify([ownerId, topic, key]), "base64url");
}
