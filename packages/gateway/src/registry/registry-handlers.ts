/** The schema registry over HTTP: Confluent's REST API under /schemas, for its serializers and tools. */

import type { FastifyReply } from "fastify";
import type { Static, TSchema } from "typebox";
import { checkTopics } from "../auth/access-guard.ts";
import { mayUseTopic, type Principal } from "../auth/principal.ts";
import type { GatewayContext } from "../context.ts";
import type { ErrorAnswer } from "../errors.ts";
import { Type } from "../json-schema.ts";
import { type Call, defineRoute, type Route, type StaticOr } from "../route.ts";
import { describeIncompatible } from "./incompatible-version.ts";
import { RegistryError } from "./registry-errors.ts";
import {
  type CompatibilityLevel,
  compatibilityLevels,
  type Mode,
  modes,
  type SchemaVersion,
} from "./registry-records.ts";
import { schemaTypes, typeMember } from "./schema-kinds.ts";
import type { NewSchema, SchemaRegistry, Version } from "./schema-registry.ts";
import type { KnownSchema } from "./subject-table.ts";

export const REGISTRY_TYPE = "application/vnd.schemaregistry.v1+json";
const REGISTRY_PATH = "/schemas";
const VERSION_MAX = 2 ** 31 - 1;

/** Python's client says True, Java's registry takes that: whatever is not true is false. */
function switchOf(description: string) {
  return Type.String({ description });
}

function isOn(text: string | undefined): boolean {
  return text !== undefined && /^(?:true|1)$/i.test(text);
}

const subjectParams = Type.Object({
  subject: Type.String({ description: "Of a topic's values: its name and -value." }),
});
const versionParams = Type.Object({
  ...subjectParams.properties,
  version: Type.String({ description: "A number from 1, or latest." }),
});
const idParams = Type.Object({ id: Type.String({ description: "As serializers put it before each record." }) });
const deletedQuery = Type.Object({
  deleted: Type.Optional(switchOf("Those too that were deleted, but not for good.")),
});
const permanentQuery = Type.Object({
  permanent: Type.Optional(switchOf("For good, of what was deleted without it before.")),
});
const defaultQuery = Type.Object({
  defaultToGlobal: Type.Optional(switchOf("Where the subject has none of its own: what holds for all.")),
});
const verboseQuery = Type.Object({ verbose: Type.Optional(switchOf("Tell why it is not compatible.")) });

const newSchemaBody = Type.Object({
  schema: Type.String({ description: "A schema as JSON text." }),
  schemaType: Type.Optional(
    Type.Union([Type.String(), Type.Null()], { description: `${schemaTypes.join(" or ")}. Default: AVRO.` }),
  ),
  references: Type.Optional(
    Type.Union(
      [Type.Array(Type.Object({ name: Type.String(), subject: Type.String(), version: Type.Integer() })), Type.Null()],
      { description: "Where that is which it uses and does not define: Avro's named types, what $ref names." },
    ),
  ),
  id: Type.Optional(Type.Union([Type.Integer(), Type.Null()], { description: "In mode IMPORT." })),
  version: Type.Optional(Type.Union([Type.Integer(), Type.Null()], { description: "In mode IMPORT." })),
});
const schemaExample = { schema: '{"type":"string"}' };
const compatibilityBody = Type.Object({ compatibility: Type.String({ description: compatibilityLevels.join(", ") }) });
const modeBody = Type.Object({ mode: Type.String({ description: modes.join(", ") }) });

