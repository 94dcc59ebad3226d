/** The HTTP Producer API: records in, where each landed out. */

import { assert } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import type { FastifyReply, FastifyRequest } from "fastify";
import {
  acceptsProblem,
  JSON_HEADERS,
  JSON_TYPE,
  PROBLEM_TYPE,
  RETRY_AFTER_S,
  type StoredAnswer,
  sendAnswer,
} from "./answers.ts";
import { acceptedSchema, sendAccepted } from "./async/async-handlers.ts";
import type { GatewayContext } from "./context.ts";
import { asProblem, RequestError, topicNotFound } from "./errors.ts";
import { formats, noCodecs, type PartCodecs } from "./formats.ts";
import { idempotencyKeyOf, produceOnce } from "./idempotency/idempotent-produce.ts";
import { inflateBody } from "./inflate.ts";
import { Type } from "./json-schema.ts";
import { BodyStream } from "./limits/body-stream.ts";
import type { Intake } from "./limits/intake.ts";
import type { GatewayOptions } from "./options.ts";
import { isLinesBody, isRawBody, readProduceRequest, readRecords, SHORT_LINES_BYTES } from "./produce-request.ts";
import { causeOf, type ProduceAnswer, produceAnswer } from "./produce-response.ts";
import { type ProduceQuery, type ProduceSettings, produceQuery, readProduceSettings } from "./produce-settings.ts";
import { ProduceStream } from "./produce-stream.ts";
import { ProducerContext, type ProducerContextParts } from "./producer-context.ts";
import type { RecordOutcomes } from "./record-outcomes.ts";
import type { Schemas } from "./registry/schemas.ts";
import { defineRoute, type Route } from "./route.ts";
import type { ScannedRecords } from "./scanned-records.ts";
import { choiceOf, topicParams } from "./schemas.ts";
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
        bodySchema: produceBody,
        requestHeaders: {
          "Idempotency-Key": `The same request sent again with the same key, of 1 to 255 printable ASCII characters, is answered as the first time and not done again.`,
          "Kafka-Key": "The key of a raw body's record.",
          "Kafka-Header-*": "A header of a raw body's record: Kafka-Header-Trace is its header Trace.",
          "Content-Encoding": "gzip, deflate, br or zstd.",
        },
        answers: {
          200: {
            description: "At least one record was stored, or each failed for its own content.",
            schema: produceResult,
            example: { offsets: [{ partition: 0, offset: 42, timestamp: 1_767_225_600_000 }] },
          },
          202: {
            description: "With async=true: the request is on disk and will be finished.",
            headers: {
              Location: "Where to ask what became of it.",
              "Retry-After": "Seconds until asking makes sense.",
            },
            schema: acceptedSchema,
            example: { requestId: "req_qS9vJ0Zf1mXkT3c7aWbL4g", status: "pending" },
          },
          207: { description: "With status=strict: some records failed.", schema: produceResult },
          404: { description: "There is no such topic." },
          409: { description: "The first request with this Idempotency-Key is under way, or in doubt." },
          413: { description: "The body or its number of records is too large; with status=strict, each record is." },
          415: { description: "The body's Content-Encoding is not known." },
          422: {
            description:
              "With status=strict: all records failed for their content. Else: atomic is not possible, or the Idempotency-Key was used for another request.",
          },
          429: { description: "The key sends more than it may; or with async=true: too many requests are kept." },
          503: { description: "None was stored: no broker can be reached, or the buffer is full." },
          504: { description: "None was acknowledged in time." },
        },
      },
      async judgeHead({ params, query }) {
        await findTopic(context.topics, params.topic, readProduceSettings(query));
      },
      handle: ({ params, query, request, reply }) => handleProduceBatch(context, params.topic, query, request, reply),
    }),
  ];
}

const part = (what: string) => Type.Optional(Type.Unknown({ description: what }));
const formatOf = (what: string) =>
  Type.Optional(choiceOf(formats, `How ${what} becomes bytes, where it differs from the request's.`));

