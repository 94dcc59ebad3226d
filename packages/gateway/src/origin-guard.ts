/**
 * OriginGuard: keeps web pages from elsewhere out.
 *
 * A browser sends requests to 127.0.0.1 for any page that asks. Two things give such a page away: its Origin, and, where
 * it had its own name resolve to us (DNS rebinding), the name in Host.
 */

import { KafkaError } from "@millrace/protocol";
import type { FastifyReply, FastifyRequest } from "fastify";
import { RequestError } from "./errors.ts";
import type { GatewayOptions } from "./options.ts";

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1|\[::1\])$/i;
/** An address is no name that somebody could have led here. */
const ADDRESS = /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\])$/i;
const PREFLIGHT_MAX_AGE_S = 600;
const CORS_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE";
const CORS_HEADERS =
  "content-type, content-encoding, authorization, x-api-key, x-request-id, kafka-key, idempotency-key, last-event-id, traceparent, tracestate";
const EXPOSED_HEADERS =
  "location, retry-after, allow, www-authenticate, x-request-id, idempotency-replayed, millrace-position, ratelimit-limit, ratelimit-remaining, ratelimit-reset, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset";
const RECORD_HEADER = /^kafka-header-[\w!#$&^.+-]+$/i;

export class OriginGuard {
  readonly #isLocal: boolean;
  readonly #hosts: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;
  /** The last that was allowed: most requests have the same. */
  #lastHost: string | null = null;

  constructor(options: Pick<GatewayOptions, "host" | "allowedHosts" | "corsOrigin">) {
    this.#isLocal = LOOPBACK.test(options.host);
    this.#hosts = new Set(options.allowedHosts.map((host) => host.toLowerCase()));
    this.#origins = new Set(options.corsOrigin.map((origin) => origin.toLowerCase()));
  }

  /**
   * Throws RequestError HOST_NOT_ALLOWED or ORIGIN_NOT_ALLOWED.
   *
   * Gives the headers that let an allowed page read the answer. Returns true for a preflight, which is answered by them.
   */
  admit(request: FastifyRequest, reply: FastifyReply): boolean {
    const { host, origin } = request.headers;
    if (host === undefined && request.raw.httpVersion !== "1.0") {
      throw new KafkaError("INVALID_REQUEST", "the header Host is missing");
    }
    this.#checkHost(host ?? "");
    if (origin === undefined || isSameOrigin(origin, host ?? "")) return false;
    if (!this.#origins.has(origin) && !this.#origins.has("*")) {
      throw new RequestError("ORIGIN_NOT_ALLOWED", `pages of ${origin} may not send requests here`);
    }
    reply.header("access-control-allow-origin", this.#origins.has("*") ? "*" : origin).header("vary", "origin");
    reply.header("access-control-expose-headers", EXPOSED_HEADERS);
    if (request.method !== "OPTIONS") return false;
    const asked = request.headers["access-control-request-headers"] ?? "";
    reply.header("access-control-allow-methods", CORS_METHODS);
    reply.header("access-control-allow-headers", [CORS_HEADERS, ...recordHeaders(asked)].join(", "));
    reply.header("access-control-max-age", PREFLIGHT_MAX_AGE_S);
    return true;
  }

  #checkHost(header: string): void {
    if (header === this.#lastHost) return;
    const name = header.replace(/:\d*$/, "").toLowerCase();
    // Where the server is meant to be reached from elsewhere, its names are not ours to know unless they were given.
    const isAnyAllowed = !this.#isLocal && this.#hosts.size === 0;
    if (!isAnyAllowed && !ADDRESS.test(name) && name !== "localhost" && name !== "" && !this.#hosts.has(name)) {
      throw new RequestError("HOST_NOT_ALLOWED", `this server does not go by the name ${name}`);
    }
    this.#lastHost = header;
  }
}

/** Those of a preflight's headers that become headers of a record: their names are the page's own. */
function recordHeaders(asked: string): string[] {
  return asked
    .split(",")
    .map((name) => name.trim())
    .filter((name) => RECORD_HEADER.test(name));
}

function isSameOrigin(origin: string, host: string): boolean {
  return origin === `http://${host}` || origin === `https://${host}`;
}
