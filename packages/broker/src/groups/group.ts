/** One group of consumers: who is in it, and the rebalance by which its members agree on who reads what. */

import type { Clock, Logger, Timer } from "@millrace/base";
import type { ErrorCode } from "@millrace/protocol";
import type { ResolvedBrokerOptions } from "../options.ts";
import { GroupMember, type Member } from "./group-member.ts";
import { GroupMembers } from "./group-members.ts";
import {
  failedJoin,
  type JoinedMember,
  type JoinRequest,
  type JoinResult,
  type MemberClaim,
  type MemberProtocol,
  refusal,
  type SyncRequest,
  type SyncResult,
} from "./group-requests.ts";
import { areSameProtocols, commonProtocols, metadataOf, voteForProtocol } from "./member-protocols.ts";
import { PendingMembers } from "./pending-members.ts";
import { CONSUMER_PROTOCOL_TYPE, isSameSubscription } from "./subscription.ts";

/**
 *            first join                all joined, or the rebalance timeout
 *     Empty ───────────→ PreparingRebalance ───────────→ CompletingRebalance
 *       ↑                  ↑  ↑   │                         │        │
 *       └── nobody left ───┼──┼───┘        a join or leave  │        │ the leader's assignment is on disk
 *                          │  └─────────────────────────────┘        ↓
 *                          └──────────── a join or leave ───────── Stable        Dead: deleted
 */
export type GroupState = "Empty" | "PreparingRebalance" | "CompletingRebalance" | "Stable" | "Dead";

/** A group as it lies in __consumer_offsets. */
export interface GroupSnapshot {
  readonly protocolType: string;
  readonly protocolName: string | null;
  readonly generationId: number;
  readonly leaderId: string | null;
  readonly stateTimestampMs: number;
  readonly members: readonly Member[];
}

export interface GroupParts {
  readonly groupId: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options: ResolvedBrokerOptions;
  /** Resolves once the group as it is now would outlive a crash. */
  readonly persist: (group: Group) => Promise<void>;
  readonly newMemberId: (prefix: string) => string;
}

const EMPTY_ASSIGNMENT = Buffer.alloc(0);

/** The broker's side of the classic group protocol. Source: Kafka's GroupCoordinator and GroupMetadata; KIP-345, KIP-394. */
export class Group {
  readonly groupId: string;
  readonly #parts: GroupParts;
  readonly #members = new GroupMembers();
  readonly #pending: PendingMembers;
  #state: GroupState = "Empty";
  #stateTimestampMs: number;
  #generationId = 0;
  #protocolType: string | null = null;
  #protocolName: string | null = null;
  #rebalanceTimer: Timer | null = null;
  #syncTimer: Timer | null = null;
  /** In the group's first rebalance: until then more members are waited for; 0 when none are. */
  #holdUntilMs = 0;
  #holdLimitMs = 0;

  constructor(parts: GroupParts) {
    this.#parts = parts;
    this.groupId = parts.groupId;
    this.#pending = new PendingMembers(parts.clock);
    this.#stateTimestampMs = parts.clock.timestampMs();
  }

  get state(): GroupState {
    return this.#state;
  }

  get protocolType(): string | null {
    return this.#protocolType;
  }

  get protocolName(): string | null {
    return this.#protocolName;
  }

  get stateTimestampMs(): number {
    return this.#stateTimestampMs;
  }