const produceBody = Type.Object({
  records: Type.Array(
    Type.Object({
      key: part("Anything that its format takes. null or left out: no key."),
      value: part("Likewise. null or left out: no value, which deletes the key's records where logs are compacted."),
      partition: Type.Optional(
        Type.Union([Type.Integer(), Type.Null()], { description: "Where it goes; else the partitioner chooses." }),
      ),
      timestamp: Type.Optional(
        Type.Union([Type.Integer(), Type.String(), Type.Null()], {
          description: 'Milliseconds since 1970, or "2026-01-31T08:00:00Z"; else the time at which the request came.',
        }),
      ),
      headers: Type.Optional(
        Type.Union(
          [
            Type.Array(
              Type.Object({
                key: Type.String(),
                value: Type.Optional(Type.Union([Type.String(), Type.Null()])),
                encoding: Type.Optional(choiceOf(["utf8", "base64"], "What the value is. Default: utf8.")),
              }),
            ),
            Type.Null(),
          ],
          { description: "Order, duplicates and null are kept." },
        ),
      ),
      id: Type.Optional(
        Type.Union([Type.String(), Type.Integer(), Type.Null()], { description: "Comes back in the record's result." }),
      ),
      keyFormat: formatOf("the key"),
      valueFormat: formatOf("the value"),
    }),
    { minItems: 1 },
  ),
});