/** A change asks for scope admin, except that whoever may produce may register what the records are written with. */
export function registryRoutes(context: GatewayContext): Route[] {
  const on = routeMaker(context);
  return [
    on("GET", "", "Whether there is a registry", {}, () => ({})),
    on("GET", "/schemas/types", "Kinds of schemas", {}, () => schemaTypes),
    on(
      "GET",
      "/schemas/ids/{id}",
      "A schema by its id",
      { params: idParams },
      async ({ registry, params, principal }) => {
        const { schemaType, schema, references } = await findById(registry, params.id, principal);
        return { ...typeMember(schemaType), schema, ...(references.length === 0 ? {} : { references }) };
      },
    ),
    on("GET", "/schemas/ids/{id}/schema", "A schema alone, by its id", { params: idParams }, async (call) =>
      asText((await findById(call.registry, call.params.id, call.principal)).schema),
    ),
    on(
      "GET",
      "/schemas/ids/{id}/subjects",
      "Subjects that have a schema",
      { params: idParams, query: deletedQuery },
      async (call) => [...new Set((await versionsOf(call)).map(({ subject }) => subject))],
    ),
    on(
      "GET",
      "/schemas/ids/{id}/versions",
      "Subjects that have a schema, and as which version",
      { params: idParams, query: deletedQuery },
      async (call) => (await versionsOf(call)).map(({ subject, version }) => ({ subject, version })),
    ),
    on("GET", "/subjects", "List subjects", { query: subjectsQuery }, async ({ registry, query, principal }) => {
      const subjects = await registry.subjects(isOn(query.deleted));
      const { subjectPrefix = "" } = query;
      return subjects.filter((subject) => subject.startsWith(subjectPrefix) && mayUseTopic(principal, subject));
    }),
    on(
      "GET",
      "/subjects/{subject}/versions",
      "Versions of a subject",
      { params: subjectParams, query: deletedQuery },
      async ({ registry, params, query }) =>
        (await registry.versions(params.subject, isOn(query.deleted))).map(({ version }) => version),
    ),
    on(
      "GET",
      "/subjects/{subject}/versions/{version}",
      "A version of a subject",
      { params: versionParams, query: deletedQuery },
      async ({ registry, params, query }) =>
        versionJson(await registry.version(params.subject, readVersion(params.version), isOn(query.deleted))),
    ),
    on(
      "GET",
      "/subjects/{subject}/versions/{version}/schema",
      "The schema alone",
      { params: versionParams, query: deletedQuery },
      async ({ registry, params, query }) =>
        asText((await registry.version(params.subject, readVersion(params.version), isOn(query.deleted))).schema),
    ),
    on(
      "GET",
      "/subjects/{subject}/versions/{version}/referencedby",
      "Ids of schemas that refer to a version",
      { params: versionParams },
      async ({ registry, params }) => [
        ...new Set((await registry.referencedBy(params.subject, readVersion(params.version))).map(({ id }) => id)),
      ],
    ),
    on(
      "POST",
      "/subjects/{subject}/versions",
      "Register a schema",
      { params: subjectParams, body: newSchemaBody, example: schemaExample },
      async ({ registry, params, body }) => ({ id: await registry.register(params.subject, readSchema(body)) }),
    ),
    on(
      "POST",
      "/subjects/{subject}",
      "Look a schema up",
      { params: subjectParams, query: deletedQuery, body: newSchemaBody, example: schemaExample },
      async ({ registry, params, query, body }) =>
        versionJson(await registry.lookUp(params.subject, readSchema(body), isOn(query.deleted))),
    ),
    on(
      "DELETE",
      "/subjects/{subject}",
      "Delete a subject",
      { params: subjectParams, query: permanentQuery },
      ({ registry, params, query }) => registry.deleteSubject(params.subject, isOn(query.permanent)),
    ),
    on(
      "DELETE",
      "/subjects/{subject}/versions/{version}",
      "Delete a version",
      { params: versionParams, query: permanentQuery },
      ({ registry, params, query }) =>
        registry.deleteVersion(params.subject, readVersion(params.version), isOn(query.permanent)),
    ),
    on(
      "POST",
      "/compatibility/subjects/{subject}/versions/{version}",
      "Check a schema against a version",
      { params: versionParams, query: verboseQuery, body: newSchemaBody, example: schemaExample },
      ({ registry, params, query, body }) =>
        checkCompatibility(registry, params.subject, readVersion(params.version), body, isOn(query.verbose)),
    ),
    on(
      "POST",
      "/compatibility/subjects/{subject}/versions",
      "Check a schema against all versions that its subject's level asks for",
      { params: subjectParams, query: verboseQuery, body: newSchemaBody, example: schemaExample },
      ({ registry, params, query, body }) =>
        checkCompatibility(registry, params.subject, "all", body, isOn(query.verbose)),
    ),
    ...configRoutes(on),
    ...modeRoutes(on),
  ];
}

const subjectsQuery = Type.Object({
  ...deletedQuery.properties,
  subjectPrefix: Type.Optional(Type.String({ description: "Only those that begin so." })),
});

type RouteMaker = ReturnType<typeof routeMaker>;

function configRoutes(on: RouteMaker): Route[] {
  const set = async (registry: SchemaRegistry, subject: string | null, body: Static<typeof compatibilityBody>) => {
    const level = readLevel(body.compatibility);
    await registry.setLevel(subject, level);
    return { compatibility: level };
  };
  return [
    on("GET", "/config", "The compatibility of all subjects", {}, async ({ registry }) => ({
      compatibilityLevel: await registry.level(null),
    })),
    on(
      "PUT",
      "/config",
      "Set the compatibility of all subjects",
      { body: compatibilityBody, example: { compatibility: "BACKWARD" } },
      ({ registry, body }) => set(registry, null, body),
    ),
    on(
      "GET",
      "/config/{subject}",
      "The compatibility of a subject",
      { params: subjectParams, query: defaultQuery },
      async ({ registry, params, query }) => {
        const own = await registry.level(params.subject);
        if (own !== null) return { compatibilityLevel: own };
        if (isOn(query.defaultToGlobal)) return { compatibilityLevel: await registry.level(null) };
        throw noLevel(params.subject);
      },
    ),
    on(
      "PUT",
      "/config/{subject}",
      "Set the compatibility of a subject",
      { params: subjectParams, body: compatibilityBody, example: { compatibility: "BACKWARD" } },
      ({ registry, params, body }) => set(registry, params.subject, body),
    ),
    on("DELETE", "/config/{subject}", "Put it back to that of all", { params: subjectParams }, async (call) => {
      const { registry, params } = call;
      const own = await registry.level(params.subject);
      if (own === null) throw noLevel(params.subject);
      await registry.setLevel(params.subject, null);
      return { compatibilityLevel: own };
    }),
  ];
}

