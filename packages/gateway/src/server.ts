/** The HTTP server: Fastify with our routes, our limits, and one envelope for all that goes wrong. */

import {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
  type RawRequestDefaultExpression,
} from "fastify";
import { JSON_TYPE, RETRY_AFTER_S } from "./answers.ts";
import { AccessGuard } from "./auth/access-guard.ts";
import type { GatewayContext } from "./context.ts";
import { type ErrorDetail, errorAnswer, RequestError } from "./errors.ts";
import { parseJson } from "./json/parse.ts";
import type { GatewayOptions } from "./options.ts";
import { OriginGuard } from "./origin-guard.ts";
import type { Route } from "./route.ts";
import { accessOf, fastifyPath, methodsFor } from "./routes.ts";

/** A topic's name has up to 249 characters, each of which may come as %xx. */
const PARAM_LIMIT = 1_000;
/** How often connections are looked at for requests that take too long. */
const CONNECTION_CHECK_MS = 1_000;
/** A client's own request id is taken over if it is short and plain. */
const REQUEST_ID = /^[\w.:/+=-]{1,128}$/;
const REQUEST_ID_BYTES = 6;
/** Paths that we do not have are counted together: there is no end to them. */
const UNKNOWN_ROUTE = "(unknown)";
const MEDIA_TYPE = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+\s*(?:;|$)/;

export function createServer(context: GatewayContext, routes: readonly Route[]): FastifyInstance {
  const { options, metrics, keys } = context;
  const server = fastify({
    logger: false,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: requestIds(options),
    bodyLimit: options.bodyLimitBytes,
    requestTimeout: options.requestTimeoutMs,
    keepAliveTimeout: options.keepAliveTimeoutMs,
    http: {
      maxHeaderSize: options.headerLimitBytes,
      headersTimeout: options.requestTimeoutMs,
      connectionsCheckingInterval: CONNECTION_CHECK_MS,
    },
    routerOptions: { maxParamLength: PARAM_LIMIT, ignoreTrailingSlash: true },
    // Nothing is guessed: a parameter that is not what its schema says is an error, not something like it.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, allErrors: false } },
    forceCloseConnections: "idle",
    return503OnClosing: false,
    frameworkErrors: sendError,
    clientErrorHandler: answerClientError,
  });
  server.setErrorHandler<FastifyError>((error, request, reply) => {
    const answer = sendError(error, request, reply);
    if (reply.statusCode >= 500 && !isExpected(error)) {
      options.logger.error(
        { requestId: request.id, path: request.url, reason: error.stack ?? String(error) },
        "request failed",
      );
    }
    return answer;
  });
  server.setNotFoundHandler((request, reply) => {
    const methods = methodsFor(routes, request.url.split("?", 1)[0] ?? "");
    if (methods.length === 0) throw new RequestError("NOT_FOUND", `there is no ${request.method} ${request.url}`);
    reply.header("allow", methods.join(", "));
    throw new RequestError("METHOD_NOT_ALLOWED", `${request.method} is not one of ${methods.join(", ")}`);
  });
  const { clock, logger } = options;
  const guard = new OriginGuard(options);
  const access = new AccessGuard({ options, keys, clock, logger });
  server.decorateRequest("principal");
  server.addHook("onRequest", (request, reply, next) => {
    if (guard.admit(request, reply)) {
      reply.code(204).send();
      return;
    }
    access.admit(request, reply, request.is404 ? undefined : request.routeOptions.config.access);
    const { headers } = request.raw;
    // Fastify refuses what is no media type ("json"), before any parser is asked.
    if (headers["content-type"] !== undefined && !MEDIA_TYPE.test(headers["content-type"]))
      delete headers["content-type"];
    next();
  });
  server.addHook("onResponse", (request, reply, done) => {
    const route = request.routeOptions.url ?? UNKNOWN_ROUTE;
    metrics.requestAnswered(request.method, route, reply.statusCode, reply.elapsedTime);
    access.answered(request, reply.statusCode);
    done();
  });
  register(server, routes, true);
  register(server, routes, false);
  return server;
}

/** Routes that take the body's bytes, or those that take it parsed. Any content type will do: curl's default must. */
function register(server: FastifyInstance, routes: readonly Route[], isRawBody: boolean): void {
  server.register((scope, _options, registered) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body: Buffer, done) => {
      if (isRawBody) {
        done(null, body);
        return;
      }
      let parsed: unknown;
      try {
        parsed = body.length === 0 ? undefined : parseJson(body);
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      done(null, parsed);
    });
    for (const route of routes) {
      if ((route.isRawBody === true) !== isRawBody) continue;
      scope.route({
        method: route.method,
        url: fastifyPath(route.path),
        config: { access: accessOf(route) },
        schema: {
          ...(route.params === undefined ? {} : { params: route.params }),
          ...(route.query === undefined ? {} : { querystring: route.query }),
          ...(route.body === undefined ? {} : { body: route.body }),
        },
        handler: (request, reply) => route.handle(request, reply),
      });
    }
    registered();
  });
}

