/** Requests on the wire whose answers have not come, in the order in which these will. */

import { BoundedQueue, type Clock, type Timer } from "@millrace/base";
import { type Api, decodeResponseBody, type KafkaError, Reader } from "@millrace/protocol";
import { versionOfAnswer } from "./broker-versions.ts";

/** Methods, not functions: each resolves with a type of its own. */
export interface PendingRequest {
  readonly correlationId: number;
  readonly api: Api<unknown, unknown, unknown, unknown>;
  readonly version: number;
  readonly deadlineMs: number;
  resolve(response: unknown): void;
  reject(error: KafkaError): void;
}

/** At least one. */
export type OverdueRequests = readonly [PendingRequest, ...PendingRequest[]];

/**
 * A broker answers the requests of one connection in order, so a queue is all that is needed to match them; the
 * correlation id only proves that both sides still agree.
 */
export class PendingRequests {
  readonly #clock: Clock;
  readonly #queue: BoundedQueue<PendingRequest>;
  /** Called once requests have not been answered in time. They are not taken out. */
  readonly #onOverdue: (overdue: OverdueRequests) => void;
  #timer: Timer | null = null;
  #timerDueMs = Number.POSITIVE_INFINITY;

  constructor(limit: number, clock: Clock, onOverdue: (overdue: OverdueRequests) => void) {
    this.#queue = new BoundedQueue(limit);
    this.#clock = clock;
    this.#onOverdue = onOverdue;
  }

  get limit(): number {
    return this.#queue.limit;
  }

  get length(): number {
    return this.#queue.length;
  }

  get isFull(): boolean {
    return this.#queue.isFull;
  }

  push(request: PendingRequest, nowMs: number): void {
    this.#queue.push(request);
    if (request.deadlineMs < this.#timerDueMs) this.#arm(request.deadlineMs, nowMs);
  }

  shift(): PendingRequest | undefined {
    return this.#queue.shift();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #arm(dueMs: number, nowMs: number): void {
    this.#timer?.cancel();
    this.#timerDueMs = dueMs;
    // The socket keeps the process alive while an answer is due; the timer need not.
    this.#timer = this.#clock.schedule(dueMs - nowMs, () => this.#onTimer(), { background: true });
  }

  /** Most answers come long before: the timer is set once and finds out when it rings what it has to wait for next. */
  #onTimer(): void {
    this.#timerDueMs = Number.POSITIVE_INFINITY;
    this.#timer = null;
    const nowMs = this.#clock.nowMs();
    const [first, ...others] = [...this.#queue].filter(({ deadlineMs }) => deadlineMs <= nowMs);
    if (first !== undefined) {
      this.#onOverdue([first, ...others]);
      return;
    }
    const earliestMs = Math.min(...[...this.#queue].map(({ deadlineMs }) => deadlineMs));
    if (earliestMs < Number.POSITIVE_INFINITY) this.#arm(earliestMs, nowMs);
  }
}

/** Decodes the answer to a request. Throws if it is the answer to another one, or malformed. */
export function decodeAnswer({ api, version, correlationId }: PendingRequest, frame: Buffer): unknown {
  const reader = new Reader(frame);
  const answeredId = reader.int32();
  if (answeredId !== correlationId) {
    throw new Error(`answer to request ${answeredId}; expected the one to ${correlationId}`);
  }
  return decodeResponseBody(api, versionOfAnswer(api, version, frame, reader.offset), reader);
}
