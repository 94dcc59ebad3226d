/** The HTTP Producer API: records in, where each landed out. */

import { KafkaError } from "@millrace/protocol";
import type { FastifyReply, FastifyRequest } from "fastify";
import { JSON_TYPE, RETRY_AFTER_S } from "./answers.ts";
import { acceptedSchema, sendAccepted } from "./async/async-handlers.ts";
import type { GatewayContext } from "./context.ts";
import { RequestError, topicNotFound } from "./errors.ts";
import { inflateBody } from "./inflate.ts";
import { Type } from "./json-schema.ts";
import { BodyStream } from "./limits/body-stream.ts";
import type { GatewayOptions } from "./options.ts";
import {
  isLinesBody,
  isRawBody,
  type ProduceRequest,
  readProduceRequest,
  readRecords,
  SHORT_LINES_BYTES,
} from "./produce-request.ts";
import { produceAnswer } from "./produce-response.ts";
import { type ProduceQuery, type ProduceSettings, produceQuery, readProduceSettings } from "./produce-settings.ts";
import { ProduceStream } from "./produce-stream.ts";
import { ProducerContext, type ProducerContextParts } from "./producer-context.ts";
import { defineRoute, type Route } from "./route.ts";
import type { ScannedRecords } from "./scanned-records.ts";
import { topicParams } from "./schemas.ts";
import { isUnknownTopic, type TopicDirectory } from "./topic-directory.ts";
import { noTrace, traceOf } from "./trace-headers.ts";

export function produceRoutes(context: GatewayContext): Route[] {
  return [
    defineRoute({
      method: "POST",
      path: "/api/topics/{topic}/produce",
      params: topicParams,
      query: produceQuery,
      isRawBody: true,
      docs: {
        tag: "Produce",
        summary: "Produce records",
        description:
          "Stores the records and answers where each landed, in their order. A record that fails for its own content does not keep the others from being stored.",
        rawTypes: [
          { type: "application/x-ndjson", description: "A record object, as in records, on each line." },
          { type: "application/octet-stream", description: "The value of one record." },
          { type: "text/plain", description: "The value of one record." },
        ],
        bodyExample: { records: [{ key: "user-1", value: { amount: 12.5 } }] },
        answers: {
          200: {
            description: "At least one record was stored, or each failed for its own content.",
            schema: produceResult,
            example: { offsets: [{ partition: 0, offset: 42, timestamp: 1_767_225_600_000 }] },
          },
          202: {
            description: "With async=true: the request is on disk and will be finished. Location tells where to ask.",
            schema: acceptedSchema,
            example: { requestId: "req_qS9vJ0Zf1mXkT3c7aWbL4g", status: "pending" },
          },
          207: { description: "With status=strict: some records failed.", schema: produceResult },
          404: { description: "There is no such topic." },
          422: { description: "With status=strict: all records failed for their content.", schema: produceResult },
          429: { description: "With async=true: too many async requests are kept." },
          503: {
            description: "None was stored: no broker can be reached, or the buffer is full.",
            schema: produceResult,
          },
          504: { description: "None was acknowledged in time.", schema: produceResult },
        },
      },
      handle: ({ params, query, request, reply }) => handleProduceBatch(context, params.topic, query, request, reply),
    }),
  ];
}

const produceResult = Type.Object({
  topic: Type.Optional(Type.String()),
  succeeded: Type.Optional(Type.Integer({ description: "Given when a record failed, or with details=true." })),
  failed: Type.Optional(Type.Integer()),
  offsets: Type.Array(
    Type.Object({
      partition: Type.Integer({ description: "-1 for a failed record that named none." }),
      offset: Type.Integer({ description: "-1 for a failed record." }),
      timestamp: Type.Optional(Type.Integer({ description: "Milliseconds since 1970, as stored." })),
      id: Type.Optional(Type.Union([Type.String(), Type.Integer()], { description: "As the record gave it." })),
      index: Type.Optional(Type.Integer()),
      error: Type.Optional(Type.String({ description: "Why the record failed, for people." })),
      code: Type.Optional(Type.String({ description: "Why, for programs: stable." })),
      retriable: Type.Optional(Type.Boolean({ description: "The same record may work later." })),
      persisted: Type.Optional(
        Type.String({ enum: ["no", "maybe"], description: "Whether it may be in the log all the same." }),
      ),
      serializedKeySize: Type.Optional(Type.Integer({ description: "Bytes; -1 for null." })),
      serializedValueSize: Type.Optional(Type.Integer({ description: "Bytes; -1 for null." })),
    }),
  ),
});

