/** One group of consumers: who is in it, and the rebalance by which its members agree on who reads what. */

import { type Clock, createDeferred, type Deferred, type Logger, type Timer } from "@millrace/base";
import { type ErrorCode, KafkaError } from "@millrace/protocol";
import type { ResolvedBrokerOptions } from "./options.ts";
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

/** A way to assign partitions that a member knows, with what it tells the leader about itself. */
export interface MemberProtocol {
  readonly name: string;
  readonly metadata: Buffer;
}

export interface JoinRequest {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly protocolType: string;
  readonly protocols: readonly MemberProtocol[];
  /** From v4 on a new member must come back with the id that it is given, so that none is counted twice (KIP-394). */
  readonly mustKnowMemberId: boolean;
  /** From v9 on a leader can be told that the assignment stands (KIP-814). */
  readonly canSkipAssignment: boolean;
}

export interface JoinResult {
  readonly error: ErrorCode | null;
  readonly memberId: string;
  readonly generationId: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly leaderId: string;
  readonly skipAssignment: boolean;
  /** For the leader only: whom to assign to. */
  readonly members: readonly JoinedMember[];
}

export interface JoinedMember {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly metadata: Buffer;
}

/** Who claims to speak, in every request but the first. */
export interface MemberClaim {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly generationId: number;
}

export interface SyncRequest extends MemberClaim {
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  /** From the leader; empty from all others. */
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Buffer }[];
}

export interface SyncResult {
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignment: Buffer;
}

export interface Member {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  sessionTimeoutMs: number;
  rebalanceTimeoutMs: number;
  protocols: readonly MemberProtocol[];
  assignment: Buffer;
}

