/** API keys over HTTP: create, list, revoke, with an admin key. */

import type { FastifyReply, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import type { GatewayContext } from "../context.ts";
import { RequestError } from "../errors.ts";
import { Type } from "../json-schema.ts";
import { asksForKeys } from "../options.ts";
import { defineRoute, type Route } from "../route.ts";
import type { ApiKey, KeyStore } from "./key-store.ts";
import { scopes } from "./principal.ts";

const NAME_LIMIT = 200;
const PREFIX_LIMIT = 100;

const scopeSchema = Type.Unsafe<(typeof scopes)[number]>({ type: "string", enum: [...scopes] });

const newKeySchema = Type.Object({
  name: Type.Optional(Type.String({ minLength: 1, maxLength: NAME_LIMIT, description: "For people: who uses it." })),
  scopes: Type.Array(scopeSchema, { minItems: 1, description: "produce, read or admin; admin may do everything." }),
  topicPrefixes: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 249 }), {
      maxItems: PREFIX_LIMIT,
      description: "It may use topics that begin with one of these; all topics if it is left out.",
    }),
  ),
  expiresAt: Type.Optional(
    Type.Union([Type.String(), Type.Null()], { description: 'As "2027-01-31T00:00:00Z"; never if it is left out.' }),
  ),
});

const time = (description: string) => Type.Union([Type.String(), Type.Null()], { description });

const keySchema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  scopes: Type.Array(scopeSchema),
  topicPrefixes: Type.Array(Type.String()),
  createdAt: Type.String(),
  expiresAt: time("null: never."),
  lastUsedAt: time("null: not yet. Exact while the server runs; saved once a minute."),
});

const createdKeySchema = Type.Object({
  key: Type.String({ description: "The key itself, told only here." }),
  ...keySchema.properties,
});

const keyExample = {
  id: "3f9a0c5b7d1e2468",
  name: "billing",
  scopes: ["produce" as const],
  topicPrefixes: ["billing."],
  createdAt: "2026-01-31T08:00:00.000Z",
  expiresAt: null,
  lastUsedAt: null,
};

export function keyRoutes(context: GatewayContext): Route[] {
  const { keys } = context;
  return [
    defineRoute({
      method: "GET",
      path: "/api/keys",
      docs: {
        tag: "Keys",
        summary: "List API keys",
        answers: {
          200: { description: "Without the keys themselves.", schema: Type.Array(keySchema), example: [keyExample] },
        },
      },
      handle: () => {
        checkKeysAsked(context);
        return keys.list().map((key) => keyJson(keys, key));
      },
    }),
    defineRoute({
      method: "POST",
      path: "/api/keys",
      body: newKeySchema,
      docs: {
        tag: "Keys",
        summary: "Create an API key",
        bodyExample: { name: "billing", scopes: ["produce"], topicPrefixes: ["billing."] },
        answers: {
          201: {
            description: "The key, which cannot be had again.",
            schema: createdKeySchema,
            example: { key: "mrk_…", ...keyExample },
          },
          403: { description: "Keys are not managed over HTTP by a server that asks for none." },
        },
      },
      handle: ({ body, request, reply }) => handleCreateKey(context, body, request, reply),
    }),
    defineRoute({
      method: "DELETE",
      path: "/api/keys/{id}",
      params: Type.Object({ id: Type.String({ description: "The key's id, as the list has it." }) }),
      docs: {
        tag: "Keys",
        summary: "Revoke an API key",
        answers: {
          200: { description: "It opens nothing any more.", schema: Type.Object({ id: Type.String() }) },
          404: { description: "There is no such key." },
        },
      },
      handle: ({ params, request }) => handleRevokeKey(context, params.id, request),
    }),
  ];
}

async function handleCreateKey(
  context: GatewayContext,
  body: Static<typeof newKeySchema>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  checkKeysAsked(context);
  const { options, keys } = context;
  const { name = "", topicPrefixes = [] } = body;
  const expiresAtMs = readExpiry(body.expiresAt ?? null, options.clock.timestampMs());
  const { text, key } = await keys.create({ name, scopes: body.scopes, topicPrefixes, expiresAtMs });
  options.logger.info(
    { requestId: request.id, by: request.principal.id, key: key.id, scopes: key.scopes, topicPrefixes },
    "audit: key created",
  );
  return reply.code(201).send({ key: text, ...keyJson(keys, key) });
}

async function handleRevokeKey(context: GatewayContext, id: string, request: FastifyRequest): Promise<{ id: string }> {
  checkKeysAsked(context);
  const { options, keys } = context;
  if (!(await keys.revoke(id))) throw new RequestError("KEY_NOT_FOUND", `there is no key ${id} that could be revoked`);
  options.logger.info({ requestId: request.id, by: request.principal.id, key: id }, "audit: key revoked");
  return { id };
}

/** Else whoever passes by today would have a way in for the day on which keys are asked for. */
function checkKeysAsked({ options }: GatewayContext): void {
  if (asksForKeys(options)) return;
  throw new RequestError(
    "SCOPE_MISSING",
    "this server asks for no keys (auth=none), so nobody can show that they may manage them",
  );
}

function readExpiry(text: string | null, nowMs: number): number | null {
  if (text === null) return null;
  const atMs = Date.parse(text);
  if (!Number.isNaN(atMs) && atMs > nowMs) return atMs;
  const message = 'must be a time to come, as "2027-01-31T00:00:00Z"';
  throw new RequestError("INVALID_BODY", `expiresAt ${message}`, { details: [{ field: "expiresAt", message }] });
}

function keyJson(keys: KeyStore, key: ApiKey): Static<typeof keySchema> {
  const { id, name, topicPrefixes, createdAtMs, expiresAtMs } = key;
  return {
    id,
    name,
    scopes: [...key.scopes],
    topicPrefixes: [...topicPrefixes],
    createdAt: new Date(createdAtMs).toISOString(),
    expiresAt: isoOrNull(expiresAtMs),
    lastUsedAt: isoOrNull(keys.lastUsedMs(id)),
  };
}

function isoOrNull(timestampMs: number | null): string | null {
  return timestampMs === null ? null : new Date(timestampMs).toISOString();
}
