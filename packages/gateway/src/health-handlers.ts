/** Health over HTTP: the probes, and the document's overview. */

import type { GatewayContext } from "./context.ts";
import { Type } from "./json-schema.ts";
import { defineRoute, type Route } from "./route.ts";
import { softwareVersion } from "./software.ts";

const aliveSchema = Type.Object({ alive: Type.Boolean() });
const readySchema = Type.Object({ ready: Type.Boolean() });
const statusSchema = Type.Union([Type.Literal("healthy"), Type.Literal("degraded"), Type.Literal("unhealthy")]);
const componentSchema = Type.Object({ status: statusSchema, message: Type.String() });
const healthSchema = Type.Object({
  status: statusSchema,
  version: Type.String(),
  uptimeMs: Type.Integer(),
  timestamp: Type.String(),
  components: Type.Object({ cluster: componentSchema, producer: componentSchema }),
});

export function healthRoutes(context: GatewayContext): Route[] {
  const { health, options } = context;
  const { clock } = options;
  const startedAtMs = clock.nowMs();
  const live = (path: string) =>
    defineRoute({
      method: "GET",
      path,
      docs: {
        tag: "Health",
        summary: "Whether the process answers",
        answers: { 200: { description: "It does.", schema: aliveSchema, example: { alive: true } } },
      },
      handle: () => ({ alive: true }),
    });
  const ready = (path: string) =>
    defineRoute({
      method: "GET",
      path,
      docs: {
        tag: "Health",
        summary: "Whether records can be taken",
        answers: {
          200: { description: "They can.", schema: readySchema, example: { ready: true } },
          503: {
            description: "No broker can be reached, the buffer is nearly full, or the server shuts down.",
            schema: readySchema,
          },
        },
      },
      handle: async ({ reply }) => {
        const isReady = await health.isReady();
        return reply.code(isReady ? 200 : 503).send({ ready: isReady });
      },
    });
  return [
    live("/health/live"),
    ready("/health/ready"),
    live("/api/health/live"),
    ready("/api/health/ready"),
    defineRoute({
      method: "GET",
      path: "/api/health",
      docs: {
        tag: "Health",
        summary: "How each part is doing",
        answers: {
          200: { description: "Healthy, or degraded: records are taken.", schema: healthSchema },
          503: { description: "Unhealthy: records cannot be taken.", schema: healthSchema },
        },
      },
      handle: async ({ reply }) => {
        const { status, components } = await health.report();
        return reply.code(status === "unhealthy" ? 503 : 200).send({
          status,
          version: softwareVersion,
          uptimeMs: Math.round(clock.nowMs() - startedAtMs),
          timestamp: new Date(clock.timestampMs()).toISOString(),
          components,
        });
      },
    }),
  ];
}
