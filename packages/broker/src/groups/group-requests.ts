/** What members ask of their group, and what they are told. */

import { type ErrorCode, KafkaError } from "@millrace/protocol";

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

/** A join that failed still tells the member id: MEMBER_ID_REQUIRED gives a new one. */
export function failedJoin(error: ErrorCode, memberId: string): JoinResult {
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

export function refusal(code: ErrorCode, groupId: string): KafkaError {
  return new KafkaError(code, `group ${groupId}: ${code}`);
}
