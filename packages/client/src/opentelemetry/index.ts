/** OpenTelemetry traces of what a producer sends: `@millrace/client/opentelemetry`. Needs the package @opentelemetry/api. */

export * from "./produce-request-spans.ts";
export * from "./trace-context.ts";
export * from "./traced-producer.ts";
