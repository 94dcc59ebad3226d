/** One member of a group: what it told of itself, what it waits for, and the session that ends it when it says nothing. */

import { type Clock, createDeferred, type Deferred, type Timer } from "@millrace/base";
import type { ErrorCode } from "@millrace/protocol";
import {
  failedJoin,
  type JoinRequest,
  type JoinResult,
  type MemberProtocol,
  refusal,
  type SyncResult,
} from "./group-requests.ts";

/** A member as it lies on the disk and is described to others. */
export interface Member {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly protocols: readonly MemberProtocol[];
  readonly assignment: Buffer;
}

export interface GroupMemberParts {
  readonly groupId: string;
  readonly clock: Clock;
  /** The member said nothing for its session timeout. */
  readonly onSilent: (member: GroupMember) => void;
}

/** A member waits for one answer at most; while it waits for us its session does not run. */
export class GroupMember implements Member {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  sessionTimeoutMs: number;
  rebalanceTimeoutMs: number;
  protocols: readonly MemberProtocol[];
  assignment: Buffer;
  /** False from the answer to its join on until it has its assignment. */
  isSynced: boolean;
  readonly #parts: GroupMemberParts;
  #joining: Deferred<JoinResult> | null = null;
  #syncing: Deferred<SyncResult> | null = null;
  #deadlineMs = 0;
  #timer: Timer | null = null;

  constructor(described: Member, isSynced: boolean, parts: GroupMemberParts) {
    this.memberId = described.memberId;
    this.groupInstanceId = described.groupInstanceId;
    this.clientId = described.clientId;
    this.clientHost = described.clientHost;
    this.sessionTimeoutMs = described.sessionTimeoutMs;
    this.rebalanceTimeoutMs = described.rebalanceTimeoutMs;
    this.protocols = described.protocols;
    this.assignment = described.assignment;
    this.isSynced = isSynced;
    this.#parts = parts;
  }

  get isJoining(): boolean {
    return this.#joining !== null;
  }

  /** It joined and has not come for its assignment. */
  get isAbsent(): boolean {
    return !this.isSynced && this.#syncing === null;
  }

  /** It joins again, perhaps with other wishes. Resolves with what it is told once all have joined. */
  join({ protocols, sessionTimeoutMs, rebalanceTimeoutMs }: JoinRequest): Promise<JoinResult> {
    this.protocols = protocols;
    this.sessionTimeoutMs = sessionTimeoutMs;
    this.rebalanceTimeoutMs = rebalanceTimeoutMs;
    // A client that asks again on a new connection waits there only; its first wait has nobody to hear the answer.
    this.#joining?.resolve(failedJoin("UNKNOWN_MEMBER_ID", this.memberId));
    this.#joining = createDeferred();
    this.#rest();
    return this.#joining.promise;
  }

  answerJoin(result: JoinResult): void {
    const joining = this.#joining;
    this.#joining = null;
    this.isSynced = false;
    this.keepAlive();
    joining?.resolve(result);
  }

  /** Resolves with its assignment once there is one. */
  sync(): Promise<SyncResult> {
    this.#syncing?.reject(this.#refusal("UNKNOWN_MEMBER_ID"));
    this.#syncing = createDeferred();
    this.#rest();
    return this.#syncing.promise;
  }

  /** Does nothing if it has not asked yet: it is answered when it does, and until then its session runs. */
  answerSync(result: SyncResult): void {
    const syncing = this.#syncing;
    if (syncing === null) return;
    this.#syncing = null;
    this.isSynced = true;
    this.keepAlive();
    syncing.resolve(result);
  }

  /** Does nothing if it does not wait. */
  refuseSync(code: ErrorCode): void {
    const syncing = this.#syncing;
    if (syncing === null) return;
    this.#syncing = null;
    this.keepAlive();
    syncing.reject(this.#refusal(code));
  }

  /** It is no longer a member: if it waits, it is told why. */
  dismiss(code: ErrorCode): void {
    this.#rest();
    this.#joining?.resolve(failedJoin(code, this.memberId));
    this.#syncing?.reject(this.#refusal(code));
    this.#joining = null;
    this.#syncing = null;
  }

  /** It showed itself: its session begins anew. One timer per session timeout, not one per heartbeat. */
  keepAlive(): void {
    this.#deadlineMs = this.#parts.clock.nowMs() + this.sessionTimeoutMs;
    if (this.#timer === null && this.#joining === null && this.#syncing === null) this.#watch(this.sessionTimeoutMs);
  }

  #watch(delayMs: number): void {
    const { clock, onSilent } = this.#parts;
    this.#timer = clock.schedule(
      delayMs,
      () => {
        this.#timer = null;
        const lateMs = clock.nowMs() - this.#deadlineMs;
        if (lateMs < 0) this.#watch(-lateMs);
        // The whole process stood still (a laptop slept): its members could not reach it, so each gets one more session.
        else if (lateMs > this.sessionTimeoutMs / 2) this.keepAlive();
        else onSilent(this);
      },
      { background: true },
    );
  }

  #rest(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #refusal(code: ErrorCode) {
    return refusal(code, this.#parts.groupId);
  }
}