const forceQuery = Type.Object({ force: Type.Optional(switchOf("Into IMPORT although there are schemas.")) });

function modeRoutes(on: RouteMaker): Route[] {
  return [
    on("GET", "/mode", "The mode of all subjects", {}, async ({ registry }) => ({ mode: await registry.mode(null) })),
    on(
      "PUT",
      "/mode",
      "Set it",
      { query: forceQuery, body: modeBody, example: { mode: "READWRITE" } },
      async ({ registry, query, body }) => {
        const mode = readMode(body.mode);
        await registry.setMode(null, mode, isOn(query.force));
        return { mode };
      },
    ),
    on(
      "GET",
      "/mode/{subject}",
      "The mode of a subject",
      { params: subjectParams, query: defaultQuery },
      async ({ registry, params, query }) => {
        const own = await registry.mode(params.subject);
        if (own !== null) return { mode: own };
        if (isOn(query.defaultToGlobal)) return { mode: await registry.mode(null) };
        throw noMode(params.subject);
      },
    ),
    on(
      "PUT",
      "/mode/{subject}",
      "Set the mode of a subject",
      { params: subjectParams, query: forceQuery, body: modeBody, example: { mode: "READWRITE" } },
      async ({ registry, params, query, body }) => {
        const mode = readMode(body.mode);
        await registry.setMode(params.subject, mode, isOn(query.force));
        return { mode };
      },
    ),
    on("DELETE", "/mode/{subject}", "Put it back to that of all", { params: subjectParams }, async (call) => {
      const { registry, params } = call;
      const own = await registry.mode(params.subject);
      if (own === null) throw noMode(params.subject);
      await registry.setMode(params.subject, null, false);
      return { mode: own };
    }),
  ];
}

const refusalSchema = Type.Object({
  error_code: Type.Integer({ description: "As Confluent's registry has it: 40401 for a subject that is not there." }),
  message: Type.String(),
});
const answers = {
  200: { description: "As Confluent's schema registry answers.", type: REGISTRY_TYPE },
  404: { description: "There is no such subject, version or schema.", type: REGISTRY_TYPE, schema: refusalSchema },
  409: { description: "The schema does not go with earlier ones.", type: REGISTRY_TYPE, schema: refusalSchema },
  422: { description: "A schema, version or setting is not valid.", type: REGISTRY_TYPE, schema: refusalSchema },
};

interface RegistryCall<Params, Query, Body> extends Pick<Call<Params, Query, Body>, "params" | "query" | "body"> {
  readonly registry: SchemaRegistry;
  readonly principal: Principal;
}

interface RouteSchemas<Params, Query, Body> {
  readonly params?: Params;
  readonly query?: Query;
  readonly body?: Body;
  readonly example?: unknown;
}

function routeMaker(context: GatewayContext) {
  return <
    Params extends TSchema | undefined = undefined,
    Query extends TSchema | undefined = undefined,
    Body extends TSchema | undefined = undefined,
  >(
    method: Route["method"],
    path: string,
    summary: string,
    { example, ...schemas }: RouteSchemas<Params, Query, Body>,
    answer: (call: RegistryCall<StaticOr<Params>, StaticOr<Query>, StaticOr<Body>>) => unknown,
  ): Route =>
    defineRoute<Params, Query, Body>({
      method,
      path: `${REGISTRY_PATH}${path}`,
      ...schemas,
      docs: {
        tag: "Schemas",
        summary,
        ...(example === undefined ? {} : { bodyExample: example }),
        answers,
      },
      handle: async ({ params, query, body, request, reply }) => {
        const { principal } = request;
        const subject = subjectIn(params);
        if (subject !== null) checkTopics(principal, [subject]);
        const registry = await context.schemas.registry();
        return sendRegistryAnswer(reply, async () => answer({ registry, params, query, body, principal }));
      },
    });
}

/** The text of a schema, which is JSON already. */
class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

function asText(schema: string): JsonText {
  return new JsonText(schema);
}

