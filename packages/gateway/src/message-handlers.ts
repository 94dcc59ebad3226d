/** Messages: the simple way to put one record in, and to look at what a topic holds and what comes. */

import { Readable } from "node:stream";
import { type Clock, SECOND_MS } from "@millrace/base";
import type { ConsumedRecord } from "@millrace/client";
import { KafkaError } from "@millrace/protocol";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { JSON_TYPE } from "./answers.ts";
import type { GatewayContext } from "./context.ts";
import { errorAnswer, RequestError } from "./errors.ts";
import { Type } from "./json-schema.ts";
import { messageJson, type ReadFormats, readFormats } from "./message-json.ts";
import { followMessages, newestOf, readMessages } from "./message-reader.ts";
import {
  findRanges,
  formatPosition,
  type PositionQuery,
  parsePosition,
  positionQuery,
  readStart,
  type StartPosition,
} from "./positions.ts";
import { defineRoute, type Route } from "./route.ts";
import { choiceOf, positiveOf, topicParams } from "./schemas.ts";

const DEFAULT_LIMIT = 100;
/** JSON that is written in one go. */
const PIECE_LENGTH = 256 * 1024;
/** Between two signs of life of a tail that has nothing to tell; proxies cut what is silent for a minute. */
const HEARTBEAT_MS = 15 * SECOND_MS;
/** Asked of a client that was cut off. */
const RECONNECT_MS = SECOND_MS;
const LONE_SURROGATE = /\p{Surrogate}/u;

const formatQuery = {
  format: Type.Optional(
    choiceOf(
      readFormats,
      "How keys and values are shown: as strings; as base64; where they are JSON, as that; or, where they are in Confluent's wire format, Avro with a schema of the registry or JSON with any, as JSON. Default: string.",
    ),
  ),
  "key.format": Type.Optional(choiceOf(readFormats, "For keys alone.")),
  "value.format": Type.Optional(choiceOf(readFormats, "For values alone.")),
};

const tailCount = Type.Optional(positiveOf("Begin with the newest messages, this many over all partitions."));

const messageQuery = Type.Object({
  ...positionQuery,
  tail: tailCount,
  limit: Type.Optional(positiveOf(`Most messages. Default: ${DEFAULT_LIMIT}.`)),
  ...formatQuery,
});

