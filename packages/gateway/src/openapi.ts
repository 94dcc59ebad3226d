/** openapi.json: the table of routes as an OpenAPI 3.1 document, whose schemas are those that check the requests. */

import { requestErrors } from "./errors.ts";
import type { AnswerDocs, Route } from "./route.ts";
import { errorSchema, problemSchema } from "./schemas.ts";
import { softwareVersion } from "./software.ts";

type Json = Readonly<Record<string, unknown>>;

const ERROR_REFERENCE = { $ref: "#/components/schemas/Error" };
const PROBLEM_REFERENCE = { $ref: "#/components/schemas/Problem" };
/** A key in one of two headers; or none, where the server asks for none. */
const SECURITY = [{ bearer: [] }, { apiKey: [] }, {}];

export function openApiDocument(routes: readonly Route[]): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Millrace HTTP Producer API",
      version: softwareVersion,
      description: `Errors of requests carry one of Kafka's codes or of these: ${Object.keys(requestErrors).join(", ")}.`,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: SECURITY,
    paths,
    components: {
      schemas: { Error: errorSchema, Problem: problemSchema },
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        apiKey: { type: "apiKey", in: "header", name: "X-API-Key" },
      },
    },
  };
}

function operation(route: Route): Json {
  const { docs } = route;
  const answers: Readonly<Record<number, AnswerDocs>> = { ...commonAnswers(route), ...docs.answers };
  return {
    operationId: operationId(route),
    tags: [docs.tag],
    summary: docs.summary,
    ...(docs.description === undefined ? {} : { description: docs.description }),
    ...(docs.tag === "Health" ? { security: [] } : {}),
    parameters: [
      ...parameters(route.params, "path"),
      ...parameters(route.query, "query"),
      ...headerParameters(docs.requestHeaders),
    ],
    ...(docs.bodyExample === undefined ? {} : { requestBody: requestBody(route) }),
    responses: Object.fromEntries(
      Object.entries(answers).map(([status, answer]) => [status, response(status, answer)]),
    ),
  };
}

/** "POST /api/topics/{topic}/produce" → "postApiTopicsTopicProduce". */
function operationId(route: Route): string {
  const words = route.path.split(/[^a-zA-Z]+/).filter((word) => word !== "");
  return route.method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
}

function commonAnswers(route: Route): Readonly<Record<number, AnswerDocs>> {
  const hasInput = route.query !== undefined || route.docs.bodyExample !== undefined;
  const isOpen = route.docs.tag === "Health";
  return {
    ...(isOpen ? {} : admissionAnswers),
    ...(hasInput ? { 400: { description: "The request is not as it must be; nothing was done." } } : {}),
    ...(route.docs.bodyExample === undefined ? {} : { 413: { description: "The body is too large." } }),
  };
}

/** What may come before the route itself is asked. */
const admissionAnswers: Readonly<Record<number, AnswerDocs>> = {
  401: { description: "The server asks for an API key; there is none, or it is not valid." },
  403: { description: "The key may not do this; or a web page from elsewhere asks." },
  429: { description: "The key sends more than it may.", headers: { "Retry-After": "Seconds to wait." } },
  503: { description: "Too much is under way, or no broker can be reached.", headers: { "Retry-After": "Seconds." } },
};

function headerParameters(headers: Readonly<Record<string, string>> = {}): Json[] {
  return Object.entries(headers).map(([name, description]) => {
    return { name, in: "header", required: false, description, schema: { type: "string" } };
  });
}

function parameters(schema: Route["query"], where: "path" | "query"): Json[] {
  if (schema === undefined || !("properties" in schema)) return [];
  const required = "required" in schema && Array.isArray(schema.required) ? schema.required : [];
  return Object.entries(schema.properties as Readonly<Record<string, Json>>).map(([name, property]) => {
    const { description, ...rest } = property;
    return { name, in: where, required: required.includes(name), description, schema: rest };
  }); // an object schema's properties are schemas
}

function requestBody(route: Route): Json {
  const { bodyExample, bodySchema = route.body, rawTypes = [] } = route.docs;
  const json = { ...(bodySchema === undefined ? {} : { schema: bodySchema }), example: bodyExample };
  const raw = rawTypes.map(({ type, description }) => [type, { schema: { type: "string", description } }]);
  return { required: true, content: { "application/json": json, ...Object.fromEntries(raw) } };
}

function response(status: string, { description, schema, type, example, headers = {} }: AnswerDocs): Json {
  const isError = Number(status) >= 400;
  const shape = schema ?? (isError ? ERROR_REFERENCE : undefined);
  const named = Object.entries(headers).map(([name, meaning]) => [
    name,
    { description: meaning, schema: { type: "string" } },
  ]);
  const about = { description, ...(named.length === 0 ? {} : { headers: Object.fromEntries(named) }) };
  if (shape === undefined && type === undefined) return about;
  const content = {
    [type ?? "application/json"]: {
      ...(shape === undefined ? {} : { schema: shape }),
      ...(example === undefined ? {} : { example }),
    },
    ...(isError && schema === undefined ? { "application/problem+json": { schema: PROBLEM_REFERENCE } } : {}),
  };
  return { ...about, content };
}
