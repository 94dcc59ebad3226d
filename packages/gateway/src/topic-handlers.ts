/** Topics: list, create, describe, delete; one at a time or several as one. */

import type { NewTopic } from "@millrace/client";
import { errorByCode, isErrorCode, KafkaError } from "@millrace/protocol";
import type { FastifyReply } from "fastify";
import type { Static } from "typebox";
import { checkTopics } from "./auth/access-guard.ts";
import { mayUseTopic, type Principal } from "./auth/principal.ts";
import type { GatewayContext } from "./context.ts";
import { RequestError, topicNotFound } from "./errors.ts";
import { Type } from "./json-schema.ts";
import { defineRoute, type Route } from "./route.ts";
import { topicParams } from "./schemas.ts";
import { isUnknownTopic } from "./topic-directory.ts";

/** Topics in one batch; each is a request to the cluster. */
const BATCH_LIMIT = 1_000;

const INT32_MAX = 2 ** 31 - 1;

const newTopicSchema = Type.Object({
  name: Type.String({ minLength: 1 }),
  partitions: Type.Optional(
    Type.Integer({ minimum: 1, maximum: INT32_MAX, description: "The broker's default if it is left out." }),
  ),
  replicationFactor: Type.Optional(Type.Integer({ minimum: 1, maximum: 32_767 })),
  config: Type.Optional(
    Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean()]), {
      description: 'Kafka\'s topic options: {"retention.ms": 60000}.',
    }),
  ),
});
type NewTopicBody = Static<typeof newTopicSchema>;

const topicSchema = Type.Object({
  name: Type.String(),
  partitions: Type.Integer({ description: "How many there are." }),
});

const alterTopicSchema = Type.Object({
  partitions: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: INT32_MAX,
      description: "More than there are; keys move to other partitions by it.",
    }),
  ),
  config: Type.Optional(
    Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]), {
      description: "What is to change; null puts an option back to the broker's default.",
    }),
  ),
});

const topicDetailSchema = Type.Object({
  name: Type.String(),
  partitions: Type.Integer({ description: "How many there are." }),
  topicId: Type.String(),
  sizeBytes: Type.Union([Type.Integer(), Type.Null()], {
    description: "On the leaders' disks; null where the brokers do not tell.",
  }),
  config: Type.Record(Type.String(), Type.Union([Type.String(), Type.Null()]), {
    description: "What was set for this topic; the rest is as the broker has it.",
  }),
  partitionDetails: Type.Array(
    Type.Object({
      partition: Type.Integer(),
      leader: Type.Integer({ description: "Node id; -1 if there is none now." }),
      replicas: Type.Array(Type.Integer()),
      isr: Type.Array(Type.Integer()),
      earliestOffset: Type.Integer(),
      latestOffset: Type.Integer({ description: "Of the next record." }),
      sizeBytes: Type.Union([Type.Integer(), Type.Null()]),
    }),
  ),
});

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

export function topicRoutes(context: GatewayContext): Route[] {
  return [
    defineRoute({
      method: "GET",
      path: "/api/topics",
      docs: {
        tag: "Topics",
        summary: "List topics",
        answers: {
          200: {
            description: "All topics that the key may use, but Kafka's internal ones, by name.",
            schema: Type.Array(topicSchema),
            example: [{ name: "orders", partitions: 6 }],
          },
        },
      },
      handle: ({ request }) => handleListTopics(context, request.principal),
    }),
    defineRoute({
      method: "POST",
      path: "/api/topics",
      body: newTopicSchema,
      docs: {
        tag: "Topics",
        summary: "Create a topic",
        bodyExample: { name: "orders", partitions: 6 },
        answers: {
          201: {
            description: "It is there: records can be produced to it.",
            schema: topicSchema,
            example: { name: "orders", partitions: 6 },
          },
          409: { description: "There is a topic of that name." },
        },
      },
      handle: ({ body, request, reply }) => {
        checkTopics(request.principal, [body.name]);
        return handleCreateTopic(context, body, reply);
      },
    }),
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
    defineRoute({
      method: "GET",
      path: "/api/topics/{topic}",
      params: topicParams,
      docs: {
        tag: "Topics",
        summary: "Describe a topic",
        answers: {
          200: { description: "Its partitions and where each begins and ends.", schema: topicDetailSchema },
          404: { description: "There is no such topic." },
        },
      },
      handle: ({ params }) => handleGetTopic(context, params.topic),
    }),
    ...(["PATCH", "PUT"] as const).map((method) =>
      defineRoute({
        method,
        path: "/api/topics/{topic}",
        params: topicParams,
        body: alterTopicSchema,
        docs: {
          tag: "Topics",
          summary: "Change a topic's settings, or give it more partitions",
          description: "What is not named stays as it is, with PUT too.",
          bodyExample: { config: { "retention.ms": 86_400_000 } },
          answers: {
            200: { description: "The topic as it is now.", schema: topicDetailSchema },
            404: { description: "There is no such topic." },
          },
        },
        handle: ({ params, body }) => handleAlterTopic(context, params.topic, body),
      }),
    ),
    defineRoute({
      method: "DELETE",
      path: "/api/topics/{topic}",
      params: topicParams,
      docs: {
        tag: "Topics",
        summary: "Delete a topic and all its records",
        answers: {
          200: {
            description: "It is gone.",
            schema: Type.Object({ message: Type.String(), name: Type.String() }),
            example: { message: "topic deleted successfully", name: "orders" },
          },
          404: { description: "There is no such topic." },
        },
      },
      handle: ({ params }) => handleDeleteTopic(context, params.topic),
    }),
  ];
}