async function handleProduceBatch(
  context: GatewayContext,
  topic: string,
  query: ProduceQuery,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { options, topics, intake } = context;
  const settings = readProduceSettings(query);
  // Before the body is looked at, as the document has it.
  const partitionCount = topics.known(topic) ?? (await findTopic(topics, topic, settings));
  const receivedAtMs = options.clock.timestampMs();
  const trace = options.traceHeaders ? traceOf(request.raw.rawHeaders) : noTrace;
  const body = await readBody(request, query, settings, options.inflatedLimitBytes);
  // What a body became is held beside what came.
  if (Buffer.isBuffer(body) && body !== request.body) intake.receive(intake.shareOf(request.raw), body.length);
  if (!Buffer.isBuffer(body)) {
    const producer = createProducerContext(context, topic, settings, partitionCount, { receivedAtMs, trace });
    return produceStream(context, topic, settings, producer, request).answer(body, reply);
  }
  const produce = readProduceRequest(topic, query, request, body, { receivedAtMs, hasTrace: trace.length > 0 });
  const records = readRecords(produce, options.recordLimit);
  if (!settings.isAsync) {
    const producer = createProducerContext(context, topic, settings, partitionCount, { receivedAtMs, trace });
    return produceNow(context, produce, settings, producer, records, reply);
  }
  if (settings.timeoutMs !== null && settings.timeoutMs > options.asyncTimeoutLimitMs) throw tooLong(options);
  return sendAccepted(await context.asyncRequests.accept(produce, request.principal.id, records), reply);
}

/** The body; or, where it is longer than it needs to be held, what it consists of. */
async function readBody(
  request: FastifyRequest,
  query: ProduceQuery,
  settings: ProduceSettings,
  limitBytes: number,
): Promise<Buffer | AsyncGenerator<Buffer>> {
  const { body, mediaType } = request;
  const encoding = request.headers["content-encoding"];
  const isWhole = settings.isAsync || settings.isAtomic || isRawBody(query, mediaType) || !isLinesBody(mediaType);
  if (body instanceof BodyStream)
    return isWhole ? body.readWhole(encoding) : readLines(body, encoding, settings.isEach);
  const whole = await inflateBody(body, encoding, limitBytes);
  return settings.isEach && !isWhole ? inPieces([whole]) : whole;
}

/** A body that turns out to be short is answered as the envelope is. */
async function readLines(
  body: BodyStream,
  encoding: string | undefined,
  isEach: boolean,
): Promise<Buffer | AsyncGenerator<Buffer>> {
  const chunks = body.chunks(encoding);
  if (isEach) return chunks;
  const first: Buffer[] = [];
  for (let sizeBytes = 0; sizeBytes <= SHORT_LINES_BYTES; sizeBytes += first.at(-1)?.length ?? 0) {
    const next = await chunks.next();
    if (next.done === true) return Buffer.concat(first);
    first.push(next.value);
  }
  return inPieces(first, chunks);
}

async function* inPieces(first: readonly Buffer[], rest?: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  yield* first;
  if (rest !== undefined) yield* rest;
}

function produceStream(
  { options, intake, metrics }: GatewayContext,
  topic: string,
  settings: ProduceSettings,
  producer: ProducerContext,
  request: FastifyRequest,
): ProduceStream {
  const { body } = request;
  return new ProduceStream({
    topic,
    settings,
    context: producer,
    intake,
    requestId: request.id,
    lineLimitBytes: options.bodyLimitBytes,
    schedule: (delayMs, callback) => options.clock.schedule(delayMs, callback, { background: true }),
    onRecords: (storedCount, failedCount) => metrics.recordsAnswered(topic, storedCount, failedCount),
    onBreakOff: () => {
      if (body instanceof BodyStream) body.abandon();
    },
  });
}

function createProducerContext(
  { options, producers }: GatewayContext,
  topic: string,
  settings: ProduceSettings,
  partitionCount: number,
  { receivedAtMs, trace }: Pick<ProducerContextParts, "receivedAtMs" | "trace">,
): ProducerContext {
  return new ProducerContext({
    topic,
    partitionCount,
    settings,
    producer: producers.withAcks(settings.acks),
    partitioner: producers.partitioner(settings.partitioner),
    clock: options.clock,
    receivedAtMs,
    trace,
  });
}

/** While no broker tells, an async request is taken without knowing its topic: that is what it is for. */
async function findTopic(topics: TopicDirectory, topic: string, settings: ProduceSettings): Promise<number> {
  try {
    return await topics.find(topic);
  } catch (error) {
    if (settings.isAsync && error instanceof KafkaError && error.retriable) return 0;
    throw error;
  }
}

async function produceNow(
  context: GatewayContext,
  { topic, body }: ProduceRequest,
  settings: ProduceSettings,
  producer: ProducerContext,
  records: ScannedRecords,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { topics, metrics } = context;
  const outcomes = await producer.produceRecords(body, records);
  const answer = produceAnswer(topic, settings, records, outcomes);
  const unknownCount = countOf(outcomes.failures(), isUnknownTopic);
  if (unknownCount > 0) {
    // It was deleted since we last heard of it.
    topics.forget(topic);
    if (unknownCount === records.length) throw topicNotFound(topic);
  }
  metrics.recordsAnswered(topic, outcomes.storedCount, outcomes.failedCount);
  if (answer.isRetriable) reply.header("retry-after", RETRY_AFTER_S);
  return reply.code(answer.status).header("content-type", JSON_TYPE).send(answer.body);
}

function tooLong({ asyncTimeoutLimitMs }: GatewayOptions): RequestError {
  const message = `must be at most ${asyncTimeoutLimitMs} with async`;
  return new RequestError("INVALID_PARAMETER", `timeout_ms ${message}`, {
    details: [{ field: "timeout_ms", message }],
  });
}

function countOf<T>(items: Iterable<T>, isCounted: (item: T) => boolean): number {
  let count = 0;
  for (const item of items) if (isCounted(item)) count += 1;
  return count;
}
