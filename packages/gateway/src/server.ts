/** The HTTP server: Fastify with our routes, our limits, and one envelope for all that goes wrong. */

import { clientAuthOptions } from "@millrace/base";
import {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
  type RawRequestDefaultExpression,
  type RequestPayload,
} from "fastify";
import { acceptsProblem, JSON_TYPE, PROBLEM_TYPE, RETRY_AFTER_S } from "./answers.ts";
import { AccessGuard } from "./auth/access-guard.ts";
import { ClientCertificates } from "./auth/client-certificates.ts";
import type { GatewayContext } from "./context.ts";
import { asProblem, errorAnswer, RequestError } from "./errors.ts";
import type { Health } from "./health.ts";
import { parseJson } from "./json/parse.ts";
import { BodyReader } from "./limits/body-reader.ts";
import { RateLimiter } from "./limits/rate-limiter.ts";
import type { GatewayOptions, GatewayTls } from "./options.ts";
import { OriginGuard } from "./origin-guard.ts";
import { linesTypes, SHORT_LINES_BYTES } from "./produce-request.ts";
import { isRegistryPath, REGISTRY_TYPE, registryRefusal } from "./registry/registry-handlers.ts";
import type { Route } from "./route.ts";
import { accessOf, fastifyPath, methodsFor } from "./routes.ts";
import type { RouteCheck, SchemaChecks } from "./schema-checks.ts";

/** A topic's name has up to 249 characters, each of which may come as %xx. */
const PARAM_LIMIT = 1_000;
/** How often connections are looked at for requests that take too long. */
const CONNECTION_CHECK_MS = 1_000;
/** A client's own request id is taken over if it is short and plain. */
const REQUEST_ID = /^[\w.:/+=-]{1,128}$/;
const REQUEST_ID_BYTES = 6;
/** Paths that we do not have are counted together: there is no end to them. */
const UNKNOWN_ROUTE = "(unknown)";
const EMPTY = Buffer.alloc(0);
const MEDIA_TYPE = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+\s*(?:;|$)/;

export function createServer(context: GatewayContext, routes: readonly Route[], checks: SchemaChecks): FastifyInstance {
  const { options, metrics, keys, intake, health } = context;
  const limits = {
    maxHeaderSize: options.headerLimitBytes,
    headersTimeout: options.requestTimeoutMs,
    connectionsCheckingInterval: CONNECTION_CHECK_MS,
    // OriginGuard says what is missing; Node would say nothing.
    requireHostHeader: false,
  };
  const server = fastify({
    logger: false,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: requestIds(options),
    bodyLimit: options.bodyLimitBytes,
    // Of headers alone: how long a body may take depends on whether it is streamed, which BodyReader knows.
    requestTimeout: 0,
    connectionTimeout: silenceLimitMs(options),
    keepAliveTimeout: options.keepAliveTimeoutMs,
    http: limits,
    // Fastify's types know a server for each; ours is told apart by nothing but this.
    ...(options.tls === null ? {} : ({ https: { ...limits, ...tlsOptions(options.tls) } } as object)),
    routerOptions: { maxParamLength: PARAM_LIMIT, ignoreTrailingSlash: true },
    // Given, so that Fastify does not load AJV, and a compiler of answers, before it listens.
    schemaController: { compilersFactory: { buildValidator: neverAsked, buildSerializer: neverAsked } },
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
    if (request.method === "OPTIONS") return reply.code(204).send();
    throw new RequestError("METHOD_NOT_ALLOWED", `${request.method} is not one of ${methods.join(", ")}`);
  });
  const { clock, logger } = options;
  const guard = new OriginGuard(options);
  const certificates = new ClientCertificates();
  if (options.tls !== null) certificates.watch(server.server);
  const access = new AccessGuard({ options, keys, certificates, clock, logger });
  const limiter = new RateLimiter({
    clock,
    requestsPerSecond: options.keyRequestsPerSecond,
    bytesPerSecond: options.keyBytesPerSecond,
  });
  const { bodyLimitBytes: limitBytes, requestTimeoutMs: timeoutMs } = options;
  const bodies = new BodyReader({ intake, clock, limitBytes, timeoutMs });
  server.server.on("checkContinue", (request, reply) => {
    bodies.expectContinue(request, reply);
    server.server.emit("request", request, reply);
  });
  // Without a listener Node answers by itself, and says nothing.
  server.server.on("checkExpectation", (request, reply) => server.server.emit("request", request, reply));
  watchConnections(server.server, context);
  server.decorateRequest("principal");
  server.addHook("onRequest", (request, reply, next) => {
    reply.header("x-request-id", request.id);
    checkExpectation(request);
    if (guard.admit(request, reply)) {
      reply.code(204).send();
      return;
    }
    access.admit(request, reply, request.is404 ? undefined : request.routeOptions.config.access);
    if (request.routeOptions.config.access?.scopes !== null) limiter.admit(request.principal.id, reply);
    const { headers } = request.raw;
    // Fastify refuses what is no media type ("json"), before any parser is asked.
    if (headers["content-type"] !== undefined && !MEDIA_TYPE.test(headers["content-type"]))
      delete headers["content-type"];
    const { judgeHead } = request.routeOptions.config;
    if (headers.expect === undefined || judgeHead === undefined) next();
    else judgeHead(request).then(() => next(), next);
  });
  server.addHook("onResponse", (request, reply, done) => {
    const route = request.routeOptions.url ?? UNKNOWN_ROUTE;
    metrics.requestAnswered(request.method, route, reply.statusCode, reply.elapsedTime);
    access.answered(request, reply.statusCode);
    if (options.logRequests) logRequest(options, request, reply);
    done();
  });
  register(server, routes, { isRawBody: true, checks, bodies, limiter, health });
  register(server, routes, { isRawBody: false, checks, bodies, limiter, health });
  return server;
}

