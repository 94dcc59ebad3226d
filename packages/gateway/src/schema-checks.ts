/**
 * SchemaChecks: checks what requests bring against the schemas of their routes.
 *
 * The checks' compiler, AJV, is loaded and run when the server listens already: both took a quarter of the time until
 * it was ready. That is why this is not left to Fastify. A request that comes before its check is there waits for it.
 */

import type { Clock } from "@millrace/base";
import type { Ajv, ErrorObject, ValidateFunction } from "ajv";
import type { FastifyRequest } from "fastify";
import { type ErrorDetail, RequestError } from "./errors.ts";
import type { Route } from "./route.ts";
import { patternMeaning } from "./schemas.ts";

/** Throws RequestError for what the route's schemas do not let pass; or rejects with it, while they are being compiled. */
export type RouteCheck = (request: FastifyRequest) => Promise<void> | null;

/** The parts of a request that have a schema, in the order in which they are checked. */
const parts = ["params", "query", "body"] as const;
type Part = (typeof parts)[number];

interface PartCheck {
  readonly part: Part;
  readonly validate: ValidateFunction;
}

export class SchemaChecks {
  readonly #clock: Clock;
  /** Of each route; done once. */
  readonly #compilations: (() => Promise<void>)[] = [];
  #ajv: Promise<Ajv> | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  of(route: Route): RouteCheck {
    let checks: readonly PartCheck[] | null = null;
    const compile = async () => {
      checks ??= compileRoute(await this.#load(), route);
    };
    this.#compilations.push(compile);

    const check: RouteCheck = (request) => {
      if (checks === null) return compile().then(() => check(request) ?? undefined);
      for (const { part, validate } of checks) {
        if (!validate(request[part] ?? null)) throw refusal(part, validate.errors ?? []);
      }
      return null;
    };
    return check;
  }

  /** Compiles what no request has needed yet, a route in each turn of the event loop: requests get theirs in between. */
  async compileAll(): Promise<void> {
    for (const compile of this.#compilations) {
      await new Promise<void>((resolve) => this.#clock.defer(resolve));
      await compile();
    }
  }

  #load(): Promise<Ajv> {
    // As it comes, AJV guesses nothing: a parameter that is not what its schema says is an error, not something like it.
    this.#ajv ??= import("ajv").then(({ Ajv }) => new Ajv({ addUsedSchema: false }));
    return this.#ajv;
  }
}

function compileRoute(ajv: Ajv, route: Route): PartCheck[] {
  return parts.flatMap((part) => {
    const schema = route[part];
    return schema === undefined ? [] : [{ part, validate: ajv.compile(schema) }];
  });
}

function refusal(part: Part, errors: readonly ErrorObject[]): RequestError {
  const details = withoutAlternatives(errors).map((error) =>
    // A query is text: what is none is several of them.
    errorDetail(part === "query" && error.keyword === "type" ? { ...error, message: "must be given once" } : error),
  );
  const [first] = details;
  const what = first === undefined ? "not as its schema says" : `${first.field ?? "the body"} ${first.message}`;
  if (part === "body") return new RequestError("INVALID_BODY", `invalid request body: ${what}`, { details });
  return new RequestError("INVALID_PARAMETER", what, { details });
}

/** Where one of several types would do, there is an error for each of them, and one for all: they become that one. */
function withoutAlternatives(errors: readonly ErrorObject[]): ErrorObject[] {
  const whole = errors.filter(({ keyword }) => keyword === "anyOf");
  if (whole.length === 0) return [...errors];
  return whole.map((error) => {
    const types = errors.flatMap(({ instancePath, params }) =>
      instancePath === error.instancePath && typeof params.type === "string" ? [params.type] : [],
    );
    return types.length === 0 ? error : { ...error, message: `must be ${types.join(" or ")}` };
  });
}

/** "/topics/0/name" → topics.0.name; the values that an enum allows are named. */
function errorDetail({ instancePath, message, params }: ErrorObject): ErrorDetail {
  const path = instancePath.split("/").slice(1);
  const { allowedValues, missingProperty, pattern } = params;
  if (typeof missingProperty === "string") path.push(missingProperty);
  const words =
    typeof missingProperty === "string"
      ? "is required"
      : Array.isArray(allowedValues)
        ? `must be one of ${allowedValues.join(", ")}`
        : pattern === undefined
          ? (message ?? "is not as its schema says")
          : `must be ${patternMeaning(String(pattern))}`;
  return path.length === 0 ? { message: words } : { field: path.join("."), message: words };
}