async function handleListTopics(context: GatewayContext, principal: Principal): Promise<Static<typeof topicSchema>[]> {
  const topics = await context.admin.listTopics();
  const visible = topics.filter(({ name }) => mayUseTopic(principal, name));
  return visible.map(({ name, partitions }) => ({ name, partitions: partitions.length }));
}

async function handleCreateTopic(context: GatewayContext, body: NewTopicBody, reply: FastifyReply) {
  return reply.code(201).send(await createTopic(context, body));
}

async function createTopic(context: GatewayContext, body: NewTopicBody): Promise<Static<typeof topicSchema>> {
  const { admin, topics } = context;
  await admin.createTopics([newTopic(body)]);
  topics.forget(body.name);
  return { name: body.name, partitions: await topics.find(body.name) };
}

function newTopic(body: NewTopicBody): NewTopic {
  const { name, partitions, replicationFactor, config } = body;
  const texts = Object.entries(config ?? {}).map(([option, value]) => [option, String(value)]);
  return { name, partitions, replicationFactor, config: Object.fromEntries(texts) };
}

async function handleGetTopic(context: GatewayContext, name: string): Promise<Static<typeof topicDetailSchema>> {
  const { admin } = context;
  const { topicId, partitions } = await describeTopic(context, name);
  const [earliest, latest, sizes, entries] = await Promise.all([
    admin.listOffsets(name, "earliest"),
    admin.listOffsets(name, "latest"),
    whereSupported(admin.describeLogSizes(name)),
    whereSupported(admin.describeConfigs({ type: "topic", name })),
  ]);
  const own = (entries ?? []).filter(({ source }) => source === "topic");
  return {
    name,
    partitions: partitions.length,
    topicId,
    sizeBytes: sizes === null ? null : [...sizes.values()].reduce((sum, sizeBytes) => sum + Number(sizeBytes), 0),
    config: Object.fromEntries(own.map(({ name: option, value }) => [option, value])),
    partitionDetails: partitions.map(({ partition, leaderId, replicas, isr }) => ({
      partition,
      leader: leaderId,
      replicas: [...replicas],
      isr: [...isr],
      earliestOffset: Number(earliest.get(partition)?.offset ?? -1n),
      latestOffset: Number(latest.get(partition)?.offset ?? -1n),
      sizeBytes: sizes === null ? null : Number(sizes.get(partition) ?? 0n),
    })),
  };
}

/** Null where the brokers lack the API or the right to it: the rest of the answer is worth having. */
async function whereSupported<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    const isDenied = error instanceof KafkaError && deniedCodes.has(error.code);
    if (isDenied) return null;
    throw error;
  }
}

const deniedCodes: ReadonlySet<string> = new Set([
  "UNSUPPORTED_VERSION",
  "CLUSTER_AUTHORIZATION_FAILED",
  "TOPIC_AUTHORIZATION_FAILED",
]);

async function handleAlterTopic(context: GatewayContext, name: string, body: Static<typeof alterTopicSchema>) {
  const { admin, topics } = context;
  const { partitions, config = {} } = body;
  const { partitions: present } = await describeTopic(context, name);
  // Before anything is changed: a request is done whole or not at all, as far as that can be seen beforehand.
  if (partitions !== undefined && partitions < present.length) {
    const message = `${name} has ${present.length} partitions, of which none can be taken away`;
    throw new KafkaError("INVALID_PARTITIONS", message, { retriable: false });
  }
  const changes = Object.entries(config).map(([option, value]) => [option, value === null ? null : String(value)]);
  if (changes.length > 0) await admin.alterConfigs({ type: "topic", name }, Object.fromEntries(changes));
  if (partitions !== undefined && partitions > present.length) await admin.createPartitions(name, partitions);
  topics.forget(name);
  return handleGetTopic(context, name);
}

async function describeTopic(context: GatewayContext, name: string) {
  try {
    return await context.admin.describeTopic(name);
  } catch (error) {
    throw isUnknownTopic(error) ? topicNotFound(name) : error;
  }
}

async function handleDeleteTopic(context: GatewayContext, name: string): Promise<{ message: string; name: string }> {
  try {
    await context.admin.deleteTopics([name]);
  } catch (error) {
    throw isUnknownTopic(error) ? topicNotFound(name) : error;
  } finally {
    context.topics.forget(name);
  }
  return { message: "topic deleted successfully", name };
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
      await handleDeleteTopic(context, name);
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
