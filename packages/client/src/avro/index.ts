/** Avro for keys and values, with a schema registry: `@millrace/client/avro`. Needs the package avsc. */

export * from "./avro-serializer.ts";
export {
  type HttpFetch,
  type LatestSchema,
  type ReferencedSchema,
  type SchemaReference,
  SchemaRegistry,
  type SchemaRegistryConfig,
  SchemaRegistryError,
  type StoredSchema,
} from "./schema-registry.ts";
export type { SubjectNameFunction, SubjectNameStrategy } from "./subject-names.ts";