/** Ids that no other process gives: a random start, then a count, as randomness for each would cost more than the rest. */
function requestIds(options: GatewayOptions): (request: RawRequestDefaultExpression) => string {
  const prefix = options.random.bytes(REQUEST_ID_BYTES).toString("base64url");
  let count = 0;
  return (request) => {
    const given = request.headers["x-request-id"];
    if (typeof given === "string" && REQUEST_ID.test(given)) return given;
    count += 1;
    return `${prefix}-${count.toString(36)}`;
  };
}

function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, body, isRetriable } = errorAnswer(asRequestError(error), request.id);
  if (isRetriable) reply.header("retry-after", RETRY_AFTER_S);
  return reply.code(status).header("content-type", JSON_TYPE).send(JSON.stringify(body));
}

function isExpected(error: unknown): boolean {
  return asRequestError(error) instanceof RequestError || (error instanceof Error && "retriable" in error);
}

/** Fastify's own errors in our words; any other as it is. */
function asRequestError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof RequestError) return error;
  if (isValidationError(error)) return validationError(error);
  const code = "code" in error ? String(error.code) : "";
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new RequestError("BODY_TOO_LARGE", "the body is larger than bodyLimitBytes allows", { cause: error });
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return new RequestError("INVALID_BODY", "the body is not as long as its content-length says", { cause: error });
    case "FST_ERR_BAD_URL":
    case "FST_ERR_ASYNC_CONSTRAINT":
    case "FST_ERR_MAX_PARAM_LENGTH":
      return new RequestError("NOT_FOUND", error.message, { cause: error });
    case "ECONNRESET":
    case "ERR_STREAM_PREMATURE_CLOSE":
      return new RequestError("REQUEST_INCOMPLETE", "the connection closed before the whole request had come");
    default:
      return error;
  }
}

interface ValidationError extends Error {
  readonly validation: readonly ValidationIssue[];
  readonly validationContext?: string;
}

interface ValidationIssue {
  readonly instancePath: string;
  readonly message?: string;
  readonly params: Readonly<Record<string, unknown>>;
}

function isValidationError(error: Error): error is ValidationError {
  return "validation" in error && Array.isArray(error.validation);
}

function validationError(error: ValidationError): RequestError {
  const details = error.validation.map(validationDetail);
  const [first] = details;
  const what = first === undefined ? error.message : `${first.field ?? "the body"} ${first.message}`;
  if (error.validationContext === "body") {
    return new RequestError("INVALID_BODY", `invalid request body: ${what}`, { details });
  }
  return new RequestError("INVALID_PARAMETER", what, { details });
}

/** "/topics/0/name" → topics.0.name; the values that an enum allows are named. */
function validationDetail(issue: ValidationIssue): ErrorDetail {
  const path = issue.instancePath.split("/").slice(1);
  const { allowedValues, missingProperty, pattern } = issue.params;
  if (typeof missingProperty === "string") path.push(missingProperty);
  const message =
    typeof missingProperty === "string"
      ? "is required"
      : Array.isArray(allowedValues)
        ? `must be one of ${allowedValues.join(", ")}`
        : pattern === undefined
          ? (issue.message ?? "is not as its schema says")
          : "must be a whole number"; // what every pattern of ours stands for
  return path.length === 0 ? { message } : { field: path.join("."), message };
}

/** Errors of the HTTP parser, before there is a request: answered on the bare socket. */
function answerClientError(
  error: Error & { readonly code?: string },
  socket: RawRequestDefaultExpression["socket"],
): void {
  if (socket.destroyed || !socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, code, message] = clientAnswers[error.code ?? ""] ?? [400, "INVALID_REQUEST", "this is not HTTP"];
  const body = JSON.stringify({ error: message, code, requestId: "" });
  const head = `HTTP/1.1 ${status} ${statusTexts[status] ?? "Error"}\r\nContent-Type: ${JSON_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n`;
  socket.end(head + body);
}

type ClientAnswer = readonly [status: number, code: string, message: string];

const clientAnswers: Readonly<Record<string, ClientAnswer>> = {
  HPE_HEADER_OVERFLOW: [431, "HEADERS_TOO_LARGE", "the headers are larger than headerLimitBytes allows"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "REQUEST_INCOMPLETE", "the request took longer to come than requestTimeoutMs allows"],
};

const statusTexts: Readonly<Record<number, string>> = {
  400: "Bad Request",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
};
