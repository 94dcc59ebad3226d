/** Route: one entry of the table from which come the server's routes, their checks, and openapi.json. */

import type { FastifyReply, FastifyRequest } from "fastify";
import type { Static, TSchema } from "typebox";

export interface RouteDocs {
  readonly summary: string;
  readonly description?: string;
  readonly tag: "Produce" | "Topics" | "Messages" | "Keys" | "Schemas" | "Health" | "About";
  /** By status; of the errors, those that this route gives beside those that all have. */
  readonly answers: Readonly<Record<number, AnswerDocs>>;
  /** A body that works as it is. */
  readonly bodyExample?: unknown;
  /** What the body looks like, where its handler checks it. */
  readonly bodySchema?: TSchema;
  /** Headers of requests that mean something to this route, and what. */
  readonly requestHeaders?: Readonly<Record<string, string>>;
  /** Bodies that it takes beside JSON. */
  readonly rawTypes?: readonly { readonly type: string; readonly description: string }[];
}

export interface AnswerDocs {
  readonly description: string;
  /** Its headers that mean something, and what. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly schema?: TSchema;
  readonly example?: unknown;
  /** Where it is not JSON. */
  readonly type?: string;
}

export interface Route {
  readonly method: "GET" | "POST" | "PATCH" | "PUT" | "DELETE";
  /** As OpenAPI writes it: "/api/topics/{topic}". */
  readonly path: string;
  readonly docs: RouteDocs;
  readonly params?: TSchema;
  readonly query?: TSchema;
  readonly body?: TSchema;
  /** The handler reads the body's bytes itself: they are not parsed for it. */
  readonly isRawBody?: boolean;
  /** Rejects for what can be told before the body comes; asked where the sender waits for that (Expect: 100-continue). */
  judgeHead?(request: FastifyRequest): Promise<void>;
  handle(request: FastifyRequest, reply: FastifyReply): unknown;
}

export interface Call<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** What a schema lets pass, or otherwise without one. */
export type StaticOr<Schema, Otherwise = unknown> = Schema extends TSchema ? Static<Schema> : Otherwise;

interface RouteSpec<Params, Query, Body> extends Omit<Route, "handle" | "judgeHead" | "params" | "query" | "body"> {
  readonly params?: Params;
  readonly query?: Query;
  readonly body?: Body;
  judgeHead?(head: Pick<Call<StaticOr<Params>, StaticOr<Query>, unknown>, "params" | "query">): Promise<void>;
  handle(call: Call<StaticOr<Params, unknown>, StaticOr<Query, unknown>, StaticOr<Body, unknown>>): unknown;
}

/** A route whose handler sees params, query and body with the types that its schemas have checked. */
export function defineRoute<
  Params extends TSchema | undefined = undefined,
  Query extends TSchema | undefined = undefined,
  Body extends TSchema | undefined = undefined,
>(spec: RouteSpec<Params, Query, Body>): Route {
  const { params, query, body, judgeHead, handle, ...rest } = spec;
  return {
    ...rest,
    ...(params === undefined ? {} : { params }),
    ...(query === undefined ? {} : { query }),
    ...(body === undefined ? {} : { body }),
    ...(judgeHead === undefined
      ? {}
      : {
          judgeHead: ({ params, query }) =>
            judgeHead({ params: params as StaticOr<Params>, query: query as StaticOr<Query> }),
        }),
    handle(request, reply) {
      // Fastify has checked the three against these very schemas before it calls.
      return handle({
        params: request.params as StaticOr<Params, unknown>,
        query: request.query as StaticOr<Query, unknown>,
        body: request.body as StaticOr<Body, unknown>,
        request,
        reply,
      });
    },
  };
}
