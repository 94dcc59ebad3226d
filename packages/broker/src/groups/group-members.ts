/** Who is in a group: its members by their id and by their instance id, and which of them leads. */

import type { ErrorCode } from "@millrace/protocol";
import type { GroupMember } from "./group-member.ts";

/** In the order in which they came: it decides who leads next. */
export class GroupMembers implements Iterable<GroupMember> {
  /** Null only while nobody is in, or until the rebalance that finds a new one. */
  leaderId: string | null = null;
  #byId = new Map<string, GroupMember>();
  readonly #idsByInstance = new Map<string, string>();

  get size(): number {
    return this.#byId.size;
  }

  [Symbol.iterator](): Iterator<GroupMember> {
    return this.#byId.values();
  }

  get(memberId: string): GroupMember | undefined {
    return this.#byId.get(memberId);
  }

  /** The static member that holds the place of an instance. */
  ofInstance(groupInstanceId: string | null): GroupMember | undefined {
    const memberId = groupInstanceId === null ? undefined : this.#idsByInstance.get(groupInstanceId);
    return memberId === undefined ? undefined : this.#byId.get(memberId);
  }

  /** The member that claims to be it, or why that cannot be: another one has taken an instance's place (KIP-345). */
  identify(memberId: string, groupInstanceId: string | null): GroupMember | ErrorCode {
    if (groupInstanceId !== null) {
      const current = this.ofInstance(groupInstanceId);
      if (current !== undefined && current.memberId !== memberId) return "FENCED_INSTANCE_ID";
      if (current === undefined) return "UNKNOWN_MEMBER_ID";
    }
    return this.#byId.get(memberId) ?? "UNKNOWN_MEMBER_ID";
  }

  /** The first one leads. */
  add(member: GroupMember): void {
    this.#byId.set(member.memberId, member);
    if (member.groupInstanceId !== null) this.#idsByInstance.set(member.groupInstanceId, member.memberId);
    this.leaderId ??= member.memberId;
  }

  /** A static member has come back under a new id: it takes its own place, and leads if it did. */
  replace(former: GroupMember, member: GroupMember): void {
    const members = [...this].map((entry) => (entry === former ? member : entry));
    this.#byId = new Map(members.map((entry) => [entry.memberId, entry]));
    if (member.groupInstanceId !== null) this.#idsByInstance.set(member.groupInstanceId, member.memberId);
    if (this.leaderId === former.memberId) this.leaderId = member.memberId;
  }

  remove(member: GroupMember): void {
    this.#byId.delete(member.memberId);
    if (member.groupInstanceId !== null) this.#idsByInstance.delete(member.groupInstanceId);
    if (this.leaderId === member.memberId) this.leaderId = null;
  }

  /** The leader leads on if it has joined again; else the first that has. */
  chooseLeader(): void {
    const leader = this.leaderId === null ? undefined : this.#byId.get(this.leaderId);
    if (leader?.isJoining) return;
    const [first] = [...this].filter((member) => member.isJoining);
    this.leaderId = first?.memberId ?? null;
  }
}
