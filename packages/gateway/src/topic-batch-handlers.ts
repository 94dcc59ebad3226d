/** Several topics created or deleted by one request: none of them, where one is seen beforehand not to go. */

import { errorByCode, isErrorCode, KafkaError } from "@millrace/protocol";
import type { FastifyReply } from "fastify";
import { checkTopics } from "./auth/access-guard.ts";
import type { GatewayContext } from "./context.ts";
import { RequestError } from "./errors.ts";
import { Type } from "./json-schema.ts";
import { defineRoute, type Route } from "./route.ts";
import { createTopic, deleteTopic, type NewTopicBody, newTopicSchema } from "./topic-handlers.ts";

/** Topics in one batch; each is a request to the cluster. */
const BATCH_LIMIT = 1_000;

const batchResultSchema = Type.Object({
  totalRequested: Type.Integer(),
  successful: Type.Integer(),
  failed: Type.Integer(),
  results: Type.Array(
    Type.Object({
      resource: Type.String(),
      success: Type.Boolean(),
      partitions: Type.Optional(Type.Integer()),
      error: Type.Optional(Type.String()),
      code: Type.Optional(Type.String()),
    }),
  ),
  errors: Type.Array(Type.String()),
});

export function topicBatchRoutes(context: GatewayContext): Route[] {
  return [
    defineRoute({
      method: "POST",
      path: "/api/topics/batch",
      body: Type.Object({ topics: Type.Array(newTopicSchema, { minItems: 1, maxItems: BATCH_LIMIT }) }),
      docs: {
        tag: "Topics",
        summary: "Create several topics, or none",
        description:
          "If one is there already, none is created; if one fails, those created before it are deleted again.",
        bodyExample: { topics: [{ name: "orders", partitions: 6 }, { name: "payments" }] },
        answers: {
          200: { description: "They are there.", schema: batchResultSchema },
          400: { description: "None was created.", schema: batchResultSchema },
        },
      },
      handle: ({ body, request, reply }) => {
        checkTopics(
          request.principal,
          body.topics.map(({ name }) => name),
        );
        return handleBatchCreateTopics(context, body.topics, reply);
      },
    }),
    defineRoute({
      method: "DELETE",
      path: "/api/topics/batch",
      body: Type.Object({ topics: Type.Array(Type.String({ minLength: 1 }), { minItems: 1, maxItems: BATCH_LIMIT }) }),
      docs: {
        tag: "Topics",
        summary: "Delete several topics",
        description: "If one is not there, none is deleted.",
        bodyExample: { topics: ["orders", "payments"] },
        answers: {
          200: { description: "At least one was deleted.", schema: batchResultSchema },
          400: { description: "None was deleted.", schema: batchResultSchema },
        },
      },
      handle: ({ body, request, reply }) => {
        checkTopics(request.principal, body.topics);
        return handleBatchDeleteTopics(context, body.topics, reply);
      },
    }),
  ];
}

interface TopicResult {
  readonly resource: string;
  readonly success: boolean;
  readonly partitions?: number;
  readonly error?: string;
  readonly code?: string;
}

async function handleBatchCreateTopics(context: GatewayContext, asked: readonly NewTopicBody[], reply: FastifyReply) {
  const names = asked.map(({ name }) => name);
  checkDistinct(names);
  const existing = await existingTopics(context);
  const taken = names.filter((name) => existing.has(name));
  if (taken.length > 0) {
    return sendBatchResult(
      reply,
      names.length,
      taken.map((name) => failedResult(name, "topic already exists", "TOPIC_ALREADY_EXISTS")),
    );
  }
  const results: TopicResult[] = [];
  for (const body of asked) {
    try {
      const { partitions } = await createTopic(context, body);
      results.push({ resource: body.name, success: true, partitions });
    } catch (error) {
      const created = results.map(({ resource }) => resource);
      await rollBack(context, created);
      const undone = created.map((name) =>
        failedResult(name, "deleted again: the batch failed", "OPERATION_NOT_ATTEMPTED"),
      );
      return sendBatchResult(reply, names.length, [...undone, resultOfError(body.name, error)]);
    }
  }
  return sendBatchResult(reply, names.length, results);
}

async function rollBack(context: GatewayContext, created: readonly string[]): Promise<void> {
  if (created.length === 0) return;
  try {
    await context.admin.deleteTopics(created);
  } catch (error) {
    context.options.logger.error(
      { topics: created, reason: String(error) },
      "topics of a failed batch could not be deleted",
    );
  } finally {
    for (const name of created) context.topics.forget(name);
  }
}

async function handleBatchDeleteTopics(context: GatewayContext, names: readonly string[], reply: FastifyReply) {
  checkDistinct(names);
  const existing = await existingTopics(context);
  const missing = names.filter((name) => !existing.has(name));
  if (missing.length > 0) {
    return sendBatchResult(
      reply,
      names.length,
      missing.map((name) => failedResult(name, "topic not found", "TOPIC_NOT_FOUND")),
    );
  }
  const results: TopicResult[] = [];
  for (const name of names) {
    try {
      await deleteTopic(context, name);
      results.push({ resource: name, success: true });
    } catch (error) {
      results.push(resultOfError(name, error));
    }
  }
  return sendBatchResult(reply, names.length, results);
}

async function existingTopics(context: GatewayContext): Promise<ReadonlySet<string>> {
  const topics = await context.admin.listTopics({ includeInternal: true });
  return new Set(topics.map(({ name }) => name));
}

function checkDistinct(names: readonly string[]): void {
  const seen = new Set<string>();
  for (const [index, name] of names.entries()) {
    if (seen.has(name)) {
      const message = `duplicate topic name in request: ${name}`;
      throw new RequestError("INVALID_BODY", message, { details: [{ index, field: "topics", message }] });
    }
    seen.add(name);
  }
}

function resultOfError(name: string, error: unknown): TopicResult {
  if (error instanceof RequestError || error instanceof KafkaError)
    return failedResult(name, error.message, error.code);
  throw error;
}

function failedResult(resource: string, error: string, code: string): TopicResult {
  return { resource, success: false, error, code };
}

/** 200 if anything was done; else 400, or what the cluster's state says. */
function sendBatchResult(reply: FastifyReply, totalRequested: number, results: readonly TopicResult[]): FastifyReply {
  const successful = results.filter(({ success }) => success).length;
  const failures = results.filter(({ success }) => !success);
  const errors = failures.map(({ resource, error }) => `topic '${resource}': ${error}`);
  const body = { totalRequested, successful, failed: failures.length, results, errors };
  return reply.code(successful > 0 || failures.length === 0 ? 200 : failureStatus(failures)).send(body);
}

function failureStatus(failures: readonly TopicResult[]): number {
  for (const { code } of failures) {
    const status = code === undefined || !isErrorCode(code) ? 400 : errorByCode(code).httpStatus;
    if (status >= 500) return status;
  }
  return 400;
}
