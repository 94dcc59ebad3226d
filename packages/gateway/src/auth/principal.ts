/** Principal: who sends a request, and what that may do. */

export const scopes = ["produce", "read", "admin"] as const;
/** produce: records in. read: records and topics out. admin: everything, topics and keys included. */
export type Scope = (typeof scopes)[number];

export interface Principal {
  /** Of the API key, or User: and the certificate's subject: what it is known by in logs and in what it owns. */
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Beginnings of the topics that it may use; without any, all topics. */
  readonly topicPrefixes: readonly string[];
}

/** Everybody who shows neither key nor certificate, where none is asked for. */
export const ANYBODY: Principal = { id: "anybody", name: "anybody", scopes, topicPrefixes: [] };

/** Whether it has one of the scopes; admin has all. */
export function hasScope(principal: Principal, anyOf: readonly Scope[]): boolean {
  return principal.scopes.some((scope) => scope === "admin" || anyOf.includes(scope));
}

export function mayUseTopic(principal: Principal, topic: string): boolean {
  return principal.topicPrefixes.length === 0 || principal.topicPrefixes.some((prefix) => topic.startsWith(prefix));
}

declare module "fastify" {
  interface FastifyRequest {
    /** Set before any handler runs. */
    principal: Principal;
  }
}
