/** AccessGuard: who a request comes from, whether that may do what it asks, and the audit lines that tell of it. */

import { type Clock, type Logger, MINUTE_MS, SECOND_MS } from "@millrace/base";
import type { FastifyReply, FastifyRequest } from "fastify";
import { RequestError } from "../errors.ts";
import { asksForKeys, type GatewayOptions } from "../options.ts";
import type { ClientCertificates } from "./client-certificates.ts";
import type { KeyStore } from "./key-store.ts";
import { ANYBODY, hasScope, mayUseTopic, type Principal, type Scope } from "./principal.ts";

/** The use of a key or a certificate is told of again after so long, with how often it was used meanwhile. */
const USE_LINE_MS = MINUTE_MS;
/** An authority may name its clients anew every hour; who was first seen longest ago is forgotten, and told of again. */
const USERS_LIMIT = 10_000;
/** Whoever guesses keys must not fill the disk with lines about it. */
const REFUSAL_LINES_PER_S = 20;

declare module "fastify" {
  interface FastifyContextConfig {
    readonly access?: RouteAccess;
    /** Rejects a request whose body should not come. */
    readonly judgeHead?: (request: FastifyRequest) => Promise<void>;
  }
}

/** What a route asks for. */
export interface RouteAccess {
  /** One of these is needed; null: the route is open. */
  readonly scopes: readonly Scope[] | null;
  /** Of keys that are held to topics, none may use it: it shows or changes what belongs to all. */
  readonly isForAllTopics: boolean;
}

export interface AccessGuardParts {
  readonly options: Pick<GatewayOptions, "auth" | "apiKeys" | "audit" | "tls">;
  readonly keys: Pick<KeyStore, "find" | "markUsed">;
  readonly certificates: Pick<ClientCertificates, "of">;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface UseCount {
  count: number;
  toldAtMs: number;
}

export class AccessGuard {
  readonly #parts: AccessGuardParts;
  /** Everybody who may connect may do everything. */
  readonly #isOpen: boolean;
  /** Who showed a certificate needs no key. */
  readonly #takesCertificates: boolean;
  readonly #uses = new Map<string, UseCount>();
  #refusalSecond = 0;
  #refusalCount = 0;

  constructor(parts: AccessGuardParts) {
    this.#parts = parts;
    this.#isOpen = !asksForKeys(parts.options);
    this.#takesCertificates = parts.options.tls?.clientAuth === "requested";
  }

