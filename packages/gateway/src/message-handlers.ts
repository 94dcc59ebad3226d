/** Messages: the simple way to put one record in, and to look at what a partition holds. */

import { type ConsumedRecord, Reader } from "@millrace/client";
import { KafkaError } from "@millrace/protocol";
import type { FastifyReply } from "fastify";
import { type Static, Type } from "typebox";
import { JSON_TYPE } from "./answers.ts";
import type { GatewayContext } from "./context.ts";
import { messageJson, readFormats } from "./message-json.ts";
import { defineRoute, type Route } from "./route.ts";
import { choiceOf, numberOf, positiveOf, topicParams } from "./schemas.ts";

const DEFAULT_LIMIT = 100;
/** A read of the log's end is not meant to wait for more. */
const READ_WAIT_MS = 100;

const messageQuery = Type.Object({
  partition: Type.Optional(numberOf("Default: 0.")),
  offset: Type.Optional(numberOf("Of the first message, or the first that is still there. Default: 0.")),
  limit: Type.Optional(positiveOf(`Most messages. Default: ${DEFAULT_LIMIT}.`)),
  format: Type.Optional(
    choiceOf(
      readFormats,
      "How keys and values are shown: as strings; as base64; or, where they are JSON, as that. Default: string.",
    ),
  ),
});

const messageBody = Type.Object({
  partition: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, description: "By the key if left out." })),
  key: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  value: Type.Optional(Type.Union([Type.String(), Type.Null()])),
});

const messageSchema = Type.Object({
  partition: Type.Integer(),
  offset: Type.Integer(),
  key: Type.Unknown({ description: "null, a string, or with format=json what it is." }),
  value: Type.Unknown(),
  timestamp: Type.Integer({ description: "Milliseconds since 1970." }),
  keyEncoding: Type.Optional(Type.String({ description: '"base64" where the bytes are not UTF-8.' })),
  valueEncoding: Type.Optional(Type.String()),
  headers: Type.Optional(
    Type.Array(
      Type.Object({
        key: Type.String(),
        value: Type.Union([Type.String(), Type.Null()]),
        encoding: Type.Optional(Type.String()),
      }),
    ),
  ),
});

export function messageRoutes(context: GatewayContext): Route[] {
  return [
    defineRoute({
      method: "GET",
      path: "/api/topics/{topic}/messages",
      params: topicParams,
      query: messageQuery,
      docs: {
        tag: "Messages",
        summary: "Read messages of a partition",
        answers: {
          200: {
            description: "In the order of their offsets; [] where there are none.",
            schema: Type.Array(messageSchema),
            example: [{ partition: 0, offset: 42, key: "user-1", value: "paid", timestamp: 1_767_225_600_000 }],
          },
          404: { description: "There is no such topic or partition." },
        },
      },
      handle: ({ params, query, reply }) => handleGetMessages(context, params.topic, query, reply),
    }),
    defineRoute({
      method: "POST",
      path: "/api/topics/{topic}/messages",
      params: topicParams,
      body: messageBody,
      docs: {
        tag: "Messages",
        summary: "Produce one message of text",
        bodyExample: { key: "user-1", value: "paid" },
        answers: {
          201: {
            description: "It is stored.",
            schema: Type.Object({ partition: Type.Integer(), offset: Type.Integer() }),
            example: { partition: 0, offset: 42 },
          },
          404: { description: "There is no such topic." },
        },
      },
      handle: ({ params, body, reply }) => handleProduceMessage(context, params.topic, body, reply),
    }),
  ];
}

async function handleProduceMessage(
  context: GatewayContext,
  topic: string,
  body: Static<typeof messageBody>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { topics, producers } = context;
  const partitionCount = topics.known(topic) ?? (await topics.find(topic));
  const { partition, key = null, value = null } = body;
  if (partition !== undefined && partition >= partitionCount) {
    throw new KafkaError("INVALID_PARTITIONS", `there is no partition ${partition}; ${topic} has ${partitionCount}`);
  }
  const record = { topic, key, value, ...(partition === undefined ? {} : { partition }) };
  const metadata = await producers.withAcks("all").send(record);
  const json = `{"partition":${metadata.partition},"offset":${metadata.offset}}`;
  return reply.code(201).header("content-type", JSON_TYPE).send(json);
}

async function handleGetMessages(
  context: GatewayContext,
  topic: string,
  query: Static<typeof messageQuery>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { topics, options } = context;
  const partition = Number(query.partition ?? 0);
  const limit = Math.min(Number(query.limit ?? DEFAULT_LIMIT), options.messagesLimit);
  const partitionCount = topics.known(topic) ?? (await topics.find(topic));
  if (partition >= partitionCount) {
    const message = `there is no partition ${partition}; ${topic} has ${partitionCount}`;
    throw new KafkaError("UNKNOWN_TOPIC_OR_PARTITION", message, { retriable: false });
  }
  const records = await readMessages(context, { topic, partition }, BigInt(query.offset ?? 0), limit);
  const format = query.format ?? "string";
  const json = `[${records.map((record) => messageJson(record, format)).join(",")}]`;
  return reply.header("content-type", JSON_TYPE).send(json);
}

/** Up to limit records from the offset on, or from the first that is still there, as far as the log goes now. */
async function readMessages(
  context: GatewayContext,
  where: { readonly topic: string; readonly partition: number },
  offset: bigint,
  limit: number,
): Promise<ConsumedRecord[]> {
  const { admin, options } = context;
  const { topic, partition } = where;
  const [earliest, latest] = await Promise.all([
    admin.listOffsets(topic, "earliest"),
    admin.listOffsets(topic, "latest"),
  ]);
  const startOffset = earliest.get(partition)?.offset ?? 0n;
  const endOffset = latest.get(partition)?.offset ?? 0n;
  const from = offset < startOffset ? startOffset : offset;
  if (from >= endOffset || limit === 0) return [];
  const { bootstrapServers, clientId, network, clock, random, logger } = options;
  const seams = { network, clock, random, logger };
  const reader = new Reader({ bootstrapServers, clientId, topic, partition, from, maxWaitMs: READ_WAIT_MS, ...seams });
  try {
    return await readUntil(reader, endOffset, limit, options.messagesLimitBytes);
  } finally {
    await reader.close();
  }
}

async function readUntil(
  reader: Reader,
  endOffset: bigint,
  limit: number,
  limitBytes: number,
): Promise<ConsumedRecord[]> {
  const records: ConsumedRecord[] = [];
  let sizeBytes = 0;
  for (;;) {
    const read = await reader.read();
    for (const record of read) {
      sizeBytes += (record.key?.length ?? 0) + (record.value?.length ?? 0);
      const isFull = records.length >= limit || (records.length > 0 && sizeBytes > limitBytes);
      if (isFull || record.offset >= endOffset) return records;
      records.push(record);
    }
    if (read.length === 0 || (reader.position ?? endOffset) >= endOffset) return records;
  }
}
