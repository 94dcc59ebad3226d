/**
 * Intake: how much of what clients send is held at once.
 *
 * Counted are bytes that have come, not those that were announced, and requests that are being worked on. Uploads that are
 * not whole yet share a part of the room only, so that any number of them that stall never keeps out a request that is
 * here; and where they fill their part, those that stalled are the first to go. What tails have read and their clients
 * have not taken counts as uploads do.
 */

import { type Clock, SECOND_MS } from "@millrace/base";
import { RequestError } from "../errors.ts";

/** An upload that has sent nothing for so long gives its room to others when there is none. */
const STALLED_MS = SECOND_MS;
/** For so long after something found no room there counts as none: what is like it would find none either. */
const REFUSED_MS = 2 * SECOND_MS;
/** Of the room, what uploads that are not whole yet may take. */
const UPLOADS_SHARE = 0.75;

export interface IntakeParts {
  readonly clock: Clock;
  readonly requestLimit: number;
  readonly limitBytes: number;
}

/** One request's share. */
export interface Share {
  sizeBytes: number;
  isWorkedOn: boolean;
  /** Its request has ended: what still comes of it is nobody's. */
  isClosed: boolean;
  lastByteMs: number;
  /** Ends the upload; null once all of it is here. */
  evict: ((error: RequestError) => void) | null;
}

export class Intake {
  readonly #parts: IntakeParts;
  readonly #uploadsLimitBytes: number;
  /** Uploads that go on, the one that has been silent for longest first. */
  readonly #uploads = new Set<Share>();
  readonly #shares = new WeakMap<object, Share>();
  #sizeBytes = 0;
  /** Of those, what belongs to uploads that go on. */
  #uploadsBytes = 0;
  #requestCount = 0;
  #refusedAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#uploadsLimitBytes = Math.floor(parts.limitBytes * UPLOADS_SHARE);
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get requestCount(): number {
    return this.#requestCount;
  }

  /** What can be received with more to come, if there is nothing else. */
  get partLimitBytes(): number {
    return this.#uploadsLimitBytes;
  }

  /** Share of the room that is taken, 0 to 1, where there is least; 1 for a while after something was refused. */
  get fill(): number {
    const { clock, limitBytes, requestLimit } = this.#parts;
    if (clock.nowMs() - this.#refusedAtMs < REFUSED_MS) return 1;
    return Math.max(
      this.#sizeBytes / limitBytes,
      this.#uploadsBytes / this.#uploadsLimitBytes,
      this.#requestCount / requestLimit,
    );
  }

  /** Share of the room for bytes that is taken, 0 to 1. Uploads alone stay below UPLOADS_SHARE. */
  get bytesFill(): number {
    return this.#sizeBytes / this.#parts.limitBytes;
  }

  /** The share of a request, known by any object that stands for it. */
  shareOf(request: object): Share {
    const known = this.#shares.get(request);
    if (known !== undefined) return known;
    const share = this.open();
    this.#shares.set(request, share);
    return share;
  }

  open(): Share {
    return { sizeBytes: 0, isWorkedOn: false, isClosed: false, lastByteMs: this.#parts.clock.nowMs(), evict: null };
  }

  /**
   * Counts the last bytes of a body, or what a whole one became. Throws RequestError OVERLOADED if there is no room for
   * them, even without the stalled.
   */
  receive(share: Share, sizeBytes: number): void {
    this.complete(share);
    this.#makeRoom(share, sizeBytes);
    this.#count(share, sizeBytes);
  }

  /** Counts bytes with more to come. evict: ends the upload. Throws RequestError OVERLOADED as `receive` does. */
  receivePart(share: Share, sizeBytes: number, evict: (error: RequestError) => void): void {
    const { clock, limitBytes } = this.#parts;
    const uploadsLimitBytes = this.#uploadsLimitBytes;
    if (share.isClosed) return;
    const isRoom = () =>
      this.#uploadsBytes + sizeBytes <= uploadsLimitBytes && this.#sizeBytes + sizeBytes <= limitBytes;
    while (!isRoom() && this.#evictStalled(share));
    if (!isRoom()) throw this.#overloaded("bytes of uploads", uploadsLimitBytes);
    // To the end of the order.
    this.complete(share);
    this.#count(share, sizeBytes);
    this.#uploads.add(share);
    this.#uploadsBytes += share.sizeBytes;
    share.evict = evict;
    share.lastByteMs = clock.nowMs();
  }

  /** What is held for a request is another amount now. Throws RequestError OVERLOADED if it is more, and there is no room. */
  resize(share: Share, sizeBytes: number): void {
    if (share.isClosed) return;
    const grownBytes = sizeBytes - share.sizeBytes;
    if (grownBytes > 0) this.#makeRoom(share, grownBytes);
    if (this.#uploads.has(share)) this.#uploadsBytes += grownBytes;
    this.#count(share, grownBytes);
  }

  /** No more of it will come, or not before we ask for it. */
  complete(share: Share): void {
    if (this.#uploads.delete(share)) this.#uploadsBytes -= share.sizeBytes;
    share.evict = null;
  }

  /** Work on a request begins. Throws RequestError OVERLOADED if too much is under way. */
  begin(share: Share): void {
    if (this.#requestCount >= this.#parts.requestLimit) throw this.#overloaded("requests", this.#parts.requestLimit);
    this.#requestCount += 1;
    share.isWorkedOn = true;
  }

  /** The request has ended, one way or another. May be called twice. */
  close(share: Share): void {
    this.complete(share);
    this.#sizeBytes -= share.sizeBytes;
    if (share.isWorkedOn) this.#requestCount -= 1;
    share.sizeBytes = 0;
    share.isWorkedOn = false;
    share.isClosed = true;
  }

  #makeRoom(share: Share, sizeBytes: number): void {
    const { limitBytes } = this.#parts;
    while (this.#sizeBytes + sizeBytes > limitBytes && this.#evictStalled(share));
    if (this.#sizeBytes + sizeBytes > limitBytes) throw this.#overloaded("bytes of requests", limitBytes);
  }

  #count(share: Share, sizeBytes: number): void {
    if (share.isClosed) return;
    this.#sizeBytes += sizeBytes;
    share.sizeBytes += sizeBytes;
  }

  #evictStalled(other: Share): boolean {
    for (const share of this.#uploads) {
      if (share === other) continue;
      const silentMs = this.#parts.clock.nowMs() - share.lastByteMs;
      if (silentMs < STALLED_MS || share.evict === null) return false;
      const { evict } = share;
      this.close(share);
      evict(
        new RequestError("UPLOAD_STALLED", `nothing came for ${Math.round(silentMs)} ms while others needed the room`),
      );
      return true;
    }
    return false;
  }

  #overloaded(what: string, limit: number): RequestError {
    this.#refusedAtMs = this.#parts.clock.nowMs();
    return new RequestError("OVERLOADED", `there are already ${limit} ${what} in flight`);
  }
}
