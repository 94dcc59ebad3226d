/** All consumer groups: found or made by their id, their committed offsets, and what is forgotten when. */

import { type Clock, type Logger, MINUTE_MS, type Random, type Timer } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import type { ResolvedBrokerOptions } from "../options.ts";
import type { TopicManager } from "../topics/topic-manager.ts";
import { Group, type GroupSnapshot, type GroupState } from "./group.ts";
import { type CommittedOffset, GroupLog, type GroupRecord } from "./group-log.ts";
import type { Member } from "./group-member.ts";
import type { JoinRequest, JoinResult, MemberClaim, SyncRequest, SyncResult } from "./group-requests.ts";
import { CONSUMER_PROTOCOL_TYPE, topicsOfSubscription } from "./subscription.ts";

/** How often groups and offsets that nobody needs any more are looked for; Kafka's offsets.retention.check.interval.ms. */
const EXPIRY_CHECK_MS = 10 * MINUTE_MS;

/** What a group's consumers committed, by topic and partition. */
export type OffsetsByTopic = ReadonlyMap<string, ReadonlyMap<number, CommittedOffset>>;

export interface PartitionCommit {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly leaderEpoch: number;
  readonly metadata: string;
}

export interface GroupListing {
  readonly groupId: string;
  readonly protocolType: string;
  readonly state: GroupState;
}

export interface GroupDescription extends GroupListing {
  readonly protocolName: string;
  readonly members: readonly Member[];
}

interface CoordinatorParts {
  readonly topics: TopicManager;
  readonly options: ResolvedBrokerOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** A group with its offsets: these outlive its members, and a group may consist of offsets alone. */
interface Entry {
  readonly group: Group;
  readonly offsets: Map<string, Map<number, CommittedOffset>>;
}

export class GroupCoordinator {
  readonly #parts: CoordinatorParts;
  readonly #log: GroupLog;
  readonly #groups = new Map<string, Entry>();
  #expiryTimer: Timer | null = null;
  #isClosed = false;

  /** Reads what is written about groups; their members have their session timeouts from now on to show themselves. */
  static async open(parts: CoordinatorParts): Promise<GroupCoordinator> {
    const coordinator = new GroupCoordinator(parts);
    await coordinator.#load();
    coordinator.#watchExpiry();
    return coordinator;
  }

  private constructor(parts: CoordinatorParts) {
    this.#parts = parts;
    this.#log = new GroupLog(parts);
  }

  /** Makes what groups are kept in, so that the first group need not wait for it. */
  async prepare(): Promise<void> {
    await this.#log.ensureTopic();
  }

  /** Resolves once the group's rebalance is through, or at once with the reason why not. */
  join(groupId: string, request: JoinRequest): Promise<JoinResult> {
    const { groupMinSessionTimeoutMs, groupMaxSessionTimeoutMs } = this.#parts.options;
    const { memberId, sessionTimeoutMs } = request;
    this.#checkGroupId(groupId);
    if (sessionTimeoutMs < groupMinSessionTimeoutMs || sessionTimeoutMs > groupMaxSessionTimeoutMs) {
      throw new KafkaError(
        "INVALID_SESSION_TIMEOUT",
        `session timeout is ${sessionTimeoutMs} ms; it must be ${groupMinSessionTimeoutMs} to ${groupMaxSessionTimeoutMs} ms`,
      );
    }
    // A member that has an id from a group that is not there was in a group that is forgotten: it begins again.
    const entry = this.#groups.get(groupId) ?? (memberId === "" ? this.#make(groupId) : undefined);
    if (entry === undefined) throw unknownMember(groupId);
    return entry.group.join(request);
  }

  /** Rejects with KafkaError. */
  async sync(groupId: string, request: SyncRequest): Promise<SyncResult> {
    return this.#known(groupId).group.sync(request);
  }

  /** Throws KafkaError. */
  heartbeat(groupId: string, claim: MemberClaim): void {
    this.#known(groupId).group.heartbeat(claim);
  }

  /** Throws KafkaError. */
  leave(groupId: string, memberId: string, groupInstanceId: string | null): void {
    this.#known(groupId).group.leave(memberId, groupInstanceId);
  }

