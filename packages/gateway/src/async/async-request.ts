/** AsyncRequest: one request that was answered before its records were stored, and how far it is. */

import type { ErrorCode } from "@millrace/protocol";
import type { ProduceRequest } from "../produce-request.ts";
import type { RecordOutcomes } from "../record-outcomes.ts";
import type { ScannedRecords } from "../scanned-records.ts";
import type { EntryPlace } from "./request-journal.ts";

/**
 *     pending ──► processing ──► completed   at least one record is stored, or each failed for its own content
 *        ▲            │     ├──► partial     with status=strict: some records failed
 *        └────────────┘     ├──► failed      none was stored
 *        brokers are away   └──► timeout     not all have their fate when timeout_ms are over
 */
export const asyncStates = ["pending", "processing", "completed", "partial", "failed", "timeout"] as const;
export type AsyncState = (typeof asyncStates)[number];

/** Why a request as a whole came to nothing. */
export interface AsyncFailure {
  readonly code: ErrorCode | string;
  readonly message: string;
}

export interface ScannedRequest {
  readonly produce: ProduceRequest;
  readonly records: ScannedRecords;
}

export class AsyncRequest {
  readonly id: string;
  /** Who made it, and may see it. */
  readonly ownerId: string;
  readonly topic: string;
  readonly submittedAtMs: number;
  readonly recordCount: number;
  /** Where the request itself is in the journal; null once that is gone. */
  acceptedAt: EntryPlace | null;
  state: AsyncState = "pending";
  updatedAtMs: number;
  doneCount = 0;
  failedCount = 0;
  failure: AsyncFailure | null = null;
  /** The request, while it is in memory; with its records, found when it came. */
  request: ScannedRequest | null = null;
  /** While it is under way. */
  outcomes: RecordOutcomes | null = null;
  /** Where its result is in the journal; or, while it is not final, what was stored before the last stop. */
  resultAt: EntryPlace | null = null;
  isForgotten = false;
  /** Made when somebody waits: there may be a hundred thousand requests. */
  #waiting: Set<() => void> | null = null;

  constructor(parts: Pick<AsyncRequest, "id" | "ownerId" | "topic" | "submittedAtMs" | "recordCount" | "acceptedAt">) {
    this.id = parts.id;
    this.ownerId = parts.ownerId;
    this.topic = parts.topic;
    this.submittedAtMs = parts.submittedAtMs;
    this.recordCount = parts.recordCount;
    this.acceptedAt = parts.acceptedAt;
    this.updatedAtMs = parts.submittedAtMs;
  }

  get isFinal(): boolean {
    return this.state !== "pending" && this.state !== "processing";
  }

  /** Calls back once the request is final, or nobody will tell any more. Returns how to stop waiting. */
  onEnd(listener: () => void): () => void {
    this.#waiting ??= new Set();
    this.#waiting.add(listener);
    return () => this.#waiting?.delete(listener);
  }

  tellEnd(): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    for (const listener of waiting ?? []) listener();
  }
}