/** While an answer is worked on nothing moves on its connection; for longer than that it is its reader who has stopped. */
function silenceLimitMs({ unreadTimeoutMs, deliveryTimeoutMs, maxBlockMs }: GatewayOptions): number {
  return Math.max(unreadTimeoutMs, deliveryTimeoutMs + maxBlockMs);
}

/** RFC 9110, 10.1.1: of expectations there is only this one. */
function checkExpectation({ headers }: FastifyRequest): void {
  const { expect } = headers;
  if (expect === undefined || expect.toLowerCase() === "100-continue") return;
  throw new RequestError("EXPECTATION_FAILED", `expected 100-continue, found ${expect}`);
}

/** Its compilers are asked for routes with schemas, which SchemaChecks keeps from Fastify. */
function neverAsked(): never {
  throw new Error("a route was given to Fastify with a schema; schemas belong to SchemaChecks");
}

function tlsOptions({ cert, key, passphrase, ca, clientAuth = "required" }: GatewayTls): object {
  return {
    cert,
    key,
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(ca === undefined ? {} : { ca, ...clientAuthOptions(clientAuth) }),
  };
}

/** Connections beyond the limit are told so, as far as they can be: before a TLS handshake there are no words. */
function watchConnections(server: FastifyInstance["server"], { options, connections }: GatewayContext): void {
  connections.watch(server, options.tls !== null, (socket) => {
    const message = `there are already ${options.connectionLimit} connections`;
    if (options.tls !== null) socket.destroy();
    else answerBareSocket(socket, [503, "TOO_MANY_CONNECTIONS", message]);
  });
}

function logRequest(options: GatewayOptions, request: FastifyRequest, reply: FastifyReply): void {
  const { id: requestId, method } = request;
  const { statusCode: status, elapsedTime } = reply;
  const route = request.routeOptions.url ?? UNKNOWN_ROUTE;
  const { traceparent } = request.headers;
  const trace = typeof traceparent === "string" ? { traceparent } : {};
  const elapsedMs = Math.round(elapsedTime * 1000) / 1000;
  options.logger.info({ requestId, method, route, status, elapsedMs, ...trace }, "request");
}

type BodyDone = (error: Error | null, body?: unknown) => void;

interface RegisterParts {
  readonly isRawBody: boolean;
  readonly checks: SchemaChecks;
  readonly bodies: BodyReader;
  readonly limiter: RateLimiter;
  readonly health: Pick<Health, "isClosing">;
}