  /** Resolves once the offsets are on disk. Rejects with KafkaError; then none was committed. */
  async commit(groupId: string, claim: MemberClaim, commits: readonly PartitionCommit[]): Promise<void> {
    this.#checkGroupId(groupId);
    const entry = this.#groups.get(groupId) ?? (claim.generationId < 0 ? this.#make(groupId) : undefined);
    if (entry === undefined) throw new KafkaError("ILLEGAL_GENERATION", `there is no group ${groupId}`);
    entry.group.checkCommit(claim);
    const commitTimestampMs = this.#parts.clock.timestampMs();
    const records = commits.map(({ topic, partition, offset, leaderEpoch, metadata }) => ({
      kind: "offset" as const,
      groupId,
      topic,
      partition,
      committed: { offset, leaderEpoch, metadata, commitTimestampMs },
    }));
    await this.#store(records);
    // A topic that was deleted in the meantime is not to be met again by way of its name.
    const gone = records.filter(({ topic }) => this.#parts.topics.get(topic) === undefined);
    try {
      await this.#store(gone.map(({ topic, partition }) => forgottenOffset(groupId, topic, partition)));
    } catch (error) {
      // The commit itself is on disk.
      this.#parts.logger.warn({ group: groupId, error }, "could not forget offsets of deleted topics");
    }
  }

  /** Empty for a group that never committed. */
  offsets(groupId: string): OffsetsByTopic {
    return this.#groups.get(groupId)?.offsets ?? new Map();
  }

  list(): GroupListing[] {
    return [...this.#groups.values()].map(({ group }) => listingOf(group));
  }

  /** Null for a group that is not there. */
  describe(groupId: string): GroupDescription | null {
    const group = this.#groups.get(groupId)?.group;
    if (group === undefined) return null;
    // While its members agree on anew, what the last time was chosen is nobody's business (as in Kafka).
    const protocolName = group.state === "Stable" ? (group.protocolName ?? "") : "";
    return { ...listingOf(group), protocolName, members: group.members };
  }

  /** Whether members read the topic now, as they told each other; true where nobody can tell. */
  isSubscribed(groupId: string, topic: string): boolean {
    const subscribed = subscribedTopics(this.#groups.get(groupId)?.group.members ?? []);
    return subscribed === null || subscribed.has(topic);
  }

  /** Rejects with GROUP_ID_NOT_FOUND or NON_EMPTY_GROUP. */
  async delete(groupId: string): Promise<void> {
    const entry = this.#groups.get(groupId);
    if (entry === undefined) throw new KafkaError("GROUP_ID_NOT_FOUND", `there is no group ${groupId}`);
    if (!entry.group.isVacant) throw new KafkaError("NON_EMPTY_GROUP", `group ${groupId} has members`);
    await this.#forget(groupId, entry);
  }

  /** Forgets offsets of a group. Rejects with GROUP_ID_NOT_FOUND; with NON_EMPTY_GROUP if its members are no consumers. */
  async deleteOffsets(
    groupId: string,
    partitions: readonly { readonly topic: string; readonly partition: number }[],
  ): Promise<void> {
    const group = this.#groups.get(groupId)?.group;
    if (group === undefined) throw new KafkaError("GROUP_ID_NOT_FOUND", `there is no group ${groupId}`);
    if (group.members.length > 0 && group.protocolType !== CONSUMER_PROTOCOL_TYPE) {
      throw new KafkaError("NON_EMPTY_GROUP", `group ${groupId} has members of type ${group.protocolType}`);
    }
    await this.#store(partitions.map(({ topic, partition }) => forgottenOffset(groupId, topic, partition)));
  }

  /** A topic is gone: what was committed for it must not meet a new one of its name. */
  async forgetTopic(topic: string): Promise<void> {
    const records: GroupRecord[] = [];
    for (const [groupId, { offsets }] of this.#groups) {
      for (const partition of offsets.get(topic)?.keys() ?? []) {
        records.push(forgottenOffset(groupId, topic, partition));
      }
    }
    await this.#store(records);
  }

  /** Tells all who wait that this coordinator ends. May be called twice. */
  close(): void {
    this.#isClosed = true;
    this.#expiryTimer?.cancel();
    for (const { group } of this.#groups.values()) group.end();
  }

  async #load(): Promise<void> {
    const snapshots = new Map<string, GroupSnapshot>();
    for await (const record of this.#log.read()) {
      if (record.kind === "offset") {
        if (record.committed !== null || this.#groups.has(record.groupId)) this.#apply(record);
      } else if (record.snapshot === null) snapshots.delete(record.groupId);
      else snapshots.set(record.groupId, record.snapshot);
    }
    for (const [groupId, snapshot] of snapshots) {
      const { group } = this.#groups.get(groupId) ?? this.#make(groupId);
      group.restore(snapshot);
    }
    for (const [groupId, { group, offsets }] of this.#groups) {
      if (group.isVacant && offsets.size === 0 && !snapshots.has(groupId)) this.#groups.delete(groupId);
    }
  }

  async #store(records: readonly GroupRecord[]): Promise<void> {
    await this.#log.append(records);
    for (const record of records) this.#apply(record);
  }

  #apply(record: GroupRecord): void {
    if (record.kind === "group") return;
    const { groupId, topic, partition, committed } = record;
    const { offsets } = this.#groups.get(groupId) ?? this.#make(groupId);
    const ofTopic = offsets.get(topic) ?? new Map<number, CommittedOffset>();
    if (committed === null) ofTopic.delete(partition);
    else ofTopic.set(partition, committed);
    if (ofTopic.size > 0) offsets.set(topic, ofTopic);
    else offsets.delete(topic);
  }

  #make(groupId: string, offsets: Entry["offsets"] = new Map()): Entry {
    const { clock, logger, options, random } = this.#parts;
    const group = new Group({
      groupId,
      clock,
      logger,
      options,
      persist: (changed) => this.#log.append([{ kind: "group", groupId, snapshot: changed.snapshot() }]),
      newMemberId: (prefix) => `${prefix}-${random.bytes(16).toString("hex")}`,
    });
    const entry: Entry = { group, offsets };
    this.#groups.set(groupId, entry);
    return entry;
  }

  #known(groupId: string): Entry {
    this.#checkGroupId(groupId);
    const entry = this.#groups.get(groupId);
    if (entry === undefined) throw unknownMember(groupId);
    return entry;
  }

