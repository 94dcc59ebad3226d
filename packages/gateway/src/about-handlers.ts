/** What the server says about itself: its routes for programs and for people. */

import { docsPage } from "./docs-page.ts";
import type { Metrics } from "./metrics.ts";
import { openApiDocument } from "./openapi.ts";
import { defineRoute, type Route } from "./route.ts";

/** routes: all others. */
export function aboutRoutes(metrics: Metrics, routes: readonly Route[]): Route[] {
  const about: Route[] = [
    defineRoute({
      method: "GET",
      path: "/openapi.json",
      docs: {
        tag: "About",
        summary: "This API as an OpenAPI 3.1 document",
        answers: { 200: { description: "The document." } },
      },
      handle: () => document(),
    }),
    defineRoute({
      method: "GET",
      path: "/docs",
      docs: {
        tag: "About",
        summary: "This API as a page",
        answers: { 200: { description: "The page.", type: "text/html" } },
      },
      handle: ({ request, reply }) => {
        const url = `${request.protocol}://${request.host}`;
        // The page runs no script, and says so to the browser.
        reply.header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'");
        return reply.header("content-type", "text/html; charset=utf-8").send(docsPage([...routes, ...about], url));
      },
    }),
    defineRoute({
      method: "GET",
      path: "/metrics",
      docs: {
        tag: "About",
        summary: "Metrics for Prometheus",
        answers: { 200: { description: "Prometheus' text form.", type: "text/plain" } },
      },
      handle: async ({ reply }) => reply.header("content-type", metrics.contentType).send(await metrics.text()),
    }),
  ];
  let made: ReturnType<typeof openApiDocument> | null = null;
  const document = () => {
    made ??= openApiDocument([...routes, ...about]);
    return made;
  };
  return about;
}
