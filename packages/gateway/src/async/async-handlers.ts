/** What became of async requests, over HTTP: one's status, the list of them, and forgetting one. */

import type { FastifyReply, FastifyRequest } from "fastify";
import { JSON_TYPE, RETRY_AFTER_S, type StoredAnswer, sendAnswer } from "../answers.ts";
import type { GatewayContext } from "../context.ts";
import { RequestError } from "../errors.ts";
import { Type } from "../json-schema.ts";
import { defineRoute, type Route } from "../route.ts";
import { choiceOf, numberOf, positiveOf } from "../schemas.ts";
import { type AsyncRequest, asyncStates } from "./async-request.ts";
import type { AsyncRequests } from "./async-requests.ts";
import { offsetsJson } from "./request-result.ts";

/** Longest that a status request waits, whatever it asks for: proxies give up on connections that stay silent. */
const WAIT_LIMIT_MS = 60_000;
const LIST_DEFAULT = 100;
const LIST_LIMIT = 1_000;

const requestParams = Type.Object({ requestId: Type.String({ description: "As the 202 gave it." }) });

const statusProperties = {
  requestId: Type.String(),
  status: choiceOf(asyncStates, "completed, partial, failed and timeout are final."),
  topic: Type.String(),
  submittedAt: Type.String({ description: "ISO 8601, as all times here." }),
  updatedAt: Type.String(),
  expiresAt: Type.String({ description: "When a final request is forgotten." }),
  progress: Type.Object({
    total: Type.Integer({ description: "Records of the request." }),
    done: Type.Integer({ description: "Those that have their fate, good or bad." }),
    failed: Type.Integer({ description: "Those of them that failed." }),
  }),
  error: Type.Optional(Type.String({ description: "Why no record was stored, for people." })),
  code: Type.Optional(Type.String({ description: "Why, for programs: stable." })),
};
const summarySchema = Type.Object(statusProperties);
const statusSchema = Type.Object({
  ...statusProperties,
  offsets: Type.Optional(
    Type.Array(Type.Unknown(), { description: "Of a final request: as the synchronous answer has them." }),
  ),
});
export const acceptedSchema = Type.Object({ requestId: Type.String(), status: Type.Literal("pending") });

export function asyncRoutes(context: GatewayContext): Route[] {
  const { asyncRequests } = context;
  const notFound = { 404: { description: "There is no such request, it has expired, or it is not yours." } };
  return [
    defineRoute({
      method: "GET",
      path: "/api/produce/status/{requestId}",
      params: requestParams,
      query: Type.Object({
        wait: Type.Optional(
          numberOf(`Milliseconds to wait for the request's end before answering, at most ${WAIT_LIMIT_MS}.`),
        ),
      }),
      docs: {
        tag: "Produce",
        summary: "What became of an async request",
        answers: {
          200: { description: "How far it is, with offsets once it is final.", schema: statusSchema },
          ...notFound,
        },
      },
      handle: async ({ params, query, request, reply }) => {
        const found = find(asyncRequests, params.requestId, request.principal.id);
        if (query.wait !== undefined) {
          const limitMs = Math.min(WAIT_LIMIT_MS, context.options.unreadTimeoutMs);
          await asyncRequests.waitForEnd(found, Math.min(Number(query.wait), limitMs));
        }
        return sendStatus(context, found, request, reply);
      },
    }),
    defineRoute({
      method: "DELETE",
      path: "/api/produce/status/{requestId}",
      params: requestParams,
      docs: {
        tag: "Produce",
        summary: "Forget an async request",
        answers: {
          204: { description: "It is forgotten. Its records stay where they are." },
          409: { description: "It is not final yet." },
          ...notFound,
        },
      },
      handle: async ({ params, request, reply }) => {
        const found = find(asyncRequests, params.requestId, request.principal.id);
        if (!found.isFinal) {
          throw new RequestError(
            "REQUEST_IN_PROGRESS",
            `${found.id} was accepted and will be finished; it is not final yet`,
          );
        }
        await asyncRequests.forget(found);
        return reply.code(204).send();
      },
    }),
    defineRoute({
      method: "GET",
      path: "/api/produce/requests",
      query: Type.Object({
        status: Type.Optional(choiceOf(asyncStates, "Only those in this state.")),
        topic: Type.Optional(Type.String({ description: "Only those of this topic." })),
        limit: Type.Optional(
          positiveOf(`Most requests in the answer, at most ${LIST_LIMIT}. Default: ${LIST_DEFAULT}.`),
        ),
      }),
      docs: {
        tag: "Produce",
        summary: "Your async requests, newest first",
        answers: { 200: { description: "Those that have not expired.", schema: Type.Array(summarySchema) } },
      },
      handle: ({ query, request }) => {
        const { status, topic, limit = LIST_DEFAULT } = query;
        const isListed = (listed: AsyncRequest) =>
          (status === undefined || asyncRequests.stateOf(listed) === status) &&
          (topic === undefined || listed.topic === topic);
        return asyncRequests
          .list(request.principal.id, isListed, Math.min(Number(limit), LIST_LIMIT))
          .map((listed) => summary(asyncRequests, listed));
      },
    }),
  ];
}

/** The answer to a request that is on disk now. */
export function acceptedAnswer(requestId: string): StoredAnswer {
  const location = `/api/produce/status/${requestId}`;
  const headers = { location, "retry-after": String(RETRY_AFTER_S), "content-type": JSON_TYPE };
  return { status: 202, headers, body: JSON.stringify({ requestId, status: "pending" }) };
}

export function sendAccepted({ id }: AsyncRequest, reply: FastifyReply): FastifyReply {
  return sendAnswer(acceptedAnswer(id), reply);
}

function find(asyncRequests: AsyncRequests, id: string, ownerId: string): AsyncRequest {
  const found = asyncRequests.find(id, ownerId);
  if (found === undefined) throw new RequestError("REQUEST_NOT_FOUND", "request not found"); // the document's own words
  return found;
}

async function sendStatus(
  { asyncRequests, reads, intake }: GatewayContext,
  found: AsyncRequest,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  if (!found.isFinal) return reply.header("retry-after", RETRY_AFTER_S).send(summary(asyncRequests, found));
  const offsets = await reads.take(async () => offsetsJson(await asyncRequests.result(found), found.recordCount));
  // Held until it is read.
  intake.resize(intake.shareOf(request.raw), offsets.length);
  const json = JSON.stringify(summary(asyncRequests, found));
  return reply.header("content-type", JSON_TYPE).send(`${json.slice(0, -1)},"offsets":${offsets}}`);
}

function summary(asyncRequests: AsyncRequests, request: AsyncRequest) {
  const { id, topic, submittedAtMs, updatedAtMs, recordCount, outcomes, failure } = request;
  const done = outcomes === null ? request.doneCount : recordCount - outcomes.pendingCount;
  return {
    requestId: id,
    status: asyncRequests.stateOf(request),
    topic,
    submittedAt: isoTime(submittedAtMs),
    updatedAt: isoTime(updatedAtMs),
    expiresAt: isoTime(asyncRequests.expiresAtMs(request)),
    progress: { total: recordCount, done, failed: outcomes?.failedCount ?? request.failedCount },
    ...(failure === null ? {} : { error: failure.message, code: failure.code }),
  };
}

function isoTime(timestampMs: number): string {
  return new Date(timestampMs).toISOString();
}
