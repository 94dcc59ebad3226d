/** SchemaSource: where the schemas of records come from: the built-in registry, or another that speaks Confluent's REST API. */

import { type ReferencedSchema, SchemaRegistry as RemoteRegistry, SchemaRegistryError } from "@millrace/client/avro";
import { KafkaError } from "@millrace/protocol";
import { RequestError } from "../errors.ts";
import type { GatewayOptions } from "../options.ts";
import { RegistryError } from "./registry-errors.ts";
import type { SchemaType } from "./schema-kinds.ts";
import type { SchemaRegistry } from "./schema-registry.ts";

export interface FoundSchema {
  /** As the registry names it; another may have kinds that we do not know. */
  readonly schemaType: SchemaType | string;
  /** JSON text. */
  readonly schema: string;
  /** What it uses and does not define, each behind what that uses itself. */
  readonly referenced: readonly ReferencedSchema[];
}

/**
 * All reject with RequestError SCHEMA_NOT_FOUND, SCHEMA_INVALID or SCHEMA_REFUSED, or with KafkaError
 * SCHEMA_REGISTRY_FAILED, retriable where the registry, or the brokers behind it, cannot be reached.
 */
export interface SchemaSource {
  byId(id: number): Promise<FoundSchema>;
  /** Of the newest schema in a subject. */
  latestId(subject: string): Promise<number>;
  /** The id of a schema in a subject, to which it is added if it is not there. */
  register(subject: string, schemaType: SchemaType, schema: string): Promise<number>;
}

export function builtInSource(registry: SchemaRegistry): SchemaSource {
  return {
    byId: (id) =>
      refusing(async () => {
        const found = await registry.schemaById(id);
        return { schemaType: found.schemaType, schema: found.schema, referenced: registry.referenced(found) };
      }),
    latestId: (subject) => refusing(async () => (await registry.latest(subject)).id),
    register: (subject, schemaType, schema) =>
      refusing(() => registry.register(subject, { schemaType, schema, references: [] })),
  };
}

export function remoteSource(options: GatewayOptions): SchemaSource {
  const { schemaRegistry, schemaRegistryUsername, schemaRegistryPassword, schemaRegistryTimeoutMs } = options;
  const registry = new RemoteRegistry({
    url: schemaRegistry,
    ...(schemaRegistryUsername === null ? {} : { username: schemaRegistryUsername }),
    ...(schemaRegistryPassword === null ? {} : { password: schemaRegistryPassword }),
    timeoutMs: schemaRegistryTimeoutMs,
    clock: options.clock,
    random: options.random,
  });
  return {
    byId: (id) =>
      refusing(async () => {
        const { schemaType = "AVRO", schema, references } = await registry.schemaById(id);
        return { schemaType, schema, referenced: await registry.referenced(references) };
      }),
    latestId: (subject) => refusing(async () => (await registry.latest(subject)).id),
    register: (subject, schemaType, schema) =>
      refusing(() => registry.idOf(subject, { schemaType, schema, references: [] }, { autoRegister: true })),
  };
}

/** What a registry says of a schema, as what it means for the request that named it. */
async function refusing<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    const status = statusOf(error);
    const code = status === null ? undefined : refusals[status];
    if (code !== undefined && error instanceof Error) throw new RequestError(code, error.message, { cause: error });
    if (!(error instanceof RegistryError)) throw error;
    throw new KafkaError("SCHEMA_REGISTRY_FAILED", error.message, { retriable: true, cause: error });
  }
}

function statusOf(error: unknown): number | null {
  if (error instanceof RegistryError) return error.httpStatus;
  return error instanceof SchemaRegistryError ? error.status : null;
}

const refusals: Readonly<Record<number, "SCHEMA_NOT_FOUND" | "SCHEMA_INVALID" | "SCHEMA_REFUSED">> = {
  404: "SCHEMA_NOT_FOUND",
  409: "SCHEMA_REFUSED",
  422: "SCHEMA_INVALID",
};
