/**
 * One quota as it is kept: whom it is for, and how many bytes a second.
 *
 * Names are Kafka's. Source: org.apache.kafka.common.quota, KIP-546.
 */

import { KafkaError } from "@millrace/protocol";

const quotaNames = ["producer_byte_rate", "consumer_byte_rate"] as const;
export type QuotaName = (typeof quotaNames)[number];

const entityTypes = ["user", "client-id"] as const;
export type EntityType = (typeof entityTypes)[number];

/** Whom a quota is for. Left out: whoever. Null: those who have none of their own. At least one is there. */
export type QuotaEntity = Readonly<Partial<Record<EntityType, string | null>>>;

export interface ClientQuota {
  readonly entity: QuotaEntity;
  readonly values: Readonly<Partial<Record<QuotaName, number>>>;
}

/** An entity as the wire has it. */
export type WireEntity = readonly { readonly entityType: string; readonly entityName: string | null }[];

/** A part of a filter as the wire has it. */
export interface WireComponent {
  readonly entityType: string;
  readonly matchType: number;
  readonly match: string | null;
}

const MAX_NAME_LENGTH = 1024;

/** Kafka's quotas that are not kept here, and what there is instead. */
const REFUSED: Readonly<Record<string, string>> = {
  request_percentage:
    "a share of the broker's threads means nothing to a broker of one thread; limit producer_byte_rate and consumer_byte_rate",
  controller_mutation_rate: "topics are not made at a limited rate here; access control lists say who may make any",
  connection_creation_rate: "connections are limited by the broker's options maxConnections and maxConnectionsPerIp",
};

/** Throws INVALID_REQUEST for what nobody can be. */
export function entityOf(wire: WireEntity): QuotaEntity {
  const entity: Partial<Record<EntityType, string | null>> = {};
  for (const { entityType, entityName } of wire) {
    const type = entityTypeOf(entityType);
    if (type in entity) throw invalid(`${type} is given twice`);
    if (entityName === "") throw invalid(`the name of the ${type} is empty; null stands for the default`);
    if ((entityName?.length ?? 0) > MAX_NAME_LENGTH) {
      throw invalid(`the name of the ${type} is longer than ${MAX_NAME_LENGTH} characters`);
    }
    entity[type] = entityName;
  }
  if (wire.length === 0) throw invalid("a quota needs a user, a client-id, or both");
  return entity;
}

export function wireEntityOf(entity: QuotaEntity): { entityType: EntityType; entityName: string | null }[] {
  return entityTypes.flatMap((entityType) => {
    const entityName = entity[entityType];
    return entityName === undefined ? [] : [{ entityType, entityName }];
  });
}

/** Throws INVALID_REQUEST for a quota that is not kept here. */
export function quotaNameOf(key: string): QuotaName {
  const name = quotaNames.find((known) => known === key);
  if (name !== undefined) return name;
  const instead = REFUSED[key];
  throw invalid(
    instead === undefined
      ? `there is no quota ${key}; there are ${quotaNames.join(" and ")}`
      : `${key} is not kept here: ${instead}`,
  );
}

/** Throws INVALID_REQUEST for what is no rate. */
export function checkRate(name: QuotaName, value: number): number {
  if (Number.isFinite(value) && value >= 1) return value;
  throw invalid(`${name} is ${value}; it must be at least 1 byte a second`);
}

/** The same for entities that are the same. */
export function entityKey(entity: QuotaEntity): string {
  return JSON.stringify([entity.user ?? keyOf(entity.user), entity["client-id"] ?? keyOf(entity["client-id"])]);
}

/** No name is a number. */
function keyOf(name: null | undefined): number {
  return name === null ? 1 : 0;
}

const EXACT = 0;
const DEFAULT = 1;
const SPECIFIED = 2;

/** Which quotas a filter means. strict: none whose entity says more. Throws INVALID_REQUEST for a filter that means nothing. */
export function quotaMatcher(components: readonly WireComponent[], strict: boolean): (entity: QuotaEntity) => boolean {
  const seen = new Set<string>();
  const conditions = components.map(({ entityType, matchType, match }) => {
    if (seen.has(entityType)) throw invalid(`${entityType} is given twice`);
    seen.add(entityType);
    // Kafka knows quotas of addresses: whoever asks for some is told that there are none.
    if (entityType === "ip") return () => false;
    const type = entityTypeOf(entityType);
    if ((matchType === EXACT) !== (match !== null)) throw invalid(`the filter's ${type} does not fit its match type`);
    if (matchType === SPECIFIED) return (entity: QuotaEntity) => entity[type] !== undefined;
    if (matchType === EXACT || matchType === DEFAULT) return (entity: QuotaEntity) => entity[type] === match;
    throw invalid(`there is no match type ${matchType}`);
  });
  return (entity) =>
    (!strict || Object.keys(entity).length === conditions.length) && conditions.every((isMet) => isMet(entity));
}

/** A quota as quotas.json has it; null if it is none. */
export function readQuota(value: unknown): ClientQuota | null {
  if (typeof value !== "object" || value === null || !("entity" in value) || !("values" in value)) return null;
  const { entity, values } = value;
  if (!isRecord(entity) || !isRecord(values)) return null;
  const isEntity = Object.entries(entity).every(
    ([type, name]) => isOneOf(entityTypes, type) && (name === null || (typeof name === "string" && name !== "")),
  );
  const areValues = Object.entries(values).every(
    ([name, rate]) => isOneOf(quotaNames, name) && typeof rate === "number" && rate >= 1,
  );
  const isEmpty = Object.keys(entity).length === 0 || Object.keys(values).length === 0;
  return isEntity && areValues && !isEmpty ? { entity, values } : null;
}

function entityTypeOf(text: string): EntityType {
  const type = entityTypes.find((known) => known === text);
  if (type !== undefined) return type;
  const instead = text === "ip" ? `: ${REFUSED.connection_creation_rate}` : "";
  throw invalid(`quotas are for ${entityTypes.join(" and ")} here, not for ${text}${instead}`);
}

function isOneOf(names: readonly string[], name: string): boolean {
  return names.includes(name);
}

function isRecord(value: unknown): value is Readonly<Record<string, never>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(message: string): KafkaError {
  return new KafkaError("INVALID_REQUEST", message);
}
