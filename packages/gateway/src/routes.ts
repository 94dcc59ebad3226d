/** The table of all routes. */

import { aboutRoutes } from "./about-handlers.ts";
import type { GatewayContext } from "./context.ts";
import { healthRoutes } from "./health-handlers.ts";
import { messageRoutes } from "./message-handlers.ts";
import { produceRoutes } from "./produce-handlers.ts";
import type { Route } from "./route.ts";
import { topicRoutes } from "./topic-handlers.ts";

export function allRoutes(context: GatewayContext): Route[] {
  const routes = [
    ...produceRoutes(context),
    ...topicRoutes(context),
    ...messageRoutes(context),
    ...healthRoutes(context),
  ];
  return [...routes, ...aboutRoutes(context.metrics, routes)];
}

/** "/api/topics/{topic}" as Fastify writes it: "/api/topics/:topic". */
export function fastifyPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ":$1");
}

/** The methods that the table has for a request's path; [] if it has none of that path. */
export function methodsFor(routes: readonly Route[], path: string): string[] {
  const methods = routes.filter((route) => pattern(route.path).test(path)).map((route) => route.method);
  return [...new Set(methods.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method])))];
}

function pattern(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`);
}
