/**
 * The records of the topic `_schemas`, as Confluent's registry writes and reads them: JSON in key and value, in a compacted
 * topic of one partition.
 *
 *     {"keytype":"SCHEMA","subject":"orders-value","version":1,"magic":1}   {"subject":…,"version":1,"id":1,"schema":"…","deleted":false}
 *     {"keytype":"DELETE_SUBJECT","subject":"orders-value","magic":0}       {"subject":…,"version":3}, the last one that is deleted
 *     {"keytype":"CONFIG","subject":null,"magic":0}                         {"compatibilityLevel":"FULL"}; null: for all subjects
 *     {"keytype":"MODE","subject":null,"magic":0}                           {"mode":"READONLY"}
 *
 * A record without a value takes away what its key stands for.
 */

import type { SchemaReference } from "@millrace/client/avro";
import { type SchemaType, schemaTypes, typeMember } from "./schema-kinds.ts";

export const SCHEMAS_TOPIC = "_schemas";

export const compatibilityLevels = [
  "NONE",
  "BACKWARD",
  "FORWARD",
  "FULL",
  "BACKWARD_TRANSITIVE",
  "FORWARD_TRANSITIVE",
  "FULL_TRANSITIVE",
] as const;
export type CompatibilityLevel = (typeof compatibilityLevels)[number];

export const modes = ["READWRITE", "READONLY", "READONLY_OVERRIDE", "IMPORT"] as const;
export type Mode = (typeof modes)[number];

/** A schema in a subject. */
export interface SchemaVersion {
  readonly subject: string;
  readonly version: number;
  readonly id: number;
  readonly schemaType: SchemaType;
  /** JSON text, as it was registered. */
  readonly schema: string;
  readonly references: readonly SchemaReference[];
  /** Can be had back, until it is deleted for good. */
  readonly isDeleted: boolean;
}

export type RegistryRecord =
  | {
      readonly kind: "schema";
      readonly subject: string;
      readonly version: number;
      readonly stored: SchemaVersion | null;
    }
  | { readonly kind: "deleteSubject"; readonly subject: string; readonly version: number | null }
  | { readonly kind: "config"; readonly subject: string | null; readonly level: CompatibilityLevel | null }
  | { readonly kind: "mode"; readonly subject: string | null; readonly mode: Mode | null };

/** Key and value of a record in the topic. */
export interface RecordTexts {
  readonly key: string;
  readonly value: string | null;
}

export function encodeRecord(record: RegistryRecord): RecordTexts {
  const { subject } = record;
  switch (record.kind) {
    case "schema": {
      const { version, stored } = record;
      return texts({ keytype: "SCHEMA", subject, version, magic: 1 }, stored === null ? null : schemaValue(stored));
    }
    case "deleteSubject": {
      const { version } = record;
      return texts({ keytype: "DELETE_SUBJECT", subject, magic: 0 }, version === null ? null : { subject, version });
    }
    case "config": {
      const value = record.level === null ? null : { subject, compatibilityLevel: record.level };
      return texts({ keytype: "CONFIG", subject, magic: 0 }, value);
    }
    case "mode": {
      const value = record.mode === null ? null : { subject, mode: record.mode };
      return texts({ keytype: "MODE", subject, magic: 0 }, value);
    }
  }
}

function texts(key: object, value: object | null): RecordTexts {
  return { key: JSON.stringify(key), value: value === null ? null : JSON.stringify(value) };
}

function schemaValue({ subject, version, id, schemaType, schema, references, isDeleted }: SchemaVersion): object {
  return {
    subject,
    version,
    id,
    ...typeMember(schemaType),
    ...(references.length === 0 ? {} : { references }),
    schema,
    deleted: isDeleted,
  };
}

/**
 * Null for records that say nothing to us: markers of Confluent's own, schemas of a kind that we do not know.
 *
 * Throws for what is no record of a registry: anybody who may produce to the topic may have written it.
 */
export function decodeRecord(key: Buffer | null, value: Buffer | null): RegistryRecord | null {
  const about = parseObject(key);
  const body = value === null ? null : parseObject(value);
  switch (about.keytype) {
    case "SCHEMA": {
      const subject = textIn(about, "subject");
      const version = countIn(about, "version");
      if (body === null) return { kind: "schema", subject, version, stored: null };
      const schemaType = oneOf(schemaTypes, body.schemaType ?? "AVRO");
      if (schemaType === null) return null;
      return { kind: "schema", subject, version, stored: storedIn(body, { subject, version, schemaType }) };
    }
    case "DELETE_SUBJECT": {
      const version = body === null ? null : countIn(body, "version");
      return { kind: "deleteSubject", subject: textIn(about, "subject"), version };
    }
    case "CONFIG": {
      const level = body?.compatibilityLevel;
      return { kind: "config", subject: subjectIn(about), level: oneOf(compatibilityLevels, level) };
    }
    case "MODE":
      return { kind: "mode", subject: subjectIn(about), mode: oneOf(modes, body?.mode) };
    default:
      return null;
  }
}

type Members = Readonly<Record<string, unknown>>;

function storedIn(body: Members, known: Pick<SchemaVersion, "subject" | "version" | "schemaType">): SchemaVersion {
  const references = Array.isArray(body.references) ? body.references.map(referenceIn) : [];
  const id = countIn(body, "id");
  return { ...known, id, schema: textIn(body, "schema"), references, isDeleted: body.deleted === true };
}

function referenceIn(given: unknown): SchemaReference {
  const members = asMembers(given);
  return { name: textIn(members, "name"), subject: textIn(members, "subject"), version: countIn(members, "version") };
}

function parseObject(bytes: Buffer | null): Members {
  return asMembers(bytes === null ? null : JSON.parse(bytes.toString("utf8")));
}

function asMembers(parsed: unknown): Members {
  if (typeof parsed === "object" && parsed !== null) return parsed as Members; // an object has members of any name
  throw new TypeError("expected a JSON object");
}

function textIn(members: Members, name: string): string {
  const value = members[name];
  if (typeof value === "string") return value;
  throw new TypeError(`expected a text as ${name}`);
}

function countIn(members: Members, name: string): number {
  const value = members[name];
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) return value;
  throw new TypeError(`expected a whole number as ${name}`);
}

function subjectIn(members: Members): string | null {
  return typeof members.subject === "string" ? members.subject : null;
}

function oneOf<T extends string>(choices: readonly T[], value: unknown): T | null {
  return choices.find((choice) => choice === value) ?? null;
}