/** A member with what it waits for, and the timer that ends it when it says nothing. */
interface LiveMember extends Member {
  joining: Deferred<JoinResult> | null;
  syncing: Deferred<SyncResult> | null;
  /** False from the answer to its join on until it has its assignment. */
  isSynced: boolean;
  deadlineMs: number;
  timer: Timer | null;
}

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
  readonly #members = new Map<string, LiveMember>();
  readonly #staticIds = new Map<string, string>();
  /** Ids given to members that have not come back with them. */
  readonly #pending = new Map<string, Timer>();
  #state: GroupState = "Empty";
  #stateTimestampMs: number;
  #generationId = 0;
  #protocolType: string | null = null;
  #protocolName: string | null = null;
  #leaderId: string | null = null;
  #rebalanceTimer: Timer | null = null;
  #syncTimer: Timer | null = null;
  /** In the group's first rebalance: until then more members are waited for; 0 when none are. */
  #holdUntilMs = 0;
  #holdLimitMs = 0;

  constructor(parts: GroupParts) {
    this.#parts = parts;
    this.groupId = parts.groupId;
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
    return [...this.#members.values()];
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
      leaderId: this.#leaderId,
      stateTimestampMs: this.#stateTimestampMs,
      members: this.members,
    };
  }

  /** Takes up where a former broker left off; every member has its session timeout from now on to show itself. */
  restore(snapshot: GroupSnapshot): void {
    this.#protocolType = snapshot.protocolType === "" ? null : snapshot.protocolType;
    this.#protocolName = snapshot.protocolName;
    this.#generationId = snapshot.generationId;
    this.#leaderId = snapshot.leaderId;
    this.#stateTimestampMs = snapshot.stateTimestampMs;
    for (const member of snapshot.members) {
      const live: LiveMember = { ...member, joining: null, syncing: null, isSynced: true, deadlineMs: 0, timer: null };
      this.#members.set(member.memberId, live);
      if (member.groupInstanceId !== null) this.#staticIds.set(member.groupInstanceId, member.memberId);
      this.#keepAlive(live);
    }
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
    const knownId = groupInstanceId === null ? undefined : this.#staticIds.get(groupInstanceId);
    const known = knownId === undefined ? undefined : this.#members.get(knownId);
    if (known !== undefined) return this.#replaceStatic(known, request);
    if (this.#members.size + this.#pending.size >= this.#parts.options.groupMaxSize) {
      return refusedJoin("GROUP_MAX_SIZE_REACHED", "");
    }
    const memberId = this.#parts.newMemberId(groupInstanceId ?? request.clientId);
    if (groupInstanceId !== null || !request.mustKnowMemberId) return this.#add(memberId, request);
    const timer = this.#parts.clock.schedule(request.sessionTimeoutMs, () => this.#dropPending(memberId), BACKGROUND);
    this.#pending.set(memberId, timer);
    return refusedJoin("MEMBER_ID_REQUIRED", memberId);
  }

  #joinAgain(request: JoinRequest): Promise<JoinResult> {
    const { memberId } = request;
    const pending = this.#pending.get(memberId);
    if (pending !== undefined && request.groupInstanceId === null) {
      pending.cancel();
      this.#pending.delete(memberId);
      return this.#add(memberId, request);
    }
    const problem = this.#problemOfClaim(memberId, request.groupInstanceId);
    const member = this.#members.get(memberId);
    if (problem !== null || member === undefined) return refusedJoin(problem ?? "UNKNOWN_MEMBER_ID", memberId);
    const isUnchanged = sameProtocols(member.protocols, request.protocols);
    if (this.#state === "CompletingRebalance" && isUnchanged) {
      // Its answer got lost: it gets the same one again.
      return Promise.resolve(this.#joined(member));
    }
    if (this.#state === "Stable" && isUnchanged && memberId !== this.#leaderId) {
      this.#keepAlive(member);
      return Promise.resolve(this.#joined(member));
    }
    return this.#rejoin(member, request);
  }

  #add(memberId: string, request: JoinRequest): Promise<JoinResult> {
    const member: LiveMember = {
      memberId,
      groupInstanceId: request.groupInstanceId,
      clientId: request.clientId,
      clientHost: request.clientHost,
      sessionTimeoutMs: request.sessionTimeoutMs,
      rebalanceTimeoutMs: request.rebalanceTimeoutMs,
      protocols: request.protocols,
      assignment: EMPTY_ASSIGNMENT,
      joining: null,
      syncing: null,
      isSynced: false,
      deadlineMs: 0,
      timer: null,
    };
    if (this.#members.size === 0) this.#protocolType = request.protocolType;
    this.#members.set(memberId, member);
    if (request.groupInstanceId !== null) this.#staticIds.set(request.groupInstanceId, memberId);
    this.#leaderId ??= memberId;
    if (this.#holdUntilMs > 0) this.#holdLonger();
    return this.#rejoin(member, request);
  }

  #rejoin(member: LiveMember, request: JoinRequest): Promise<JoinResult> {
    member.protocols = request.protocols;
    member.sessionTimeoutMs = request.sessionTimeoutMs;
    member.rebalanceTimeoutMs = request.rebalanceTimeoutMs;
    // A client that asks again on a new connection waits there only; its first wait has nobody to hear the answer.
    member.joining?.resolve(failedJoin("UNKNOWN_MEMBER_ID", member.memberId));
    const joining = createDeferred<JoinResult>();
    member.joining = joining;
    this.#rest(member);
    if (this.#state !== "PreparingRebalance") this.#prepareRebalance(`${member.memberId} joins`);
    this.#completeJoinIfAll();
    return joining.promise;
  }

  /**
   * A static member that restarted: it has a new member id and the place of its old one. If it still wants the same,
   * the others need not know. Source: Kafka, GroupMetadataManager.updateStaticMemberThenRebalanceOrCompleteJoin.
   */
  #replaceStatic(old: LiveMember, request: JoinRequest): Promise<JoinResult> {
    const memberId = this.#parts.newMemberId(request.groupInstanceId ?? request.clientId);
    const formerLeaderId = this.#leaderId;
    old.joining?.resolve(failedJoin("FENCED_INSTANCE_ID", old.memberId));
    old.syncing?.reject(refusal("FENCED_INSTANCE_ID", this.groupId));
    this.#rest(old);
    const member: LiveMember = { ...old, memberId, joining: null, syncing: null, clientHost: request.clientHost };
    // In the same place: the order of members decides who leads next.
    const members = [...this.#members.values()].map((entry) => (entry === old ? member : entry));
    this.#members.clear();
    for (const entry of members) this.#members.set(entry.memberId, entry);
    if (request.groupInstanceId !== null) this.#staticIds.set(request.groupInstanceId, memberId);
    if (this.#leaderId === old.memberId) this.#leaderId = memberId;
    member.protocols = request.protocols;
    if (this.#state !== "Stable" || !this.#isContent(member, old.protocols)) return this.#rejoin(member, request);
    member.sessionTimeoutMs = request.sessionTimeoutMs;
    member.rebalanceTimeoutMs = request.rebalanceTimeoutMs;
    this.#keepAlive(member);
    const isLeader = this.#leaderId === memberId;
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
    if (this.#vote() !== this.#protocolName) return false;
    const [before, after] = [formerProtocols, member.protocols].map(
      (protocols) => protocols.find(({ name }) => name === this.#protocolName)?.metadata,
    );
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
      this.#keepAlive(member);
      member.isSynced = true;
      this.#endSyncIfAll();
      return this.#synced(member);
    }
    member.syncing?.reject(refusal("UNKNOWN_MEMBER_ID", this.groupId));
    const syncing = createDeferred<SyncResult>();
    member.syncing = syncing;
    this.#rest(member);
    if (member.memberId === this.#leaderId) this.#assign(request.assignments);
    return syncing.promise;
  }

  #assign(assignments: SyncRequest["assignments"]): void {
    const given = new Map(assignments.map(({ memberId, assignment }) => [memberId, assignment]));
    // Copied: the bytes of a request live as long as any view of them.
    for (const member of this.#members.values()) {
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
    // Those that have not asked yet get theirs when they do; until then their session timers run.
    for (const member of this.#members.values()) {
      const { syncing } = member;
      if (syncing === null) continue;
      member.syncing = null;
      member.isSynced = true;
      this.#keepAlive(member);
      syncing.resolve(this.#synced(member));
    }
    this.#endSyncIfAll();
  }

  #endSyncIfAll(): void {
    if ([...this.#members.values()].every(({ isSynced }) => isSynced)) this.#cancelSync();
  }

  #cancelSync(): void {
    this.#syncTimer?.cancel();
    this.#syncTimer = null;
  }

  /** Throws KafkaError: REBALANCE_IN_PROGRESS is what tells a member to join again. */
  heartbeat(claim: MemberClaim): void {
    const member = this.#claimed(claim);
    this.#keepAlive(member);
    if (this.#state === "PreparingRebalance") throw refusal("REBALANCE_IN_PROGRESS", this.groupId);
  }

  /** Throws KafkaError. A static member may leave by its instance id alone. */
  leave(memberId: string, groupInstanceId: string | null): void {
    if (this.#pending.has(memberId)) {
      this.#dropPending(memberId);
      return;
    }
    const staticId = groupInstanceId === null ? undefined : this.#staticIds.get(groupInstanceId);
    const leavingId = memberId === "" && staticId !== undefined ? staticId : memberId;
    const problem = this.#problemOfClaim(leavingId, groupInstanceId);
    const member = this.#members.get(leavingId);
    if (problem !== null || member === undefined) throw refusal(problem ?? "UNKNOWN_MEMBER_ID", this.groupId);
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
    this.#keepAlive(member);
  }

  /** The group is deleted, or its coordinator ends: whoever waits is told so. */
  end(): void {
    this.#state = "Dead";
    this.#rebalanceTimer?.cancel();
    this.#syncTimer?.cancel();
    for (const timer of this.#pending.values()) timer.cancel();
    for (const member of this.#members.values()) {
      member.timer?.cancel();
      member.joining?.resolve(failedJoin("COORDINATOR_NOT_AVAILABLE", member.memberId));
      member.syncing?.reject(refusal("COORDINATOR_NOT_AVAILABLE", this.groupId));
      member.joining = null;
      member.syncing = null;
    }
  }

  #prepareRebalance(reason: string): void {
    this.#parts.logger.debug({ group: this.groupId, reason }, "group rebalances");
    for (const member of this.#members.values()) {
      const { syncing } = member;
      if (syncing === null) continue;
      member.syncing = null;
      this.#keepAlive(member);
      syncing.reject(refusal("REBALANCE_IN_PROGRESS", this.groupId));
    }
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
      BACKGROUND,
    );
  }

  /** Another member came while the first ones are held: it may not be the last, but nobody waits for ever. */
  #holdLonger(): void {
    const { clock, options } = this.#parts;
    this.#holdUntilMs = Math.min(clock.nowMs() + options.groupInitialRebalanceDelayMs, this.#holdLimitMs);
    this.#scheduleRebalanceEnd();
  }

  #rebalanceTimeoutMs(): number {
    return Math.max(0, ...[...this.#members.values()].map((member) => member.rebalanceTimeoutMs));
  }

  #hasAllJoined(): boolean {
    return this.#pending.size === 0 && [...this.#members.values()].every((member) => member.joining !== null);
  }

  #completeJoinIfAll(): void {
    if (this.#state === "PreparingRebalance" && this.#holdUntilMs === 0 && this.#hasAllJoined()) this.#completeJoin();
  }

  #completeJoin(): void {
    this.#rebalanceTimer?.cancel();
    this.#rebalanceTimer = null;
    // A static member may be away for a while: its session timer, not this rebalance, decides when it is gone.
    for (const member of [...this.#members.values()]) {
      if (member.joining === null && member.groupInstanceId === null) this.#erase(member);
    }
    const joined = [...this.#members.values()].filter((member) => member.joining !== null);
    if (this.#members.size > 0 && joined.length === 0) {
      this.#scheduleRebalanceEnd();
      return;
    }
    this.#generationId += 1;
    if (this.#members.size === 0) {
      this.#becomeEmpty();
      return;
    }
    const leader = this.#leaderId === null ? undefined : this.#members.get(this.#leaderId);
    if (leader === undefined || leader.joining === null) this.#leaderId = joined[0]?.memberId ?? null;
    this.#protocolName = this.#vote();
    this.#changeState("CompletingRebalance");
    this.#parts.logger.info(
      { group: this.groupId, generation: this.#generationId, members: this.#members.size },
      "group has a new generation",
    );
    const answers = joined.map((member) => ({ member, joining: member.joining, result: this.#joined(member) }));
    for (const { member, joining, result } of answers) {
      member.joining = null;
      member.isSynced = false;
      this.#keepAlive(member);
      joining?.resolve(result);
    }
    this.#syncTimer = this.#parts.clock.schedule(this.#rebalanceTimeoutMs(), () => this.#expireUnsynced(), BACKGROUND);
  }

  /**
   * Members that joined and never asked for their assignment: where one is the leader all others wait for it, and what
   * another was given nobody reads, however well its heartbeats come.
   */
  #expireUnsynced(): void {
    const absent = [...this.#members.values()].filter(({ isSynced, syncing }) => !isSynced && syncing === null);
    if (absent.length === 0) return;
    for (const member of absent) this.#erase(member);
    this.#prepareRebalance("members did not sync");
    this.#completeJoinIfAll();
  }

  #becomeEmpty(): void {
    this.#leaderId = null;
    this.#protocolName = null;
    this.#changeState("Empty");
    this.#parts.persist(this).catch((error) => {
      this.#parts.logger.warn({ group: this.groupId, error }, "could not store that a group is empty");
    });
  }

  #remove(member: LiveMember, reason: string): void {
    this.#parts.logger.debug({ group: this.groupId, member: member.memberId, reason }, "group member is gone");
    this.#erase(member);
    if (this.#state === "Stable" || this.#state === "CompletingRebalance") {
      this.#prepareRebalance(`${member.memberId} ${reason}`);
    }
    this.#completeJoinIfAll();
  }

  #erase(member: LiveMember): void {
    this.#rest(member);
    member.joining?.resolve(failedJoin("UNKNOWN_MEMBER_ID", member.memberId));
    member.syncing?.reject(refusal("UNKNOWN_MEMBER_ID", this.groupId));
    member.joining = null;
    member.syncing = null;
    this.#members.delete(member.memberId);
    if (member.groupInstanceId !== null) this.#staticIds.delete(member.groupInstanceId);
    if (this.#leaderId === member.memberId) this.#leaderId = null;
  }

  #dropPending(memberId: string): void {
    this.#pending.get(memberId)?.cancel();
    this.#pending.delete(memberId);
    this.#completeJoinIfAll();
  }

  /** The member showed itself: its session begins anew. One timer per session timeout, not one per heartbeat. */
  #keepAlive(member: LiveMember): void {
    member.deadlineMs = this.#parts.clock.nowMs() + member.sessionTimeoutMs;
    if (member.timer === null && member.joining === null && member.syncing === null) {
      this.#watch(member, member.sessionTimeoutMs);
    }
  }

  #watch(member: LiveMember, delayMs: number): void {
    member.timer = this.#parts.clock.schedule(
      delayMs,
      () => {
        member.timer = null;
        const lateMs = this.#parts.clock.nowMs() - member.deadlineMs;
        if (lateMs < 0) this.#watch(member, -lateMs);
        // The whole process stood still (a laptop slept): its members could not reach it, so each gets one more session.
        else if (lateMs > member.sessionTimeoutMs / 2) this.#keepAlive(member);
        else this.#remove(member, "said nothing for its session timeout");
      },
      BACKGROUND,
    );
  }

  /** While a member waits for us its session does not run. */
  #rest(member: LiveMember): void {
    member.timer?.cancel();
    member.timer = null;
  }

  #claimed(claim: MemberClaim): LiveMember {
    if (this.#state === "Dead") throw refusal("COORDINATOR_NOT_AVAILABLE", this.groupId);
    const problem = this.#problemOfClaim(claim.memberId, claim.groupInstanceId);
    const member = this.#members.get(claim.memberId);
    if (problem !== null || member === undefined) throw refusal(problem ?? "UNKNOWN_MEMBER_ID", this.groupId);
    if (claim.generationId !== this.#generationId) throw refusal("ILLEGAL_GENERATION", this.groupId);
    return member;
  }

  #problemOfClaim(memberId: string, groupInstanceId: string | null): ErrorCode | null {
    if (groupInstanceId === null) return null;
    const staticId = this.#staticIds.get(groupInstanceId);
    if (staticId === undefined) return "UNKNOWN_MEMBER_ID";
    return staticId === memberId ? null : "FENCED_INSTANCE_ID";
  }

  #supports(protocolType: string, protocols: readonly MemberProtocol[]): boolean {
    if (protocolType === "" || protocols.length === 0) return false;
    if (this.#members.size === 0) return true;
    if (this.#protocolType !== protocolType) return false;
    const common = this.#commonProtocols();
    return protocols.some(({ name }) => common.has(name));
  }

  #commonProtocols(): Set<string> {
    const [first, ...others] = [...this.#members.values()].map(
      (member) => new Set(member.protocols.map(({ name }) => name)),
    );
    return new Set([...(first ?? [])].filter((name) => others.every((names) => names.has(name))));
  }

  /** Each member votes for the first of its protocols that all know. */
  #vote(): string | null {
    const common = this.#commonProtocols();
    const votes = new Map<string, number>();
    for (const member of this.#members.values()) {
      const choice = member.protocols.find(({ name }) => common.has(name));
      if (choice !== undefined) votes.set(choice.name, (votes.get(choice.name) ?? 0) + 1);
    }
    let winner: string | null = null;
    for (const [name, count] of votes) {
      if (winner === null || count > (votes.get(winner) ?? 0)) winner = name;
    }
    return winner;
  }

  #joined(member: LiveMember): JoinResult {
    const isLeader = member.memberId === this.#leaderId;
    return {
      error: null,
      memberId: member.memberId,
      generationId: this.#generationId,
      protocolType: this.#protocolType,
      protocolName: this.#protocolName,
      leaderId: this.#leaderId ?? "",
      skipAssignment: false,
      members: isLeader ? [...this.#members.values()].map((entry) => this.#describeToLeader(entry)) : [],
    };
  }

  #describeToLeader({ memberId, groupInstanceId, protocols }: Member): JoinedMember {
    const chosen = protocols.find(({ name }) => name === this.#protocolName);
    return { memberId, groupInstanceId, metadata: chosen?.metadata ?? EMPTY_ASSIGNMENT };
  }

  #synced(member: LiveMember): SyncResult {
    return { protocolType: this.#protocolType, protocolName: this.#protocolName, assignment: member.assignment };
  }

  #changeState(state: GroupState): void {
    this.#state = state;
    this.#stateTimestampMs = this.#parts.clock.timestampMs();
  }
}

/** A group does not keep the process alive. */
const BACKGROUND = { background: true };

function sameProtocols(a: readonly MemberProtocol[], b: readonly MemberProtocol[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ name, metadata }, index) => {
      const other = b[index];
      return other !== undefined && other.name === name && other.metadata.equals(metadata);
    })
  );
}

function failedJoin(error: ErrorCode, memberId: string): JoinResult {
  return {
    error,
    memberId,
    generationId: -1,
    protocolType: null,
    protocolName: null,
    leaderId: "",
    skipAssignment: false,
    members: [],
  };
}

function refusedJoin(error: ErrorCode, memberId: string): Promise<JoinResult> {
  return Promise.resolve(failedJoin(error, memberId));
}

function refusal(code: ErrorCode, groupId: string): KafkaError {
  return new KafkaError(code, `group ${groupId}: ${code}`);
}
