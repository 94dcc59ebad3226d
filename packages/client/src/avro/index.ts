/** Avro for keys and values, with a schema registry: `@millrace/client/avro`. Needs the package avsc. */

export * from "./avro-serializer.ts";
export * from "./schema-registry.ts";
export * from "./subject-names.ts";
