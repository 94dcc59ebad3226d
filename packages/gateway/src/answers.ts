/** What answers have in common. */

import type { FastifyReply, FastifyRequest } from "fastify";

export const PROBLEM_TYPE = "application/problem+json; charset=utf-8";
export const JSON_TYPE = "application/json; charset=utf-8";
export const JSON_HEADERS = { "content-type": JSON_TYPE } as const;
/** Seconds after which a client that was turned away for want of a broker or room may try again. */
export const RETRY_AFTER_S = 1;

/** An answer that can be kept, and sent later once more. */
export interface StoredAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

export function sendAnswer({ status, headers, body }: StoredAnswer, reply: FastifyReply): FastifyReply {
  return reply.code(status).headers(headers).send(body);
}

/** Whether errors are wanted as RFC 9457 has them. */
export function acceptsProblem({ headers }: FastifyRequest): boolean {
  return headers.accept?.toLowerCase().includes("application/problem+json") === true;
}