const produceResult = Type.Object({
  topic: Type.Optional(Type.String()),
  succeeded: Type.Optional(Type.Integer({ description: "Given when a record failed, or with details=true." })),
  failed: Type.Optional(Type.Integer()),
  offsets: Type.Array(
    Type.Object({
      partition: Type.Integer({ description: "-1 for a record that failed before it had one." }),
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
  const codecs =
    settings.keySchema === null && settings.valueSchema === null
      ? noCodecs
      : await findCodecs(context.schemas, topic, settings);
  const receivedAtMs = options.clock.timestampMs();
  const isTraced = options.traceHeaders && request.headers.traceparent !== undefined;
  const trace = isTraced ? traceOf(request.raw.rawHeaders) : noTrace;
  const idempotencyKey = idempotencyKeyOf(request);
  if (idempotencyKey !== null && settings.isEach) throw notTogether();
  const body = await readBody(request, query, settings, options.inflatedLimitBytes);
  if (Buffer.isBuffer(body)) holdWhole(intake, request, body);
  if (!Buffer.isBuffer(body)) {
    const producer = createProducerContext(context, topic, settings, partitionCount, { codecs, receivedAtMs, trace });
    return produceStream(context, topic, settings, producer, request).answer(body, reply);
  }
  const produce = readProduceRequest(topic, query, request, body, { receivedAtMs, hasTrace: trace.length > 0 });
  const records = readRecords(produce, options.recordLimit);
  if (settings.isAsync && (settings.timeoutMs ?? 0) > options.asyncTimeoutLimitMs) throw tooLong(options);
  const createProducer = () =>
    createProducerContext(context, topic, settings, partitionCount, { codecs, receivedAtMs, trace });
  const answerOf = (outcomes: RecordOutcomes) => conclude(context, { topic, settings, records, outcomes, request });
  if (idempotencyKey !== null) {
    const once = { key: idempotencyKey, produce, settings, records, createProducer, answerOf };
    return produceOnce(context, once, request, reply);
  }
  if (!settings.isAsync) return sendAnswer(answerOf(await createProducer().produceRecords(body, records)), reply);
  return sendAccepted(await context.asyncRequests.accept(produce, request.principal.id, records), reply);
}

/** What a body became is held beside what came; a stream is held as what it became alone. */
function holdWhole(intake: Intake, { raw, body: came }: FastifyRequest, body: Buffer): void {
  if (body === came) return;
  const share = intake.shareOf(raw);
  intake.resize(share, body.length + (Buffer.isBuffer(came) ? came.length : 0));
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
  const isWanted = settings.isAsync || settings.isAtomic || request.headers["idempotency-key"] !== undefined;
  const isWhole = isWanted || isRawBody(query, mediaType) || !isLinesBody(mediaType);
  if (body instanceof BodyStream) {
    try {
      return await (isWhole ? body.readWhole(encoding) : readLines(body, encoding, settings.isEach));
    } catch (error) {
      // A client that only sends would never see the answer.
      body.abandon();
      throw error;
    }
  }
  const whole = await inflateBody(body, encoding, limitBytes);
  return settings.isEach && !isWhole ? inOnePiece(whole) : whole;
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
    if (next.done === true) {
      body.release(sizeBytes);
      return Buffer.concat(first);
    }
    body.keep(next.value.length);
    first.push(next.value);
  }
  return goOn(body, first, chunks);
}

/** The pieces that were read already, and all that follow. */
async function* goOn(body: BodyStream, first: Buffer[], chunks: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  for (let next = first.shift(); next !== undefined; next = first.shift()) {
    yield next;
    body.release(next.length);
  }
  yield* chunks;
}

async function* inOnePiece(body: Buffer): AsyncGenerator<Buffer> {
  yield body;
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
    source: body instanceof BodyStream ? body : null,
  });
}

function createProducerContext(
  { options, producers }: GatewayContext,
  topic: string,
  settings: ProduceSettings,
  partitionCount: number,
  { codecs, receivedAtMs, trace }: Pick<ProducerContextParts, "codecs" | "receivedAtMs" | "trace">,
): ProducerContext {
  return new ProducerContext({
    topic,
    partitionCount,
    settings,
    codecs,
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

/** As with the topic: an async request asks again when its turn comes. */
async function findCodecs(schemas: Schemas, topic: string, settings: ProduceSettings): Promise<PartCodecs> {
  try {
    return await schemas.codecsFor(topic, settings);
  } catch (error) {
    if (settings.isAsync && error instanceof KafkaError && error.retriable) return noCodecs;
    throw error;
  }
}

interface Concluded {
  readonly topic: string;
  readonly settings: ProduceSettings;
  readonly records: ScannedRecords;
  readonly outcomes: RecordOutcomes;
  readonly request: FastifyRequest;
}

/**
 * Throws RequestError TOPIC_NOT_FOUND if that is what all records failed for, and ATOMIC_NOT_POSSIBLE if they were to be
 * stored as one and the broker found one that cannot be.
 */
function conclude(
  { topics, metrics }: GatewayContext,
  { topic, settings, records, outcomes, request }: Concluded,
): StoredAnswer {
  const answer = produceAnswer(topic, settings, records, outcomes);
  const unknownCount = countOf(outcomes.failures(), isUnknownTopic);
  if (unknownCount > 0) {
    // It was deleted since we last heard of it.
    topics.forget(topic);
    if (unknownCount === records.length) throw topicNotFound(topic);
  }
  metrics.recordsAnswered(topic, outcomes.storedCount, outcomes.failedCount);
  if (settings.isAtomic && outcomes.storedCount === 0 && causeOf(outcomes) === null) throw refusedAsOne(outcomes);
  return answer.status < 400
    ? { status: answer.status, headers: JSON_HEADERS, body: answer.body }
    : refusalOf(answer, outcomes, request);
}

/** No record was stored: what any error says stands before what became of each. */
function refusalOf({ status, body, isRetriable }: ProduceAnswer, outcomes: RecordOutcomes, request: FastifyRequest) {
  const [first] = outcomes.failures();
  const failure = causeOf(outcomes) ?? first;
  assert(failure !== undefined, "where no record was stored one has failed");
  const isInDoubt = failure instanceof KafkaError && failure.persisted !== "no";
  const error = `no record was ${isInDoubt ? "acknowledged" : "stored"}: ${failure.message}`;
  const answer = { status, isRetriable, body: { error, code: failure.code, requestId: request.id } };
  const isProblem = acceptsProblem(request);
  const members = JSON.stringify(isProblem ? asProblem(answer) : answer.body).slice(0, -1);
  const headers = {
    "content-type": isProblem ? PROBLEM_TYPE : JSON_TYPE,
    ...(isRetriable ? { "retry-after": String(RETRY_AFTER_S) } : {}),
  };
  return { status, headers, body: `${members},${body.toString().slice(1)}` };
}

function refusedAsOne(outcomes: RecordOutcomes): RequestError {
  const [first] = outcomes.failures();
  return new RequestError("ATOMIC_NOT_POSSIBLE", `the records cannot be stored as one: ${first?.message}`);
}

function notTogether(): RequestError {
  const message = "goes not with results=each, whose answer is not kept";
  return new RequestError("INVALID_PARAMETER", `Idempotency-Key ${message}`, {
    details: [{ field: "idempotency-key", message }],
  });
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
