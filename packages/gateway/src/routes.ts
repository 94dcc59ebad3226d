/** The table of all routes. */

import { never } from "@millrace/base";
import { aboutRoutes } from "./about-handlers.ts";
import { asyncRoutes } from "./async/async-handlers.ts";
import type { RouteAccess } from "./auth/access-guard.ts";
import { keyRoutes } from "./auth/key-handlers.ts";
import type { GatewayContext } from "./context.ts";
import { healthRoutes } from "./health-handlers.ts";
import { messageRoutes } from "./message-handlers.ts";
import { produceRoutes } from "./produce-handlers.ts";
import { registryRoutes } from "./registry/registry-handlers.ts";
import type { Route } from "./route.ts";
import { topicBatchRoutes } from "./topic-batch-handlers.ts";
import { topicRoutes } from "./topic-handlers.ts";

export function allRoutes(context: GatewayContext): Route[] {
  const routes = [
    ...produceRoutes(context),
    ...asyncRoutes(context),
    ...topicRoutes(context),
    ...topicBatchRoutes(context),
    ...messageRoutes(context),
    ...keyRoutes(context),
    ...registryRoutes(context),
    ...healthRoutes(context),
  ];
  return [...routes, ...aboutRoutes(context.metrics, routes)];
}

/** What a key must be allowed for a route. */
export function accessOf(route: Route): RouteAccess {
  const isRead = route.method === "GET";
  switch (route.docs.tag) {
    case "Produce":
      return { scopes: ["produce"], isForAllTopics: false };
    case "Messages":
      return { scopes: [isRead ? "read" : "produce"], isForAllTopics: false };
    case "Topics":
      return { scopes: isRead ? ["read", "produce"] : ["admin"], isForAllTopics: false };
    case "Schemas":
      return schemaAccess(route);
    case "Keys":
      return { scopes: ["admin"], isForAllTopics: true };
    case "About":
      // Metrics name topics; the other pages say nothing that is not in the documentation.
      return { scopes: route.path === "/metrics" ? ["read"] : null, isForAllTopics: true };
    case "Health":
      return { scopes: null, isForAllTopics: false };
    default:
      return never(route.docs.tag);
  }
}

/** Who may produce may say what the records look like. Subjects are held to a key's prefixes as topics are. */
function schemaAccess({ method, path }: Route): RouteAccess {
  const isChange = method === "PUT" || method === "DELETE";
  const isRegistration = method === "POST" && path === "/schemas/subjects/{subject}/versions";
  const scopes = isChange
    ? (["admin"] as const)
    : isRegistration
      ? (["produce"] as const)
      : (["read", "produce"] as const);
  return { scopes, isForAllTopics: isChange && !path.includes("{subject}") };
}

/** "/api/topics/{topic}" as Fastify writes it: "/api/topics/:topic". */
export function fastifyPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ":$1");
}

/** The methods that the table has for a request's path; [] if it has none of that path. HEAD and OPTIONS come by themselves. */
export function methodsFor(routes: readonly Route[], path: string): string[] {
  const methods = routes.filter((route) => pattern(route.path).test(path)).map((route) => route.method);
  if (methods.length === 0) return [];
  return [...new Set([...methods.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method])), "OPTIONS"])];
}

function pattern(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`);
}