const tailQuery = Type.Object({ ...positionQuery, tail: tailCount, ...formatQuery });

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
  keySchemaId: Type.Optional(
    Type.Integer({ description: "With format=avro and jsonschema: of the schema it was written with." }),
  ),
  valueSchemaId: Type.Optional(Type.Integer()),
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
        summary: "Read messages",
        description:
          "Of one partition in the order of their offsets; of all in that of their time, as far as each partition's own order lets it. The header Millrace-Position tells where to go on.",
        answers: {
          200: {
            description: "[] where there are none.",
            schema: Type.Array(messageSchema),
            example: [{ partition: 0, offset: 42, key: "user-1", value: "paid", timestamp: 1_767_225_600_000 }],
          },
          404: { description: "There is no such topic or partition." },
        },
      },
      handle: ({ params, query, request, reply }) =>
        context.reads.take(() => handleGetMessages(context, params.topic, query, request, reply)),
    }),
    defineRoute({
      method: "GET",
      path: "/api/topics/{topic}/tail",
      params: topicParams,
      query: tailQuery,
      docs: {
        tag: "Messages",
        summary: "Follow a topic",
        description:
          "Server-sent events: a message each, from the end of the topic on unless told otherwise. The id of an event is the position behind it: a client that comes back with it as Last-Event-ID, as browsers do by themselves, misses nothing and gets nothing twice.",
        answers: {
          200: { description: "The events, for as long as they are listened to.", type: "text/event-stream" },
          404: { description: "There is no such topic or partition." },
        },
        requestHeaders: { "Last-Event-ID": "The id of the last event that was seen: the stream goes on behind it." },
      },
      handle: ({ params, query, request, reply }) => handleTail(context, params.topic, query, request, reply),
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
  checkText("key", key);
  checkText("value", value);
  const record = { topic, key, value, ...(partition === undefined ? {} : { partition }) };
  const metadata = await producers.withAcks("all").send(record);
  const json = `{"partition":${metadata.partition},"offset":${metadata.offset}}`;
  return reply.code(201).header("content-type", JSON_TYPE).send(json);
}

function checkText(field: string, text: string | null): void {
  if (text === null || !LONE_SURROGATE.test(text)) return;
  const message = "has a lone surrogate, which UTF-8 cannot say";
  throw new RequestError("INVALID_BODY", `invalid request body: ${field} ${message}`, {
    details: [{ field, message }],
  });
}

async function handleGetMessages(
  context: GatewayContext,
  topic: string,
  query: Static<typeof messageQuery>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { options, intake } = context;
  const limit = Math.min(Number(query.tail ?? query.limit ?? DEFAULT_LIMIT), options.messagesLimit);
  const start = startOf(query, limit, { kind: "offset", offset: 0n });
  const ranges = await rangesOf(context, topic, query, start);
  const { records, position } = await readMessages(options, topic, ranges, { limit, isTail: start.kind === "tail" });
  const formats = formatsOf(query);
  const decode = await context.schemas.decoderFor(records, formats);
  const json = await messagesJson(options.clock, records, (record) => messageJson(record, formats, decode));
  // Held until it is read.
  intake.resize(intake.shareOf(request.raw), json.length);
  return reply.header("millrace-position", formatPosition(position)).header("content-type", JSON_TYPE).send(json);
}

/** The records as one array; others get their turn in between. */
async function messagesJson(
  clock: Clock,
  records: readonly ConsumedRecord[],
  jsonOf: (record: ConsumedRecord) => string,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let text = "[";
  for (const [index, record] of records.entries()) {
    text += index === 0 ? jsonOf(record) : `,${jsonOf(record)}`;
    if (text.length < PIECE_LENGTH) continue;
    pieces.push(Buffer.from(text));
    text = "";
    await new Promise<void>((resolve) => clock.defer(resolve));
  }
  pieces.push(Buffer.from(`${text}]`));
  return Buffer.concat(pieces);
}

async function handleTail(
  context: GatewayContext,
  topic: string,
  query: Static<typeof tailQuery>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { options, tails, intake } = context;
  const lastEventId = request.headers["last-event-id"];
  const recordCount = Math.min(Number(query.tail ?? 0), options.messagesLimit);
  const start: StartPosition =
    typeof lastEventId === "string" && lastEventId !== ""
      ? { kind: "position", offsets: parsePosition("last-event-id", lastEventId) }
      : startOf(query, recordCount, { kind: "tail", recordCount: 0 });
  const found = await rangesOf(context, topic, query, start);
  const isAmongMany = start.kind === "tail" && start.recordCount > 0 && found.length > 1;
  const ranges = isAmongMany
    ? await context.reads.take(() => newestOf(options, topic, found, start.recordCount))
    : found;
  const controller = tails.begin();
  reply.raw.once("close", () => tails.end(controller));
  const { signal } = controller;
  const evict = () => {
    options.logger.info(
      { requestId: request.id, topic },
      "a tail that nobody read was ended, as others needed the room",
    );
    reply.raw.destroy();
  };
  const follower = followMessages(options, topic, ranges, {
    signal,
    quietMs: HEARTBEAT_MS,
    catchUps: tails.catchUps,
    intake,
    evict,
  });
  const position = new Map(ranges.map((range) => [range.partition, range.start]));
  const formats = formatsOf(query);

  async function* events(): AsyncGenerator<string, void, undefined> {
    yield `retry: ${RECONNECT_MS}\nid: ${formatPosition(position)}\n\n`;
    try {
      for await (const records of follower.pieces()) {
        if (records === null) yield ": nothing new\n\n";
        else {
          const decode = await context.schemas.decoderFor(records, formats);
          for (const record of records) {
            position.set(record.partition, record.offset + 1n);
            yield `id: ${formatPosition(position)}\ndata: ${messageJson(record, formats, decode)}\n\n`;
          }
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      const { body } = errorAnswer(error, request.id);
      options.logger.warn({ requestId: request.id, topic, reason: String(error) }, "a tail ended with an error");
      yield `event: error\ndata: ${JSON.stringify(body)}\n\n`;
    }
  }
  reply.header("content-type", "text/event-stream; charset=utf-8").header("cache-control", "no-store");
  // nginx would hold events back until its buffer is full.
  reply.header("x-accel-buffering", "no");
  return reply.send(Readable.from(events(), { objectMode: false }));
}

function startOf(query: Static<typeof tailQuery>, recordCount: number, otherwise: StartPosition): StartPosition {
  if (query.tail === undefined) return readStart(query, otherwise);
  const other = (["offset", "time", "position"] as const).find((name) => query[name] !== undefined);
  if (other === undefined) return { kind: "tail", recordCount };
  const message = `goes not with ${other}`;
  throw new RequestError("INVALID_PARAMETER", `tail ${message}`, { details: [{ field: "tail", message }] });
}

async function rangesOf({ topics, admin }: GatewayContext, topic: string, query: PositionQuery, start: StartPosition) {
  const partitionCount = topics.known(topic) ?? (await topics.find(topic));
  const partition = query.partition === undefined ? null : Number(query.partition);
  return findRanges(admin, { topic, partition, partitionCount }, start);
}

function formatsOf(query: Static<typeof tailQuery>): ReadFormats {
  const { format = "string" } = query;
  return { key: query["key.format"] ?? format, value: query["value.format"] ?? format };
}