async function sendRegistryAnswer(reply: FastifyReply, answer: () => Promise<unknown>): Promise<FastifyReply> {
  reply.header("content-type", REGISTRY_TYPE);
  try {
    const answered = await answer();
    return reply.send(jsonBytes(answered instanceof JsonText ? answered.text : JSON.stringify(answered)));
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    const { httpStatus, errorCode, message } = error;
    return reply.code(httpStatus).send(jsonBytes(JSON.stringify({ error_code: errorCode, message })));
  }
}

/** To a text Fastify would add a charset, which JSON has no use for, and some clients compare the type with theirs. */
function jsonBytes(json: string): Buffer {
  return Buffer.from(json);
}

/** Any other refusal, for clients of a registry: they look for its code and text under names of their own. */
export function registryRefusal({ status, body }: ErrorAnswer): object {
  return { error_code: status, message: body.error, ...body };
}

export function isRegistryPath(url: string): boolean {
  return url === REGISTRY_PATH || url.startsWith(`${REGISTRY_PATH}/`);
}

function subjectIn(params: unknown): string | null {
  return typeof params === "object" && params !== null && "subject" in params ? String(params.subject) : null;
}

/** A key that is held to topics is not told of schemas that none of its subjects has. */
async function findById(registry: SchemaRegistry, id: string, principal: Principal): Promise<KnownSchema> {
  const number = /^\d{1,10}$/.test(id) ? Number(id) : null;
  const known = number === null ? null : await registry.schemaById(number);
  const isShown =
    known !== null && (principal.topicPrefixes.length === 0 || shownVersions(known, principal).length > 0);
  if (isShown) return known;
  throw new RegistryError("SCHEMA_NOT_FOUND", `Schema ${id} not found`);
}

function shownVersions({ versions }: KnownSchema, principal: Principal): SchemaVersion[] {
  return [...versions].filter(({ subject }) => mayUseTopic(principal, subject));
}

async function versionsOf({
  registry,
  params,
  query,
  principal,
}: RegistryCall<Static<typeof idParams>, Static<typeof deletedQuery>, unknown>): Promise<SchemaVersion[]> {
  const known = await findById(registry, params.id, principal);
  return shownVersions(known, principal).filter(({ isDeleted }) => isOn(query.deleted) || !isDeleted);
}

function versionJson({ subject, version, id, schemaType, schema, references }: SchemaVersion): object {
  const ofReferences = references.length === 0 ? {} : { references };
  return { subject, version, id, ...typeMember(schemaType), ...ofReferences, schema };
}

async function checkCompatibility(
  registry: SchemaRegistry,
  subject: string,
  against: Version | "all",
  body: Static<typeof newSchemaBody>,
  isVerbose: boolean,
): Promise<object> {
  const failed = await registry.check(subject, readSchema(body), against);
  const level = (await registry.level(subject)) ?? (await registry.level(null)) ?? "";
  const messages = failed.flatMap((incompatible) => describeIncompatible(incompatible, level));
  return { is_compatible: failed.length === 0, ...(isVerbose ? { messages } : {}) };
}

function readSchema({ schema, schemaType, references, id, version }: Static<typeof newSchemaBody>): NewSchema {
  const type = schemaTypes.find((known) => known === (schemaType ?? "AVRO"));
  if (type === undefined) {
    const known = schemaTypes.join(" and ");
    throw new RegistryError("INVALID_SCHEMA", `Invalid schema type ${schemaType}: this registry takes ${known}`);
  }
  return {
    schemaType: type,
    schema,
    references: references ?? [],
    ...(typeof id === "number" && id >= 0 ? { id } : {}),
    ...(typeof version === "number" && version >= 1 ? { version } : {}),
  };
}

function readVersion(text: string): Version {
  if (text === "latest" || text === "-1") return "latest";
  const version = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (version >= 1 && version <= VERSION_MAX) return version;
  const message = `The specified version '${text}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`;
  throw new RegistryError("INVALID_VERSION", message);
}

function readLevel(text: string): CompatibilityLevel {
  const level = compatibilityLevels.find((candidate) => candidate === text.toUpperCase());
  if (level !== undefined) return level;
  const message = `Invalid compatibility level. Valid values are ${compatibilityLevels.join(", ").toLowerCase()}`;
  throw new RegistryError("INVALID_COMPATIBILITY", message);
}

function readMode(text: string): Mode {
  const mode = modes.find((candidate) => candidate === text.toUpperCase());
  if (mode !== undefined) return mode;
  throw new RegistryError("INVALID_MODE", `Invalid mode. Valid values are ${modes.join(", ")}`);
}

function noLevel(subject: string): RegistryError {
  const message = `Subject '${subject}' does not have subject-level compatibility configured`;
  return new RegistryError("COMPATIBILITY_NOT_CONFIGURED", message);
}

function noMode(subject: string): RegistryError {
  return new RegistryError("MODE_NOT_CONFIGURED", `Subject '${subject}' does not have subject-level mode configured`);
}