  get members(): readonly Member[] {
    return [...this.#members];
  }

  /** Nobody ever came in: there is nothing of it on the disk. */
  get isUnused(): boolean {
    return this.#generationId === 0 && this.isVacant;
  }

  /** Nobody in it and nobody on the way. */
  get isVacant(): boolean {
    return this.#members.size === 0 && this.#pending.size === 0;
  }

  snapshot(): GroupSnapshot {
    return {
      protocolType: this.#protocolType ?? "",
      protocolName: this.#protocolName,
      generationId: this.#generationId,
      leaderId: this.#members.leaderId,
      stateTimestampMs: this.#stateTimestampMs,
      members: this.members,
    };
  }

  /** Takes up where a former broker left off; every member has its session timeout from now on to show itself. */
  restore(snapshot: GroupSnapshot): void {
    this.#protocolType = snapshot.protocolType === "" ? null : snapshot.protocolType;
    this.#protocolName = snapshot.protocolName;
    this.#generationId = snapshot.generationId;
    this.#stateTimestampMs = snapshot.stateTimestampMs;
    for (const described of snapshot.members) {
      const member = this.#memberOf(described, true);
      this.#members.add(member);
      member.keepAlive();
    }
    this.#members.leaderId = snapshot.leaderId;
    this.#state = this.#members.size > 0 ? "Stable" : "Empty";
  }

  /** A member enters, or comes again. Resolves once all members have, with what to do next or why not. */
  join(request: JoinRequest): Promise<JoinResult> {
    if (this.#state === "Dead") return refusedJoin("COORDINATOR_NOT_AVAILABLE", request.memberId);
    if (!this.#supports(request.protocolType, request.protocols)) {
      return refusedJoin("INCONSISTENT_GROUP_PROTOCOL", request.memberId);
    }
    return request.memberId === "" ? this.#joinFirst(request) : this.#joinAgain(request);
  }

  #joinFirst(request: JoinRequest): Promise<JoinResult> {
    const { groupInstanceId } = request;
    const known = this.#members.ofInstance(groupInstanceId);
    if (known !== undefined) return this.#replaceStatic(known, request);
    if (this.#members.size + this.#pending.size >= this.#parts.options.groupMaxSize) {
      return refusedJoin("GROUP_MAX_SIZE_REACHED", "");
    }
    const memberId = this.#parts.newMemberId(groupInstanceId ?? request.clientId);
    if (groupInstanceId !== null || !request.mustKnowMemberId) return this.#add(memberId, request);
    this.#pending.expect(memberId, request.sessionTimeoutMs, () => this.#completeJoinIfAll());
    return refusedJoin("MEMBER_ID_REQUIRED", memberId);
  }

  #joinAgain(request: JoinRequest): Promise<JoinResult> {
    const { memberId, groupInstanceId } = request;
    if (groupInstanceId === null && this.#pending.take(memberId)) return this.#add(memberId, request);
    const member = this.#members.identify(memberId, groupInstanceId);
    if (typeof member === "string") return refusedJoin(member, memberId);
    const isUnchanged = areSameProtocols(member.protocols, request.protocols);
    if (this.#state === "CompletingRebalance" && isUnchanged) {
      // Its answer got lost: it gets the same one again.
      return Promise.resolve(this.#joined(member));
    }
    if (this.#state === "Stable" && isUnchanged && memberId !== this.#members.leaderId) {
      member.keepAlive();
      return Promise.resolve(this.#joined(member));
    }
    return this.#rejoin(member, request);
  }

  #add(memberId: string, request: JoinRequest): Promise<JoinResult> {
    const member = this.#memberOf({ ...request, memberId, assignment: EMPTY_ASSIGNMENT }, false);
    if (this.#members.size === 0) this.#protocolType = request.protocolType;
    this.#members.add(member);
    if (this.#holdUntilMs > 0) this.#holdLonger();
    return this.#rejoin(member, request);
  }

  #rejoin(member: GroupMember, request: JoinRequest): Promise<JoinResult> {
    const joined = member.join(request);
    if (this.#state !== "PreparingRebalance") this.#prepareRebalance(`${member.memberId} joins`);
    this.#completeJoinIfAll();
    return joined;
  }

  /**
   * A static member that restarted: it has a new member id and the place of its old one. If it still wants the same,
   * the others need not know. Source: Kafka, GroupMetadataManager.updateStaticMemberThenRebalanceOrCompleteJoin.
   */
  #replaceStatic(former: GroupMember, request: JoinRequest): Promise<JoinResult> {
    const memberId = this.#parts.newMemberId(request.groupInstanceId ?? request.clientId);
    const formerLeaderId = this.#members.leaderId;
    const { clientId, assignment } = former;
    const member = this.#memberOf({ ...request, memberId, clientId, assignment }, former.isSynced);
    former.dismiss("FENCED_INSTANCE_ID");
    this.#members.replace(former, member);
    if (this.#state !== "Stable" || !this.#isContent(member, former.protocols)) return this.#rejoin(member, request);
    member.keepAlive();
    const isLeader = this.#members.leaderId === memberId;
    const joined = this.#joined(member);
    return this.#parts.persist(this).then(
      () => ({
        ...joined,
        // A client that cannot skip would assign anew if it were told that it leads: it is told the old leader's id.
        leaderId: request.canSkipAssignment ? joined.leaderId : (formerLeaderId ?? ""),
        members: request.canSkipAssignment ? joined.members : [],
        skipAssignment: isLeader && request.canSkipAssignment,
      }),
      () => failedJoin("COORDINATOR_NOT_AVAILABLE", memberId),
    );
  }

  /** Whether the group's choice and what it reads stand with what a member of it tells now. */
  #isContent(member: Member, formerProtocols: readonly MemberProtocol[]): boolean {
    if (voteForProtocol(this.#members) !== this.#protocolName) return false;
    const before = metadataOf(formerProtocols, this.#protocolName);
    const after = metadataOf(member.protocols, this.#protocolName);
    if (before === undefined || after === undefined) return false;
    return this.#protocolType === CONSUMER_PROTOCOL_TYPE ? isSameSubscription(before, after) : before.equals(after);
  }

  /** Resolves once the leader's assignment is on disk. Rejects with KafkaError. */
  async sync(request: SyncRequest): Promise<SyncResult> {
    const member = this.#claimed(request);
    if (
      (request.protocolType !== null && request.protocolType !== this.#protocolType) ||
      (request.protocolName !== null && request.protocolName !== this.#protocolName)
    ) {
      throw refusal("INCONSISTENT_GROUP_PROTOCOL", this.groupId);
    }
    if (this.#state === "PreparingRebalance") throw refusal("REBALANCE_IN_PROGRESS", this.groupId);
    if (this.#state === "Stable") {
      member.keepAlive();
      member.isSynced = true;
      this.#endSyncIfAll();
      return this.#synced(member);
    }
    const synced = member.sync();
    if (member.memberId === this.#members.leaderId) this.#assign(request.assignments);
    return synced;
  }

  #assign(assignments: SyncRequest["assignments"]): void {
    const given = new Map(assignments.map(({ memberId, assignment }) => [memberId, assignment]));
    // Copied: the bytes of a request live as long as any view of them.
    for (const member of this.#members) {
      member.assignment = Buffer.from(given.get(member.memberId) ?? EMPTY_ASSIGNMENT);
    }
    const generationId = this.#generationId;
    const isStillThere = () => this.#state === "CompletingRebalance" && this.#generationId === generationId;
    this.#parts.persist(this).then(
      () => {
        if (isStillThere()) this.#becomeStable();
      },
      (error) => {
        this.#parts.logger.warn({ group: this.groupId, error }, "could not store a group's assignment");
        if (isStillThere()) this.#prepareRebalance("its assignment could not be stored");
      },
    );
  }

  #becomeStable(): void {
    this.#changeState("Stable");
    for (const member of this.#members) member.answerSync(this.#synced(member));
    this.#endSyncIfAll();
  }

  #endSyncIfAll(): void {
    if ([...this.#members].every(({ isSynced }) => isSynced)) this.#cancelSync();
  }

  #cancelSync(): void {
    this.#syncTimer?.cancel();
    this.#syncTimer = null;
  }

  /** Throws KafkaError: REBALANCE_IN_PROGRESS is what tells a member to join again. */
  heartbeat(claim: MemberClaim): void {
    const member = this.#claimed(claim);
    member.keepAlive();
    if (this.#state === "PreparingRebalance") throw refusal("REBALANCE_IN_PROGRESS", this.groupId);
  }

  /** Throws KafkaError. A static member may leave by its instance id alone. */
  leave(memberId: string, groupInstanceId: string | null): void {
    if (this.#pending.take(memberId)) {
      this.#completeJoinIfAll();
      return;
    }
    const leavingId = memberId === "" ? (this.#members.ofInstance(groupInstanceId)?.memberId ?? "") : memberId;
    const member = this.#members.identify(leavingId, groupInstanceId);
    if (typeof member === "string") throw refusal(member, this.groupId);
    this.#remove(member, "left");
  }

  /**
   * Whether offsets may be committed with this claim. Throws KafkaError.
   *
   * generationId -1 is a consumer that manages its partitions itself: it may commit while the group has no members.
   */
  checkCommit(claim: MemberClaim): void {
    if (this.#state === "Dead") throw refusal("COORDINATOR_NOT_AVAILABLE", this.groupId);
    if (claim.generationId < 0 && this.#state === "Empty") return;
    const member = this.#claimed(claim);
    if (this.#state === "CompletingRebalance") throw refusal("REBALANCE_IN_PROGRESS", this.groupId);
    member.keepAlive();
  }

  /** The group is deleted, or its coordinator ends: whoever waits is told so. */
  end(): void {
    this.#state = "Dead";
    this.#rebalanceTimer?.cancel();
    this.#syncTimer?.cancel();
    this.#pending.close();
    for (const member of this.#members) member.dismiss("COORDINATOR_NOT_AVAILABLE");
  }

  #prepareRebalance(reason: string): void {
    this.#parts.logger.debug({ group: this.groupId, reason }, "group rebalances");
    for (const member of this.#members) member.refuseSync("REBALANCE_IN_PROGRESS");
    this.#cancelSync();
    const { groupInitialRebalanceDelayMs } = this.#parts.options;
    if (this.#state === "Empty" && groupInitialRebalanceDelayMs > 0) {
      const nowMs = this.#parts.clock.nowMs();
      this.#holdUntilMs = nowMs + groupInitialRebalanceDelayMs;
      this.#holdLimitMs = nowMs + this.#rebalanceTimeoutMs();
    }
    this.#changeState("PreparingRebalance");
    this.#scheduleRebalanceEnd();
  }

  #scheduleRebalanceEnd(): void {
    this.#rebalanceTimer?.cancel();
    const { clock } = this.#parts;
    const isHeld = this.#holdUntilMs > 0;
    const delayMs = isHeld ? this.#holdUntilMs - clock.nowMs() : this.#rebalanceTimeoutMs();
    this.#rebalanceTimer = clock.schedule(
      delayMs,
      () => {
        this.#holdUntilMs = 0;
        if (isHeld && !this.#hasAllJoined()) this.#scheduleRebalanceEnd();
        else this.#completeJoin();
      },
      { background: true },
    );
  }

  /** Another member came while the first ones are held: it may not be the last, but nobody waits for ever. */
  #holdLonger(): void {
    const { clock, options } = this.#parts;
    this.#holdUntilMs = Math.min(clock.nowMs() + options.groupInitialRebalanceDelayMs, this.#holdLimitMs);
    this.#scheduleRebalanceEnd();
  }

  #rebalanceTimeoutMs(): number {
    return Math.max(0, ...[...this.#members].map((member) => member.rebalanceTimeoutMs));
  }

  #hasAllJoined(): boolean {
    return this.#pending.size === 0 && [...this.#members].every((member) => member.isJoining);
  }

  #completeJoinIfAll(): void {
    if (this.#state === "PreparingRebalance" && this.#holdUntilMs === 0 && this.#hasAllJoined()) this.#completeJoin();
  }

  #completeJoin(): void {
    this.#rebalanceTimer?.cancel();
    this.#rebalanceTimer = null;
    // A static member may be away for a while: its session timer, not this rebalance, decides when it is gone.
    for (const member of [...this.#members]) {
      if (!member.isJoining && member.groupInstanceId === null) this.#dismiss(member);
    }
    const joined = [...this.#members].filter((member) => member.isJoining);
    if (this.#members.size > 0 && joined.length === 0) {
      this.#scheduleRebalanceEnd();
      return;
    }
    this.#generationId += 1;
    if (this.#members.size === 0) {
      this.#becomeEmpty();
      return;
    }
    this.#members.chooseLeader();
    this.#protocolName = voteForProtocol(this.#members);
    this.#changeState("CompletingRebalance");
    this.#parts.logger.info(
      { group: this.groupId, generation: this.#generationId, members: this.#members.size },
      "group has a new generation",
    );
    for (const member of joined) member.answerJoin(this.#joined(member));
    this.#syncTimer = this.#parts.clock.schedule(this.#rebalanceTimeoutMs(), () => this.#expireUnsynced(), {
      background: true,
    });
  }

  /**
   * Members that joined and never asked for their assignment: where one is the leader all others wait for it, and what
   * another was given nobody reads, however well its heartbeats come.
   */
  #expireUnsynced(): void {
    const absent = [...this.#members].filter(({ isAbsent }) => isAbsent);
    if (absent.length === 0) return;
    for (const member of absent) this.#dismiss(member);
    this.#prepareRebalance("members did not sync");
    this.#completeJoinIfAll();
  }

  #becomeEmpty(): void {
    this.#members.leaderId = null;
    this.#protocolName = null;
    this.#changeState("Empty");
    this.#parts.persist(this).catch((error) => {
      this.#parts.logger.warn({ group: this.groupId, error }, "could not store that a group is empty");
    });
  }

  #remove(member: GroupMember, reason: string): void {
    this.#parts.logger.debug({ group: this.groupId, member: member.memberId, reason }, "group member is gone");
    this.#dismiss(member);
    if (this.#state === "Stable" || this.#state === "CompletingRebalance") {
      this.#prepareRebalance(`${member.memberId} ${reason}`);
    }
    this.#completeJoinIfAll();
  }

  #dismiss(member: GroupMember): void {
    member.dismiss("UNKNOWN_MEMBER_ID");
    this.#members.remove(member);
  }

  /** Throws KafkaError if the member is not who it claims to be, or of another generation. */
  #claimed(claim: MemberClaim): GroupMember {
    if (this.#state === "Dead") throw refusal("COORDINATOR_NOT_AVAILABLE", this.groupId);
    const member = this.#members.identify(claim.memberId, claim.groupInstanceId);
    if (typeof member === "string") throw refusal(member, this.groupId);
    if (claim.generationId !== this.#generationId) throw refusal("ILLEGAL_GENERATION", this.groupId);
    return member;
  }

  #supports(protocolType: string, protocols: readonly MemberProtocol[]): boolean {
    if (protocolType === "" || protocols.length === 0) return false;
    if (this.#members.size === 0) return true;
    if (this.#protocolType !== protocolType) return false;
    const common = commonProtocols(this.#members);
    return protocols.some(({ name }) => common.has(name));
  }

  #memberOf(described: Member, isSynced: boolean): GroupMember {
    return new GroupMember(described, isSynced, {
      groupId: this.groupId,
      clock: this.#parts.clock,
      onSilent: (member) => this.#remove(member, "said nothing for its session timeout"),
    });
  }

  #joined(member: GroupMember): JoinResult {
    const { leaderId } = this.#members;
    return {
      error: null,
      memberId: member.memberId,
      generationId: this.#generationId,
      protocolType: this.#protocolType,
      protocolName: this.#protocolName,
      leaderId: leaderId ?? "",
      skipAssignment: false,
      members: member.memberId === leaderId ? [...this.#members].map((entry) => this.#describeToLeader(entry)) : [],
    };
  }

  #describeToLeader({ memberId, groupInstanceId, protocols }: Member): JoinedMember {
    return { memberId, groupInstanceId, metadata: metadataOf(protocols, this.#protocolName) ?? EMPTY_ASSIGNMENT };
  }

  #synced(member: GroupMember): SyncResult {
    return { protocolType: this.#protocolType, protocolName: this.#protocolName, assignment: member.assignment };
  }

  #changeState(state: GroupState): void {
    this.#state = state;
    this.#stateTimestampMs = this.#parts.clock.timestampMs();
  }
}

function refusedJoin(error: ErrorCode, memberId: string): Promise<JoinResult> {
  return Promise.resolve(failedJoin(error, memberId));
}
