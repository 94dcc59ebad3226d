/** openapi.json: the table of routes as an OpenAPI 3.1 document, whose schemas are those that check the requests. */

import { requestErrors } from "./errors.ts";
import type { AnswerDocs, Route } from "./route.ts";
import { errorSchema } from "./schemas.ts";
import { softwareVersion } from "./software.ts";

type Json = Readonly<Record<string, unknown>>;

const ERROR_REFERENCE = { $ref: "#/components/schemas/Error" };

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
    paths,
    components: { schemas: { Error: errorSchema } },
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
    parameters: [...parameters(route.params, "path"), ...parameters(route.query, "query")],
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
  return {
    ...(hasInput ? { 400: { description: "The request is not as it must be; nothing was done." } } : {}),
    ...(route.docs.bodyExample === undefined ? {} : { 413: { description: "The body is too large." } }),
  };
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
  const { bodyExample, rawTypes = [] } = route.docs;
  const json = { ...(route.body === undefined ? {} : { schema: route.body }), example: bodyExample };
  const raw = rawTypes.map(({ type, description }) => [type, { schema: { type: "string", description } }]);
  return { required: true, content: { "application/json": json, ...Object.fromEntries(raw) } };
}

function response(status: string, answer: AnswerDocs): Json {
  const schema = answer.schema ?? (Number(status) >= 400 ? ERROR_REFERENCE : undefined);
  if (schema === undefined && answer.type === undefined) return { description: answer.description };
  const content = {
    [answer.type ?? "application/json"]: {
      ...(schema === undefined ? {} : { schema }),
      ...(answer.example === undefined ? {} : { example: answer.example }),
    },
  };
  return { description: answer.description, content };
}
