/** SchemaRegistry: the built-in one: what Confluent's does, for Avro and JSON schemas, with the topic `_schemas` as its storage. */

import type { ReferencedSchema, SchemaReference } from "@millrace/client/avro";
import { KafkaError } from "@millrace/protocol";
import { describeIncompatible, type IncompatibleVersion } from "./incompatible-version.ts";
import { RegistryError } from "./registry-errors.ts";
import type { CompatibilityLevel, Mode, SchemaVersion } from "./registry-records.ts";
import { schemaFingerprint } from "./schema-fingerprint.ts";
import type { Incompatibility, ParsedSchema, SchemaParser, SchemaType } from "./schema-kinds.ts";
import { SchemaLog, type SchemaLogParts } from "./schema-log.ts";
import { parserOf } from "./schema-parsers.ts";
import { type KnownSchema, SubjectTable } from "./subject-table.ts";

const DEFAULT_LEVEL: CompatibilityLevel = "BACKWARD";
const DEFAULT_MODE: Mode = "READWRITE";
/** Versions of one subject, deleted ones included: compatibility may have to look at all of them. */
const VERSIONS_LIMIT = 1_000;
/** Deeper references than any real schema has: they would go round in a circle. */
const REFERENCE_DEPTH_LIMIT = 32;
/** How often a registration begins again because another registry wrote at the same time. */
const CONFLICTS_LIMIT = 5;

export interface NewSchema {
  readonly schemaType: SchemaType;
  readonly schema: string;
  readonly references: readonly SchemaReference[];
  /** Given by who copies a registry, while its mode is IMPORT. */
  readonly id?: number;
  readonly version?: number;
}

export type Version = number | "latest";

/** A schema that is to be compared with others of its kind, which parse reads. */
interface Candidate {
  readonly schemaType: SchemaType;
  readonly parsed: ParsedSchema;
  readonly parse: SchemaParser;
}

/**
 * Every call first reads what the log has got meanwhile: several gateways over one cluster tell the same. Changes are made
 * one after the other.
 *
 * All methods reject with RegistryError; STORE_FAILED where the brokers do not do their part.
 */
export class SchemaRegistry {
  readonly #log: SchemaLog;
  #table = new SubjectTable();
  #lastChange: Promise<unknown> = Promise.resolve();
  #isLoaded = false;