  #checkGroupId(groupId: string): void {
    if (groupId === "") throw new KafkaError("INVALID_GROUP_ID", "the group id is empty");
    if (this.#isClosed) throw new KafkaError("COORDINATOR_NOT_AVAILABLE", "the broker closes");
  }

  #watchExpiry(): void {
    const next = () => {
      if (!this.#isClosed) this.#watchExpiry();
    };
    this.#expiryTimer = this.#parts.clock.schedule(
      EXPIRY_CHECK_MS,
      () => {
        this.#expire().then(next, (error) => {
          this.#parts.logger.warn({ error }, "could not forget old groups");
          next();
        });
      },
      { background: true },
    );
  }

  async #expire(): Promise<void> {
    const oldestMs = this.#parts.clock.timestampMs() - this.#parts.options.offsetsRetentionMs;
    for (const [groupId, entry] of [...this.#groups]) {
      const { group, offsets } = entry;
      // Made for a member that never came back with its id.
      if (group.isUnused && offsets.size === 0) this.#groups.delete(groupId);
      await this.#store(expiredOffsets(groupId, entry, oldestMs));
      const isOver = group.isVacant && !group.isUnused && group.stateTimestampMs <= oldestMs;
      if (isOver && offsets.size === 0) await this.#forget(groupId, entry);
    }
  }

  async #forget(groupId: string, { group, offsets }: Entry): Promise<void> {
    const records: GroupRecord[] = [{ kind: "group", groupId, snapshot: null }];
    for (const [topic, partitions] of offsets) {
      for (const partition of partitions.keys()) records.push(forgottenOffset(groupId, topic, partition));
    }
    const snapshot = group.snapshot();
    group.end();
    this.#groups.delete(groupId);
    try {
      await this.#log.append(records);
    } catch (error) {
      // The disk still knows it: it stays, to be forgotten another time, unless members have made it anew.
      if (!this.#groups.has(groupId) && !this.#isClosed) {
        const again = this.#make(groupId, offsets);
        if (!group.isUnused) again.group.restore(snapshot);
      }
      throw error;
    }
  }
}

/**
 * What a group's consumers committed and nobody will ask for: when the last member is gone for as long as offsets are
 * kept; of a consumer without a group, or of topics that a group has turned away from, when the commit is as old.
 * Source: Kafka, GroupMetadata.removeExpiredOffsets; KIP-211.
 */
function expiredOffsets(groupId: string, { group, offsets }: Entry, oldestMs: number): GroupRecord[] {
  const isEmpty = group.isVacant && group.stateTimestampMs <= oldestMs;
  const isReading = group.state === "Stable" && group.protocolType === CONSUMER_PROTOCOL_TYPE;
  const subscribed = isReading ? subscribedTopics(group.members) : null;
  const isUnread = (topic: string) => isEmpty || group.isUnused || (subscribed !== null && !subscribed.has(topic));
  const expired: GroupRecord[] = [];
  for (const [topic, partitions] of offsets) {
    if (!isUnread(topic)) continue;
    for (const [partition, { commitTimestampMs }] of partitions) {
      if (commitTimestampMs <= oldestMs) expired.push(forgottenOffset(groupId, topic, partition));
    }
  }
  return expired;
}

/** All that the members read; null if one of them does not say. */
function subscribedTopics(members: readonly Member[]): Set<string> | null {
  const topics = new Set<string>();
  for (const { metadata } of members.flatMap(({ protocols }) => protocols)) {
    const subscribed = topicsOfSubscription(metadata);
    if (subscribed === null) return null;
    for (const topic of subscribed) topics.add(topic);
  }
  return topics;
}

function listingOf(group: Group): GroupListing {
  return { groupId: group.groupId, protocolType: group.protocolType ?? "", state: group.state };
}

function forgottenOffset(groupId: string, topic: string, partition: number): GroupRecord {
  return { kind: "offset", groupId, topic, partition, committed: null };
}

function unknownMember(groupId: string): KafkaError {
  return new KafkaError("UNKNOWN_MEMBER_ID", `there is no group ${groupId}`);
}
