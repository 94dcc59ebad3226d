/** What a request can be refused with: a status, a stable code, and the one envelope that every error answer has. */

import { errorByCode, KafkaError } from "@millrace/protocol";

/** One thing that is wrong, and where. */
export interface ErrorDetail {
  /** The record, counted from 0 in the order of the body. */
  readonly index?: number;
  readonly field?: string;
  /** Place in the body, both from 1. */
  readonly line?: number;
  readonly column?: number;
  readonly message: string;
}

interface Row {
  readonly httpStatus: number;
  readonly retriable: boolean;
  /** What to do about it, in a sentence. */
  readonly advice: string;
}

/** The codes that only the gateway has; all others are those of the Kafka error table. */
export const requestErrors = {
  INVALID_JSON: row(400, "Send JSON as RFC 8259 has it, in UTF-8 without a byte order mark."),
  INVALID_BODY: row(400, "Give the body the shape and the types that /openapi.json describes."),
  NO_RECORDS: row(400, 'Give at least one record in "records".'),
  API_KEY_MISSING: row(401, "Send an API key as Authorization: Bearer <key> or as X-API-Key."),
  API_KEY_INVALID: row(401, "Use a key that exists and has not expired; millrace keys create makes one."),
  SCOPE_MISSING: row(403, "Use a key with the scope that the message names."),
  TOPIC_NOT_ALLOWED: row(403, "Use a key for that topic: without prefixes, or with one that it begins with."),
  KEY_NOT_FOUND: row(404, "Take the id from GET /api/keys; fixed keys cannot be revoked."),
  INVALID_PARAMETER: row(400, "Give the parameter one of the values that the message names."),
  TOPIC_NOT_FOUND: row(404, "Create the topic with POST /api/topics, or check its name."),
  NOT_FOUND: row(404, "Look up the path in /openapi.json."),
  METHOD_NOT_ALLOWED: row(405, "Use one of the methods in the Allow header."),
  ATOMIC_NOT_POSSIBLE: row(422, "Send fewer records, all to one partition, or leave out atomic."),
  BODY_TOO_LARGE: row(413, "Send smaller bodies, or raise bodyLimitBytes."),
  TOO_MANY_RECORDS: row(413, "Send fewer records a request, or raise recordLimit."),
  HEADERS_TOO_LARGE: row(431, "Send smaller headers, or raise headerLimitBytes."),
  RATE_LIMITED: row(429, "Send again after the seconds that Retry-After tells, or raise the key's limits.", true),
  OVERLOADED: row(503, "Send again after the seconds that Retry-After tells; more gateways carry more.", true),
  UPLOAD_STALLED: row(408, "Send the body without pauses.", true),
  TOO_MANY_CONNECTIONS: row(503, "Use fewer connections and keep them, or raise connectionLimit.", true),
  HOST_NOT_ALLOWED: row(421, "Use the server's address or localhost, or name the host in allowedHosts."),
  ORIGIN_NOT_ALLOWED: row(403, "Name the page's origin in corsOrigin."),
  UNSUPPORTED_ENCODING: row(415, "Send the body plain, or compressed with gzip, deflate, br or zstd."),
  REQUEST_INCOMPLETE: row(408, "Send the whole request within requestTimeoutMs."),
  RESULTS_NOT_READ: row(409, "Read the results while you send, or leave out results=each."),
  REQUEST_NOT_FOUND: row(404, "Ask with the requestId of the 202 and the key that made it, before expiresAt."),
  REQUEST_IN_PROGRESS: row(409, "Wait until the request is final: GET its status with ?wait=.", true),
  TOO_MANY_ASYNC_REQUESTS: row(
    429,
    "Send slower, DELETE requests that are final, or raise asyncRequestsLimit or asyncLimitBytes.",
    true,
  ),
  IDEMPOTENCY_KEY_REUSED: row(422, "Take another key for another request, or send the first one as it was."),
  IDEMPOTENCY_KEY_IN_USE: row(
    409,
    "Send again after the seconds that Retry-After tells: the first is under way.",
    true,
  ),
  IDEMPOTENCY_IN_DOUBT: row(409, "Look whether the records are in the topic; send what is missing with another key."),
  SCHEMA_NOT_FOUND: row(404, "Register the schema, or check the subject or id; GET /schemas/subjects lists them."),
  SCHEMA_INVALID: row(400, "Send an Avro schema or a JSON schema; the message says what is wrong with it."),
  SCHEMA_REFUSED: row(
    409,
    "Keep the schema compatible with those before it, or set the subject's compatibility with PUT /schemas/config.",
  ),
  EXPECTATION_FAILED: row(417, "Send Expect: 100-continue, or no Expect at all."),
  INTERNAL_ERROR: row(500, "Report it with the request id: this is a mistake in Millrace."),
} as const satisfies Record<string, Row>;

export type RequestErrorCode = keyof typeof requestErrors;

function row(httpStatus: number, advice: string, retriable = false): Row {
  return { httpStatus, retriable, advice };
}

export interface RequestErrorOptions {
  readonly details?: readonly ErrorDetail[];
  readonly cause?: unknown;
}

/** The whole request is refused; nothing of it was done. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly code: RequestErrorCode;
  readonly details: readonly ErrorDetail[];

  constructor(code: RequestErrorCode, message: string, options: RequestErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? [];
  }

  get httpStatus(): number {
    return requestErrors[this.code].httpStatus;
  }
}

export function topicNotFound(topic: string): RequestError {
  // The text is the document's own; the name stands in the details.
  return new RequestError("TOPIC_NOT_FOUND", "topic not found", {
    details: [{ field: "topic", message: `there is no topic ${topic}` }],
  });
}

/** The body of every answer that refuses a request. */
export interface ErrorEnvelope {
  readonly error: string;
  readonly code: string;
  readonly requestId: string;
  readonly details?: readonly ErrorDetail[];
}

export interface ErrorAnswer {
  readonly status: number;
  readonly body: ErrorEnvelope;
  readonly isRetriable: boolean;
}

/** The same in the form of RFC 9457, for those who ask for application/problem+json. */
export function asProblem({ status, body }: ErrorAnswer): object {
  const { error, code, ...rest } = body;
  return { type: `urn:millrace:error:${code}`, title: titleOf(code), status, detail: error, code, ...rest };
}

const acronyms: ReadonlySet<string> = new Set(["API", "HTTP", "ID", "JSON"]);

/** "INVALID_JSON" → "Invalid JSON". */
function titleOf(code: string): string {
  const words = code.split("_").map((word) => (acronyms.has(word) ? word : word.toLowerCase()));
  const [first = "", ...rest] = words;
  return [first.charAt(0).toUpperCase() + first.slice(1), ...rest].join(" ");
}

/** Anything that a handler threw, as an answer. What is neither ours nor Kafka's is not shown: it may hold a secret. */
export function errorAnswer(error: unknown, requestId: string): ErrorAnswer {
  if (error instanceof RequestError) {
    const { code, message, details, httpStatus } = error;
    const body = { error: message, code, requestId, ...(details.length === 0 ? {} : { details }) };
    return { status: httpStatus, body, isRetriable: requestErrors[code].retriable };
  }
  if (error instanceof KafkaError) {
    const { code, message, retriable } = error;
    const { httpStatus } = errorByCode(code);
    // What stands behind us refused for good; or it is away, as we are then for who asks us.
    const status = httpStatus === 502 && retriable ? 503 : httpStatus;
    return { status, body: { error: message, code, requestId }, isRetriable: retriable };
  }
  const body = { error: "something went wrong in the server", code: "INTERNAL_ERROR", requestId };
  return { status: 500, body, isRetriable: false };
}
