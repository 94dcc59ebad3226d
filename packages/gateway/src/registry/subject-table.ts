/** SubjectTable: what the records of `_schemas` add up to: subjects with their versions, schemas by id, and settings. */

import type { SchemaReference } from "@millrace/client/avro";
import type { CompatibilityLevel, Mode, RegistryRecord, SchemaVersion } from "./registry-records.ts";
import { schemaFingerprint } from "./schema-fingerprint.ts";
import type { SchemaType } from "./schema-kinds.ts";

/** A schema, whichever subjects have it. */
export interface KnownSchema {
  readonly id: number;
  readonly schemaType: SchemaType;
  readonly schema: string;
  readonly references: readonly SchemaReference[];
  readonly fingerprint: string;
  /** Where it is, deleted ones included. */
  readonly versions: Set<SchemaVersion>;
}

export class SubjectTable {
  readonly #subjects = new Map<string, Map<number, SchemaVersion>>();
  readonly #schemas = new Map<number, KnownSchema>();
  readonly #ids = new Map<string, number>();
  readonly #levels = new Map<string | null, CompatibilityLevel>();
  readonly #modes = new Map<string | null, Mode>();
  readonly #watchers = new Set<(stored: SchemaVersion) => void>();
  #highestId = 0;

  /** Of a new schema. Never one that was given before, as far as the log tells. */
  get nextId(): number {
    return this.#highestId + 1;
  }

  /** Tells of each version that is added from now on. Returns what ends that. */
  watch(onVersion: (stored: SchemaVersion) => void): () => void {
    this.#watchers.add(onVersion);
    return () => this.#watchers.delete(onVersion);
  }

  apply(record: RegistryRecord): void {
    switch (record.kind) {
      case "schema":
        this.#remove(record.subject, record.version);
        if (record.stored === null) return;
        this.#add(record.stored);
        for (const onVersion of this.#watchers) onVersion(record.stored);
        return;
      case "deleteSubject":
        for (const stored of this.versions(record.subject)) {
          if (stored.isDeleted || stored.version > (record.version ?? -1)) continue;
          this.#remove(stored.subject, stored.version);
          this.#add({ ...stored, isDeleted: true });
        }
        return;
      case "config":
        setOrDelete(this.#levels, record.subject, record.level);
        return;
      case "mode":
        setOrDelete(this.#modes, record.subject, record.mode);
        return;
    }
  }

  /** In the order of their names. */
  subjects(): string[] {
    return [...this.#subjects.keys()].sort();
  }

  /** Of a subject, deleted ones included, the oldest first. */
  versions(subject: string): SchemaVersion[] {
    return [...(this.#subjects.get(subject)?.values() ?? [])].sort((a, b) => a.version - b.version);
  }

  version(subject: string, version: number): SchemaVersion | undefined {
    return this.#subjects.get(subject)?.get(version);
  }

  schema(id: number): KnownSchema | undefined {
    return this.#schemas.get(id);
  }

  schemaBy(fingerprint: string): KnownSchema | undefined {
    return this.#schemas.get(this.#ids.get(fingerprint) ?? -1);
  }

  schemas(): Iterable<KnownSchema> {
    return this.#schemas.values();
  }

  /** subject: null for what holds for all that have none of their own. */
  level(subject: string | null): CompatibilityLevel | undefined {
    return this.#levels.get(subject);
  }

  mode(subject: string | null): Mode | undefined {
    return this.#modes.get(subject);
  }

  #add(stored: SchemaVersion): void {
    const { subject, version, id, schemaType, schema, references } = stored;
    const versions = this.#subjects.get(subject) ?? new Map<number, SchemaVersion>();
    this.#subjects.set(subject, versions.set(version, stored));
    this.#highestId = Math.max(this.#highestId, id);
    let known = this.#schemas.get(id);
    if (known === undefined) {
      const fingerprint = schemaFingerprint(stored);
      known = { id, schemaType, schema, references, fingerprint, versions: new Set() };
      this.#schemas.set(id, known);
      if (!this.#ids.has(known.fingerprint)) this.#ids.set(known.fingerprint, id);
    }
    known.versions.add(stored);
  }

  #remove(subject: string, version: number): void {
    const stored = this.version(subject, version);
    const versions = this.#subjects.get(subject);
    if (stored === undefined || versions === undefined) return;
    versions.delete(version);
    if (versions.size === 0) this.#subjects.delete(subject);
    const known = this.#schemas.get(stored.id);
    known?.versions.delete(stored);
    if (known === undefined || known.versions.size > 0) return;
    this.#schemas.delete(known.id);
    if (this.#ids.get(known.fingerprint) === known.id) this.#ids.delete(known.fingerprint);
  }
}

function setOrDelete<Key, Value>(map: Map<Key, Value>, key: Key, value: Value | null): void {
  if (value === null) map.delete(key);
  else map.set(key, value);
}
