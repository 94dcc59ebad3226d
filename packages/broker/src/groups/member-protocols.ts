/** Which way of assigning partitions a group's members agree on. */

import type { Member } from "./group-member.ts";
import type { MemberProtocol } from "./group-requests.ts";

/** Each member votes for the first of its protocols that all know; of two with as many votes the one first voted for wins. */
export function voteForProtocol(members: Iterable<Member>): string | null {
  const common = commonProtocols(members);
  const votes = new Map<string, number>();
  for (const { protocols } of members) {
    const choice = protocols.find(({ name }) => common.has(name));
    if (choice !== undefined) votes.set(choice.name, (votes.get(choice.name) ?? 0) + 1);
  }
  let winner: string | null = null;
  for (const [name, count] of votes) {
    if (winner === null || count > (votes.get(winner) ?? 0)) winner = name;
  }
  return winner;
}

/** The names that every member knows. */
export function commonProtocols(members: Iterable<Member>): Set<string> {
  const [first, ...others] = [...members].map(({ protocols }) => new Set(protocols.map(({ name }) => name)));
  return new Set([...(first ?? [])].filter((name) => others.every((names) => names.has(name))));
}

/** What a member told with one of its protocols. */
export function metadataOf(protocols: readonly MemberProtocol[], name: string | null): Buffer | undefined {
  return protocols.find((protocol) => protocol.name === name)?.metadata;
}

export function areSameProtocols(a: readonly MemberProtocol[], b: readonly MemberProtocol[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ name, metadata }, index) => {
      const other = b[index];
      return other !== undefined && other.name === name && other.metadata.equals(metadata);
    })
  );
}