  constructor(parts: Omit<SchemaLogParts, "onRecord">) {
    this.#log = new SchemaLog({
      ...parts,
      onRecord: (record) => {
        if (record === null) this.#table = new SubjectTable();
        else this.#table.apply(record);
      },
    });
  }

  /** May be called twice. */
  close(): Promise<void> {
    return this.#log.close();
  }

  async subjects(hasDeleted: boolean): Promise<string[]> {
    const table = await this.#current();
    return table.subjects().filter((subject) => hasDeleted || this.#live(subject).length > 0);
  }

  async versions(subject: string, hasDeleted: boolean): Promise<readonly SchemaVersion[]> {
    const table = await this.#current();
    const versions = hasDeleted ? table.versions(subject) : this.#live(subject);
    if (versions.length === 0) throw noSubject(subject);
    return versions;
  }

  async version(subject: string, version: Version, hasDeleted = false): Promise<SchemaVersion> {
    await this.#current();
    return this.#find(subject, version, hasDeleted);
  }

  async schemaById(id: number): Promise<KnownSchema> {
    // What an id stands for never changes: only for one that is not known the log must be asked.
    const schema = this.#table.schema(id) ?? (await this.#current()).schema(id);
    if (schema === undefined) throw new RegistryError("SCHEMA_NOT_FOUND", `Schema ${id} not found`);
    return schema;
  }

  /** The version of a subject that has this schema. */
  async lookUp(subject: string, wanted: NewSchema, hasDeleted: boolean): Promise<SchemaVersion> {
    const parse = await parserOf(wanted.schemaType);
    const table = await this.#current();
    parse(wanted.schema, this.referenced(wanted));
    const versions = hasDeleted ? table.versions(subject) : this.#live(subject);
    if (versions.length === 0) throw noSubject(subject);
    const fingerprint = schemaFingerprint(wanted);
    const found = versions.findLast((version) => this.#isSame(version, fingerprint));
    if (found === undefined) throw new RegistryError("SCHEMA_NOT_FOUND", "Schema not found");
    return found;
  }

  /** The newest schema of a subject, as far as it is known here: without asking the brokers, once they were asked. */
  async latest(subject: string): Promise<SchemaVersion> {
    if (!this.#isLoaded || this.#live(subject).length === 0) await this.#current();
    return this.#find(subject, "latest", false);
  }

  /** The schemas that one refers to, each behind those that it refers to itself. */
  referenced({ references }: Pick<KnownSchema, "references">): readonly ReferencedSchema[] {
    return this.#resolve(references);
  }

  /** Versions that refer to this one. */
  async referencedBy(subject: string, version: Version): Promise<readonly SchemaVersion[]> {
    await this.#current();
    return this.#referrers(this.#find(subject, version, true));
  }

  /** Adds a schema as the next version, unless the subject has it already. Returns its id. */
  async register(subject: string, schema: NewSchema): Promise<number> {
    checkSubject(subject);
    const parse = await parserOf(schema.schemaType);
    return this.#change(async () => {
      for (let attempt = 0; attempt < CONFLICTS_LIMIT; attempt++) {
        const stored = this.#prepare(subject, schema, parse);
        if (this.#table.version(subject, stored.version) === stored || (await this.#store(stored))) return stored.id;
        await this.#log.catchUp();
      }
      throw new RegistryError(
        "STORE_FAILED",
        "another schema registry writes to the same topic; let one of them write",
      );
    });
  }

  /** Against one version, or "all" that the subject's level asks for. Empty if it is compatible. */
  async check(subject: string, schema: NewSchema, against: Version | "all"): Promise<readonly IncompatibleVersion[]> {
    const parse = await parserOf(schema.schemaType);
    await this.#current();
    const parsed = parse(schema.schema, this.referenced(schema));
    const level = this.#level(subject);
    const versions = against === "all" ? this.#comparedVersions(subject, level) : [this.#find(subject, against, false)];
    return this.#incompatibleVersions({ schemaType: schema.schemaType, parsed, parse }, versions, level);
  }

  /** Returns the versions that were deleted. isPermanent: of a subject that is deleted already, for good. */
  async deleteSubject(subject: string, isPermanent: boolean): Promise<number[]> {
    return this.#change(async () => {
      const all = this.#table.versions(subject);
      const live = this.#live(subject);
      const newest = live.at(-1);
      this.#checkWritable(subject);
      if (all.length === 0) throw noSubject(subject);
      if (isPermanent) {
        if (newest !== undefined) {
          const message = `Subject '${subject}' was not deleted first before being permanently deleted`;
          throw new RegistryError("SUBJECT_NOT_SOFT_DELETED", message);
        }
        for (const { version } of all) await this.#log.append({ kind: "schema", subject, version, stored: null });
        await this.#log.append({ kind: "deleteSubject", subject, version: null });
        return all.map(({ version }) => version);
      }
      if (newest === undefined) {
        const message = `Subject '${subject}' was soft deleted. Set permanent=true to delete permanently`;
        throw new RegistryError("SUBJECT_SOFT_DELETED", message);
      }
      for (const version of live) this.#checkUnreferenced(version);
      await this.#log.append({ kind: "deleteSubject", subject, version: newest.version });
      if (this.#table.level(subject) !== undefined) await this.#log.append({ kind: "config", subject, level: null });
      if (this.#table.mode(subject) !== undefined) await this.#log.append({ kind: "mode", subject, mode: null });
      return live.map(({ version }) => version);
    });
  }

  async deleteVersion(subject: string, version: Version, isPermanent: boolean): Promise<number> {
    return this.#change(async () => {
      this.#checkWritable(subject);
      const stored = this.#find(subject, version, true);
      const name = `Subject '${subject}' Version ${stored.version}`;
      if (isPermanent && !stored.isDeleted) {
        const message = `${name} was not deleted first before being permanently deleted`;
        throw new RegistryError("VERSION_NOT_SOFT_DELETED", message);
      }
      if (!isPermanent && stored.isDeleted) {
        const message = `${name} was soft deleted. Set permanent=true to delete permanently`;
        throw new RegistryError("VERSION_SOFT_DELETED", message);
      }
      this.#checkUnreferenced(stored);
      const left = isPermanent ? null : { ...stored, isDeleted: true };
      await this.#log.append({ kind: "schema", subject, version: stored.version, stored: left });
      return stored.version;
    });
  }

  /** Null where the subject has none of its own. Without a subject: what holds for all that have none. */
  async level(subject: string | null): Promise<CompatibilityLevel | null> {
    const table = await this.#current();
    return table.level(subject) ?? (subject === null ? DEFAULT_LEVEL : null);
  }

  async setLevel(subject: string | null, level: CompatibilityLevel | null): Promise<void> {
    if (subject !== null) checkSubject(subject);
    await this.#change(() => this.#log.append({ kind: "config", subject, level }));
  }

  async mode(subject: string | null): Promise<Mode | null> {
    const table = await this.#current();
    return table.mode(subject) ?? (subject === null ? DEFAULT_MODE : null);
  }

  /** isForced: into IMPORT although there are schemas already. */
  async setMode(subject: string | null, mode: Mode | null, isForced: boolean): Promise<void> {
    if (subject !== null) checkSubject(subject);
    await this.#change(async () => {
      const existing = subject === null ? this.#table.subjects().filter((name) => this.#live(name).length > 0) : [];
      const isEmpty = subject === null ? existing.length === 0 : this.#live(subject).length === 0;
      if (mode === "IMPORT" && !isEmpty && !isForced) {
        throw new RegistryError("NOT_PERMITTED", "Cannot import since found existing subjects; force=true does it");
      }
      await this.#log.append({ kind: "mode", subject, mode });
    });
  }

  /** What there is now. While brokers are away, what there was. */
  async #current(): Promise<SubjectTable> {
    try {
      await this.#log.catchUp();
      this.#isLoaded = true;
    } catch (error) {
      if (!this.#isLoaded) throw storeFailed(error);
    }
    return this.#table;
  }

  /** One after the other, each on what is in the log when its turn comes. */
  #change<T>(work: () => Promise<T>): Promise<T> {
    const changed = this.#lastChange.then(async () => {
      try {
        await this.#log.catchUp();
        this.#isLoaded = true;
        return await work();
      } catch (error) {
        throw error instanceof KafkaError ? storeFailed(error) : error;
      }
    });
    this.#lastChange = changed.catch(() => {});
    return changed;
  }

  /** The version that a registration leads to: one that is there, or a new one. */
  #prepare(subject: string, wanted: NewSchema, parse: SchemaParser): SchemaVersion {
    const { schemaType, schema, references, id, version } = wanted;
    const mode = this.#checkWritable(subject);
    const parsed = parse(schema, this.referenced(wanted));
    const fingerprint = schemaFingerprint(wanted);
    const found = this.#live(subject).find((stored) => this.#isSame(stored, fingerprint));
    if (found !== undefined && (id === undefined || id === found.id)) return found;
    if (id !== undefined && mode !== "IMPORT") {
      throw new RegistryError("NOT_PERMITTED", `Subject ${subject} is not in import mode`);
    }
    const versions = this.#table.versions(subject);
    if (versions.length >= VERSIONS_LIMIT) {
      throw new RegistryError("NOT_PERMITTED", `Subject ${subject} has ${VERSIONS_LIMIT} versions; no more are taken`);
    }
    if (mode === "IMPORT") this.#checkImportedId(id, fingerprint);
    else this.#checkCompatible(subject, { schemaType, parsed, parse });
    return {
      subject,
      version: version ?? (versions.at(-1)?.version ?? 0) + 1,
      id: id ?? this.#table.schemaBy(fingerprint)?.id ?? this.#table.nextId,
      schemaType,
      schema,
      references,
      isDeleted: false,
    };
  }

  /**
   * Writes a new version. False if another registry wrote what does not go with it between our look at the log and our
   * record: it was first, so what it wrote is put back, and ours has to begin again.
   */
  async #store(stored: SchemaVersion): Promise<boolean> {
    const { subject, version } = stored;
    const before = this.#log.position;
    const table = this.#table;
    const meanwhile: SchemaVersion[] = [];
    const stop = table.watch((seen) => meanwhile.push(seen));
    try {
      const offset = await this.#log.append({ kind: "schema", subject, version, stored });
      if (offset === before) return true;
    } finally {
      stop();
    }
    const fingerprint = schemaFingerprint(stored);
    const isOurs = (seen: SchemaVersion) => seen.id === stored.id && this.#isSame(seen, fingerprint);
    const rival = meanwhile.find((seen) => !isOurs(seen) && (seen.id === stored.id || isSamePlace(seen, stored)));
    if (rival === undefined) return true;
    await this.#log.append({ kind: "schema", subject, version, stored: isSamePlace(rival, stored) ? rival : null });
    return false;
  }

  #checkWritable(subject: string): Mode {
    const mode = this.#table.mode(subject) ?? this.#table.mode(null) ?? DEFAULT_MODE;
    if (mode === "READWRITE" || mode === "IMPORT") return mode;
    throw new RegistryError("NOT_PERMITTED", `Subject ${subject} is in read-only mode`);
  }

  #checkImportedId(id: number | undefined, fingerprint: string): void {
    if (id === undefined) throw new RegistryError("NOT_PERMITTED", "In import mode a schema comes with its id");
    const known = this.#table.schema(id);
    if (known === undefined || known.fingerprint === fingerprint) return;
    throw new RegistryError("NOT_PERMITTED", `Overwrite new schema with id ${id} is not permitted`);
  }

  #checkCompatible(subject: string, candidate: Candidate): void {
    const level = this.#level(subject);
    const failed = this.#incompatibleVersions(candidate, this.#comparedVersions(subject, level), level);
    if (failed.length === 0) return;
    const details = failed.flatMap((incompatible) => describeIncompatible(incompatible, level)).join(", ");
    const message = `Schema being registered is incompatible with an earlier schema for subject "${subject}", details: [${details}]`;
    throw new RegistryError("INCOMPATIBLE", message);
  }

  /** Newest first, which is what differs least. */
  #comparedVersions(subject: string, level: CompatibilityLevel): SchemaVersion[] {
    const versions = this.#live(subject).reverse();
    return level.endsWith("_TRANSITIVE") ? versions : versions.slice(0, 1);
  }

  #incompatibleVersions(
    { schemaType, parsed, parse }: Candidate,
    versions: readonly SchemaVersion[],
    level: CompatibilityLevel,
  ): IncompatibleVersion[] {
    if (level === "NONE") return [];
    const failed = versions.map((version) => {
      if (version.schemaType !== schemaType) return { version, reasons: [otherType(schemaType, version)] };
      const earlier = parse(version.schema, this.referenced(version));
      const reasons = [
        ...(level.startsWith("FORWARD") ? [] : parsed.readerProblems(earlier)),
        ...(level.startsWith("BACKWARD") ? [] : earlier.readerProblems(parsed)),
      ];
      return { version, reasons };
    });
    return failed.filter(({ reasons }) => reasons.length > 0);
  }

  #level(subject: string): CompatibilityLevel {
    return this.#table.level(subject) ?? this.#table.level(null) ?? DEFAULT_LEVEL;
  }

  /** The versions of a subject that are not deleted, the oldest first. */
  #live(subject: string): SchemaVersion[] {
    return this.#table.versions(subject).filter(({ isDeleted }) => !isDeleted);
  }

  #find(subject: string, version: Version, hasDeleted: boolean): SchemaVersion {
    const live = this.#live(subject);
    if (live.length === 0 && !(hasDeleted && this.#table.versions(subject).length > 0)) throw noSubject(subject);
    const found = version === "latest" ? live.at(-1) : this.#table.version(subject, version);
    if (found !== undefined && (hasDeleted || !found.isDeleted)) return found;
    throw new RegistryError("VERSION_NOT_FOUND", `Version ${version} not found.`);
  }

  #isSame({ id }: SchemaVersion, fingerprint: string): boolean {
    return this.#table.schema(id)?.fingerprint === fingerprint;
  }

  #resolve(references: readonly SchemaReference[], depth = 0): ReferencedSchema[] {
    if (depth > REFERENCE_DEPTH_LIMIT) {
      throw new RegistryError("INVALID_SCHEMA", `references go deeper than ${REFERENCE_DEPTH_LIMIT}`);
    }
    const schemas: ReferencedSchema[] = [];
    for (const { name, subject, version } of references) {
      const stored = this.#table.version(subject, version);
      if (stored === undefined || (stored.isDeleted && depth === 0)) {
        const message = `No schema reference found for subject "${subject}" and version ${version}`;
        throw new RegistryError("INVALID_SCHEMA", message);
      }
      for (const known of [...this.#resolve(stored.references, depth + 1), { name, schema: stored.schema }]) {
        const isThere = schemas.some((other) => other.name === known.name && other.schema === known.schema);
        if (!isThere) schemas.push(known);
      }
    }
    return schemas;
  }

  #referrers({ subject, version }: SchemaVersion): SchemaVersion[] {
    const referrers: SchemaVersion[] = [];
    for (const { references, versions } of this.#table.schemas()) {
      const refers = references.some((reference) => reference.subject === subject && reference.version === version);
      if (refers) referrers.push(...[...versions].filter(({ isDeleted }) => !isDeleted));
    }
    return referrers;
  }

  #checkUnreferenced(stored: SchemaVersion): void {
    if (this.#referrers(stored).length === 0) return;
    const { subject, version } = stored;
    throw new RegistryError(
      "REFERENCE_EXISTS",
      `One or more references exist to the schema {subject=${subject},version=${version}}.`,
    );
  }
}

const SUBJECT_LIMIT = 500;

function checkSubject(subject: string): void {
  const isValid = subject !== "" && subject.length <= SUBJECT_LIMIT && !/\p{Control}/u.test(subject);
  if (!isValid)
    throw new RegistryError("INVALID_SUBJECT", "The subject name is empty, too long, or has control characters");
}

function isSamePlace(a: SchemaVersion, b: SchemaVersion): boolean {
  return a.subject === b.subject && a.version === b.version;
}

function otherType(schemaType: SchemaType, earlier: SchemaVersion): Incompatibility {
  return {
    errorType: "SCHEMA_TYPE_MISMATCH",
    path: "",
    description: `The type of the schema has changed from ${earlier.schemaType} to ${schemaType}`,
    additionalInfo: `expected: ${earlier.schemaType}`,
  };
}

function noSubject(subject: string): RegistryError {
  return new RegistryError("SUBJECT_NOT_FOUND", `Subject '${subject}' not found.`);
}

function storeFailed(error: unknown): RegistryError {
  const reason = error instanceof Error ? error.message : String(error);
  return new RegistryError("STORE_FAILED", `Error in the backend data store: ${reason}`, { cause: error });
}
