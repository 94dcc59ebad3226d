/**
 * Intake: how much of what clients send is held at once.
 *
 * Counted are bytes that have come, not those that were announced, and requests that are being worked on. So an upload
 * that stalls costs its socket and what it has sent, and when room runs out it is the first to go.
 */

import { type Clock, SECOND_MS } from "@millrace/base";
import { RequestError } from "../errors.ts";

/** An upload that has sent nothing for so long gives its room to others when there is none. */
const STALLED_MS = SECOND_MS;

export interface IntakeParts {
  readonly clock: Clock;
  readonly requestLimit: number;
  readonly limitBytes: number;
}

/** One request's share. */
export interface Share {
  sizeBytes: number;
  isWorkedOn: boolean;
  lastByteMs: number;
  /** Ends the upload; null once all of it is here. */
  evict: ((error: RequestError) => void) | null;
}

export class Intake {
  readonly #parts: IntakeParts;
  /** Uploads that go on, the one that has been silent for longest first. */
  readonly #uploads = new Set<Share>();
  #sizeBytes = 0;
  #requestCount = 0;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get requestCount(): number {
    return this.#requestCount;
  }

  /** Share of the room that is taken, 0 to 1, where there is least. */
  get fill(): number {
    return Math.max(this.#sizeBytes / this.#parts.limitBytes, this.#requestCount / this.#parts.requestLimit);
  }

  open(): Share {
    return { sizeBytes: 0, isWorkedOn: false, lastByteMs: this.#parts.clock.nowMs(), evict: null };
  }

  /** Counts bytes that came. Throws RequestError OVERLOADED if there is no room for them, even without the stalled. */
  receive(share: Share, sizeBytes: number): void {
    while (this.#sizeBytes + sizeBytes > this.#parts.limitBytes && this.#evictStalled(share));
    if (this.#sizeBytes + sizeBytes > this.#parts.limitBytes)
      throw overloaded("bytes of requests", this.#parts.limitBytes);
    this.#sizeBytes += sizeBytes;
    share.sizeBytes += sizeBytes;
  }

  /** More of the upload is to come: evict ends it. To be called anew with each piece that came. */
  awaitMore(share: Share, evict: (error: RequestError) => void): void {
    share.evict = evict;
    share.lastByteMs = this.#parts.clock.nowMs();
    // To the end of the order.
    this.#uploads.delete(share);
    this.#uploads.add(share);
  }

  /** All of it is here. */
  complete(share: Share): void {
    this.#uploads.delete(share);
    share.evict = null;
  }

  /** Work on a request begins. Throws RequestError OVERLOADED if too much is under way. */
  begin(share: Share): void {
    if (this.#requestCount >= this.#parts.requestLimit) throw overloaded("requests", this.#parts.requestLimit);
    this.#requestCount += 1;
    share.isWorkedOn = true;
  }

  /** The request has ended, one way or another. May be called twice. */
  close(share: Share): void {
    this.#uploads.delete(share);
    this.#sizeBytes -= share.sizeBytes;
    if (share.isWorkedOn) this.#requestCount -= 1;
    share.sizeBytes = 0;
    share.isWorkedOn = false;
    share.evict = null;
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
}

function overloaded(what: string, limit: number): RequestError {
  return new RequestError("OVERLOADED", `there are already ${limit} ${what} in flight`);
}