/** Routes that take the body's bytes, or those that take it parsed. Any content type will do: curl's default must. */
function register(server: FastifyInstance, routes: readonly Route[], parts: RegisterParts): void {
  const { isRawBody, checks, bodies, limiter, health } = parts;
  server.register((scope, _options, registered) => {
    scope.removeAllContentTypeParsers();
    const readWhole = (request: FastifyRequest, payload: RequestPayload, done: BodyDone) => {
      bodies.read(request.raw, payload, (error, body = EMPTY) => {
        if (error !== null) {
          done(error);
          return;
        }
        limiter.spendBytes(request.principal.id, body.length);
        if (isRawBody) done(null, body);
        else parseBody(body, done);
      });
    };
    scope.addContentTypeParser("*", readWhole);
    if (isRawBody) {
      scope.addContentTypeParser([...linesTypes], (request, payload, done) => {
        // A short one is taken in one piece: that is cheaper.
        const sizeBytes = Number(request.headers["content-length"] ?? Number.POSITIVE_INFINITY);
        if (sizeBytes <= SHORT_LINES_BYTES) readWhole(request, payload, done);
        else
          done(
            null,
            bodies.stream(request.raw, payload, (bytes) => limiter.spendBytes(request.principal.id, bytes)),
          );
      });
    }
    for (const route of routes) {
      if ((route.isRawBody === true) !== isRawBody) continue;
      const check = checks.of(route);
      scope.route({
        method: route.method,
        url: fastifyPath(route.path),
        config: { access: accessOf(route), ...(isRawBody ? { judgeHead: judgeHeadOf(route, check) } : {}) },
        handler: (request, reply) => {
          if (route.docs.tag !== "Health") bodies.begin(request.raw, reply.raw);
          if (health.isClosing) reply.header("connection", "close");
          const late = check(request);
          return late === null ? route.handle(request, reply) : late.then(() => route.handle(request, reply));
        },
      });
    }
    registered();
  });
}

function judgeHeadOf(route: Route, check: RouteCheck): (request: FastifyRequest) => Promise<void> {
  return async (request) => {
    await check(request);
    await route.judgeHead?.(request);
  };
}

function parseBody(body: Buffer, done: BodyDone): void {
  let parsed: unknown;
  try {
    parsed = body.length === 0 ? undefined : parseJson(body);
  } catch (error) {
    done(error instanceof Error ? error : new Error(String(error)));
    return;
  }
  done(null, parsed);
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
  const answer = errorAnswer(asRequestError(error), request.id);
  if (answer.isRetriable && !reply.hasHeader("retry-after")) reply.header("retry-after", RETRY_AFTER_S);
  // Fastify's own errors come before any hook.
  reply.code(answer.status).header("x-request-id", request.id);
  // Who has not sent a request whole by now would keep the connection for the rest of it.
  if (answer.status === 408) reply.header("connection", "close");
  // Who was to hear from us before the body need not send it now: what comes next could be either.
  if (request.headers.expect !== undefined) reply.header("connection", "close");
  if (isRegistryPath(request.url)) {
    return reply.header("content-type", REGISTRY_TYPE).send(JSON.stringify(registryRefusal(answer)));
  }
  if (acceptsProblem(request)) {
    return reply.header("content-type", PROBLEM_TYPE).send(JSON.stringify(asProblem(answer)));
  }
  return reply.header("content-type", JSON_TYPE).send(JSON.stringify(answer.body));
}

function isExpected(error: unknown): boolean {
  return asRequestError(error) instanceof RequestError || (error instanceof Error && "retriable" in error);
}

/** Fastify's own errors in our words; any other as it is. */
function asRequestError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof RequestError) return error;
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

/** Errors of the HTTP parser, before there is a request: answered on the bare socket. */
function answerClientError(
  error: Error & { readonly code?: string },
  socket: RawRequestDefaultExpression["socket"],
): void {
  if (socket.destroyed || !socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  answerBareSocket(socket, clientAnswers[error.code ?? ""] ?? [400, "INVALID_REQUEST", "this is not HTTP"]);
}

function answerBareSocket(socket: RawRequestDefaultExpression["socket"], [status, code, message]: ClientAnswer): void {
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
  503: "Service Unavailable",
  431: "Request Header Fields Too Large",
};