  /**
   * Sets the request's principal. access: undefined for a path that there is not, which only a key's owner is told.
   *
   * Throws RequestError API_KEY_MISSING or API_KEY_INVALID (401), SCOPE_MISSING or TOPIC_NOT_ALLOWED (403).
   */
  admit(request: FastifyRequest, reply: FastifyReply, access: RouteAccess | undefined): void {
    request.principal = this.#parts.certificates.of(request) ?? ANYBODY;
    if (access?.scopes === null || (this.#isOpen && request.principal === ANYBODY)) return;
    try {
      if (!this.#isOpen) request.principal = this.#identify(request);
      if (access !== undefined) checkAccess(request, access);
    } catch (error) {
      if (error instanceof RequestError) {
        if (error.httpStatus === 401) reply.header("www-authenticate", 'Bearer realm="millrace"');
        this.#tellRefusal(request, error);
      }
      throw error;
    }
    this.#countUse(request);
  }

  /** Told of each request once it is answered: where `audit` asks for it there is a line for those of somebody known. */
  answered(request: FastifyRequest, status: number): void {
    const { options, logger } = this.#parts;
    if (options.audit !== "requests" || request.principal === ANYBODY || request.principal === undefined) return;
    logger.info({ ...aboutRequest(request), ...this.#whoSends(request), status }, "audit: request");
  }

  #identify(request: FastifyRequest): Principal {
    const text = keyText(request.headers);
    if (text === null) {
      if (this.#takesCertificates && request.principal !== ANYBODY) return request.principal;
      throw new RequestError("API_KEY_MISSING", "missing authorization header");
    }
    const key = this.#parts.keys.find(text);
    if (key === null) throw new RequestError("API_KEY_INVALID", "invalid API key");
    this.#parts.keys.markUsed(key.id);
    return key;
  }

  #countUse(request: FastifyRequest): void {
    const { clock, logger } = this.#parts;
    const { id, name } = request.principal;
    const nowMs = clock.nowMs();
    const use = this.#uses.get(id);
    if (use !== undefined && nowMs - use.toldAtMs < USE_LINE_MS) {
      use.count += 1;
      return;
    }
    const who = this.#whoSends(request);
    const what = "key" in who ? "audit: key used" : "audit: certificate used";
    logger.info({ ...who, name, requests: (use?.count ?? 0) + 1 }, what);
    if (use === undefined && this.#uses.size >= USERS_LIMIT) this.#uses.delete(this.#uses.keys().next().value ?? id);
    this.#uses.set(id, { count: 0, toldAtMs: nowMs });
  }

  /** principal: whose certificate the connection has. key: the API key, if the request came with one that is known. */
  #whoSends(request: FastifyRequest): { readonly principal?: string; readonly key?: string } {
    const certificate = this.#parts.certificates.of(request);
    const { principal } = request;
    return {
      ...(certificate === null ? {} : { principal: certificate.id }),
      ...(principal === ANYBODY || principal === certificate ? {} : { key: principal.id }),
    };
  }

  #tellRefusal(request: FastifyRequest, error: RequestError): void {
    const { clock, logger } = this.#parts;
    const second = Math.floor(clock.nowMs() / SECOND_MS);
    if (second !== this.#refusalSecond) {
      if (this.#refusalCount > REFUSAL_LINES_PER_S) {
        logger.warn({ refusals: this.#refusalCount - REFUSAL_LINES_PER_S }, "audit: more requests refused");
      }
      this.#refusalSecond = second;
      this.#refusalCount = 0;
    }
    this.#refusalCount += 1;
    if (this.#refusalCount > REFUSAL_LINES_PER_S) return;
    logger.warn({ ...aboutRequest(request), ...this.#whoSends(request), code: error.code }, "audit: request refused");
  }
}

/** Throws RequestError TOPIC_NOT_ALLOWED unless the principal may use all of these topics. */
export function checkTopics(principal: Principal, topics: readonly string[]): void {
  const topic = topics.find((name) => !mayUseTopic(principal, name));
  if (topic === undefined) return;
  const prefixes = principal.topicPrefixes.join(", ");
  throw new RequestError("TOPIC_NOT_ALLOWED", `this key is for topics that begin with ${prefixes}; ${topic} does not`);
}

function checkAccess(request: FastifyRequest, access: RouteAccess): void {
  const { principal } = request;
  if (access.scopes !== null && !hasScope(principal, access.scopes)) {
    const needed = access.scopes.join(" or ");
    throw new RequestError(
      "SCOPE_MISSING",
      `this needs a key with scope ${needed}; this one has ${principal.scopes.join(", ")}`,
    );
  }
  if (access.isForAllTopics && principal.topicPrefixes.length > 0) {
    throw new RequestError("TOPIC_NOT_ALLOWED", "this needs a key for all topics");
  }
  const topic = topicOf(request);
  if (topic !== undefined) checkTopics(principal, [topic]);
}

/** Of the path, decoded. */
function topicOf(request: FastifyRequest): string | undefined {
  const { params } = request;
  return typeof params === "object" && params !== null && "topic" in params ? String(params.topic) : undefined;
}

/** What a line may say: not the URL, whose query may hold a record's key. */
function aboutRequest(request: FastifyRequest): object {
  const topic = topicOf(request);
  return {
    requestId: request.id,
    method: request.method,
    route: request.routeOptions.url ?? "(unknown)",
    ...(topic === undefined ? {} : { topic }),
    remote: request.ip,
  };
}

/**
 * `Authorization: <key>`, `Authorization: Bearer <key>` or `X-API-Key: <key>`; or as the password of basic credentials, which
 * clients of schema registries have no other way than.
 */
function keyText(headers: FastifyRequest["headers"]): string | null {
  const { authorization } = headers;
  const basic = authorization === undefined ? null : /^basic +(\S+)$/i.exec(authorization);
  if (basic !== null)
    return (
      Buffer.from(basic[1] ?? "", "base64")
        .toString()
        .replace(/^[^:]*:/, "") || null
    );
  if (authorization !== undefined) return authorization.replace(/^bearer +/i, "").trim() || null;
  const key = headers["x-api-key"];
  return typeof key === "string" && key !== "" ? key : null;
}
