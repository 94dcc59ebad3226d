/** Topics: list, create, describe, change, delete. */

import type { NewTopic } from "@millrace/client";
import { KafkaError } from "@millrace/protocol";
import type { FastifyReply } from "fastify";
import type { Static } from "typebox";
import { checkTopics } from "./auth/access-guard.ts";
import { mayUseTopic, type Principal } from "./auth/principal.ts";
import type { GatewayContext } from "./context.ts";
import { topicNotFound } from "./errors.ts";
import { Type } from "./json-schema.ts";
import { defineRoute, type Route } from "./route.ts";
import { topicParams } from "./schemas.ts";
import { isUnknownTopic } from "./topic-directory.ts";

const INT32_MAX = 2 ** 31 - 1;

export const newTopicSchema = Type.Object({
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
export type NewTopicBody = Static<typeof newTopicSchema>;

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

/** Resolves once records can be produced to it. */
export async function createTopic(context: GatewayContext, body: NewTopicBody): Promise<Static<typeof topicSchema>> {
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
  await deleteTopic(context, name);
  return { message: "topic deleted successfully", name };
}

/** Rejects with RequestError TOPIC_NOT_FOUND, or as the brokers do. */
export async function deleteTopic(context: GatewayContext, name: string): Promise<void> {
  try {
    await context.admin.deleteTopics([name]);
  } catch (error) {
    throw isUnknownTopic(error) ? topicNotFound(name) : error;
  } finally {
    context.topics.forget(name);
  }
}
