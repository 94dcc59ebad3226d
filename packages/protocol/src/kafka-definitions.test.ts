/**
 * Holds our messages against the definitions that Kafka's own code is generated from.
 *
 * KAFKA_JARS: a folder with the jars of one Kafka release, as in its libs/. The definitions are JSON files in them.
 */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { inflateRawSync } from "node:zlib";
import {
  apis,
  consumerProtocolAssignment,
  consumerProtocolSubscription,
  controlRecordKey,
  endTxnMarker,
  groupMetadataKey,
  groupMetadataValue,
  offsetCommitKey,
  offsetCommitValue,
  transactionLogKey,
  transactionLogValue,
} from "./messages/index.ts";
import { type Message, NIL_UUID, type Shape, type Type } from "./schema.ts";

const jarsFolder = process.env.KAFKA_JARS;

// Of the zip format, which a jar is in.
const END_OF_DIRECTORY = 0x06054b50;
const END_OF_DIRECTORY_BYTES = 22;
const DEFLATED = 8;

/** Fields of Kafka's that we leave out on purpose. */
const leftOut = new Map([
  ["ApiVersionsResponse.zkMigrationReady", "tagged, and only of use between brokers that leave ZooKeeper"],
]);

/** Tagged fields that a release added to a version that older releases have too, as KIP-482 allows. */
const addedLater = new Map([
  ["OffsetCommitValue.topicId", "4.0"],
  ["TransactionLogValue.previousProducerId", "4.0"],
  ["TransactionLogValue.nextProducerId", "4.0"],
  ["TransactionLogValue.nextProducerEpoch", "4.0"],
  ["TransactionLogValue.clientTransactionVersion", "4.0"],
]);

/** What stands inside records rather than in requests. */
const recordMessages: readonly Message<unknown>[] = [
  consumerProtocolAssignment,
  consumerProtocolSubscription,
  controlRecordKey,
  endTxnMarker,
  groupMetadataKey,
  groupMetadataValue,
  offsetCommitKey,
  offsetCommitValue,
  transactionLogKey,
  transactionLogValue,
];

describe("Kafka's definitions", { skip: jarsFolder === undefined ? "KAFKA_JARS is not set" : false }, () => {
  const definitions = jarsFolder === undefined ? new Map<string, Definition>() : readDefinitions(jarsFolder);

  for (const api of apis) {
    for (const message of [api.request, api.response]) {
      test(`${message.name} has Kafka's fields in every version that both know`, () => {
        const definition = expectDefinition(definitions, message.name);

        compareSharedVersions(message, definition, api.flexibleSince);

        assert.equal(api.key, definition.apiKey);
      });
    }
  }

  for (const message of recordMessages) {
    const definition = definitions.get(message.name);
    const skip = definition === undefined && "this release does not define it in JSON";
    test(`${message.name} has Kafka's fields in every version that both know`, { skip }, () => {
      const found = expectDefinition(definitions, message.name);

      compareSharedVersions(message, found, versionsOf(found.flexibleVersions).min);
    });
  }
});

function expectDefinition(definitions: ReadonlyMap<string, Definition>, name: string): Definition {
  const definition = definitions.get(name);
  assert(definition !== undefined, `${jarsFolder} defines no ${name}`);
  return definition;
}

function compareSharedVersions(message: Message<unknown>, definition: Definition, flexibleSince: number): void {
  const valid = versionsOf(definition.validVersions);
  const flexible = versionsOf(definition.flexibleVersions);
  let sharedCount = 0;
  for (let version = message.versions.min; version <= message.versions.max; version++) {
    // Since 4.0, what was the version of a key is called its kind, and its version is 0.
    const theirVersion = definition.type === "coordinator-key" ? version - (definition.apiKey ?? 0) : version;
    if (!contains(valid, theirVersion)) continue;
    sharedCount++;
    const theirs = theirFields(definition.fields, definition, theirVersion, message.name);
    const ours = ourFields(message.shape, version).filter(
      ({ name }) => !addedLater.has(`${message.name}.${name}`) || theirs.some((field) => field.name === name),
    );
    assert.deepEqual(ours, theirs, `${message.name} version ${version}`);
    assert.equal(version >= flexibleSince, contains(flexible, theirVersion), `${message.name} v${version} is flexible`);
  }
  assert.notEqual(sharedCount, 0, `${message.name}: no version of ours is among ${definition.validVersions}`);
}

/** One field as both sides can tell it. */
interface FieldFacts {
  readonly name: string;
  readonly type: string;
  readonly isNullable: boolean;
  readonly tag: number | null;
  readonly defaultValue: string;
  readonly fields: readonly FieldFacts[];
}

function ourFields(shape: Shape, version: number): readonly FieldFacts[] {
  const present = Object.entries(shape).filter(
    ([, field]) => version >= field.sinceVersion && version <= field.untilVersion,
  );
  return present.map(([name, field]) => {
    const shapeInside = field.type.shape ?? field.type.element?.shape;
    return {
      name,
      type: typeName(field.type),
      isNullable: version >= field.nullableVersion,
      tag: field.tag,
      defaultValue: describeDefault(field.defaultValue, field.tag !== null),
      fields: shapeInside === undefined ? [] : ourFields(shapeInside, version),
    };
  });
}

function typeName(type: Type): string {
  return type.element === undefined ? type.kind : `[]${typeName(type.element)}`;
}

/**
 * Empty, zero, false and null are one thing here: which of them stands for a field that its version does not carry is
 * never seen on the wire. For a tagged field it is, as the value that is left out, and null is not empty. A default that
 * means something, such as -1, has to be Kafka's everywhere.
 */
function describeDefault(value: unknown, isTagged: boolean): string {
  if (value === null || value === "null") return isTagged ? "null" : "nothing";
  if (value === undefined || value === "" || value === NIL_UUID || typeof value === "object") return "nothing";
  const text = String(value);
  if (text === "false" || text === "true") return text === "true" ? "true" : "nothing";
  return Number(text) === 0 ? "nothing" : String(Number(text));
}

interface Definition {
  readonly name: string;
  readonly type: string;
  readonly apiKey?: number;
  readonly validVersions: string;
  readonly flexibleVersions: string;
  readonly fields: readonly DefinedField[];
  readonly commonStructs?: readonly { readonly name: string; readonly fields: readonly DefinedField[] }[];
}

interface DefinedField {
  readonly name: string;
  readonly type: string;
  readonly versions?: string;
  readonly nullableVersions?: string;
  readonly taggedVersions?: string;
  readonly tag?: number;
  readonly default?: unknown;
  readonly fields?: readonly DefinedField[];
}

function theirFields(
  fields: readonly DefinedField[],
  definition: Definition,
  version: number,
  path: string,
): readonly FieldFacts[] {
  const facts: FieldFacts[] = [];
  for (const field of fields) {
    const name = `${field.name.charAt(0).toLowerCase()}${field.name.slice(1)}`;
    const isPresent = contains(versionsOf(field.versions ?? field.taggedVersions), version);
    if (!isPresent || leftOut.has(`${path}.${name}`)) continue;
    const element = field.type.replace("[]", "");
    const isStruct = /^[A-Z]/.test(element);
    const shared = definition.commonStructs?.find((struct) => struct.name === element);
    const inside = field.fields ?? shared?.fields ?? [];
    const isTagged = contains(versionsOf(field.taggedVersions), version);
    facts.push({
      name,
      type: isStruct ? field.type.replace(element, "struct") : field.type,
      isNullable: contains(versionsOf(field.nullableVersions), version),
      tag: isTagged ? (field.tag ?? null) : null,
      defaultValue: describeDefault(field.default, isTagged),
      fields: theirFields(inside, definition, version, `${path}.${name}`),
    });
  }
  return facts;
}

interface Versions {
  readonly min: number;
  readonly max: number;
}

/** From Kafka's notation: "3", "0-12", "4+" or "none". */
function versionsOf(text: string | undefined): Versions {
  const [, min, more] = /^(\d+)(\+|-\d+)?$/.exec(text ?? "none") ?? [];
  if (min === undefined) return { min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY };
  if (more === undefined) return { min: Number(min), max: Number(min) };
  return { min: Number(min), max: more === "+" ? Number.POSITIVE_INFINITY : Number(more.slice(1)) };
}

function contains(versions: Versions, version: number): boolean {
  return version >= versions.min && version <= versions.max;
}

function readDefinitions(folder: string): ReadonlyMap<string, Definition> {
  const definitions = new Map<string, Definition>();
  const jars = readdirSync(folder).filter((file) =>
    /^kafka-(clients|group-coordinator|transaction-coordinator)-\d.*\.jar$/.test(file),
  );
  assert.notEqual(jars.length, 0, `KAFKA_JARS: ${folder} has no kafka-clients-*.jar`);
  for (const jar of jars) {
    for (const [path, bytes] of unzip(readFileSync(join(folder, jar)))) {
      if (!/^common\/message\/\w+\.json$/.test(path)) continue;
      const definition: Definition = JSON.parse(withoutComments(bytes.toString("utf8")));
      definitions.set(definition.name, definition);
    }
  }
  return definitions;
}

/** Kafka's JSON has comments, each from two slashes to the end of its line. */
function withoutComments(json: string): string {
  return json.replace(/^((?:[^"/]|"[^"]*")*)\/\/.*$/gm, "$1");
}

/**
 * The files of a zip archive, each unpacked when it is asked for.
 *
 *     [ local header | name | extra | data ] …   [ central entry | name | extra | comment ] …   [ end of directory ]
 *
 * Source: PKWARE, APPNOTE.TXT 4.3; without zip64, which no jar of Kafka's needs.
 */
function* unzip(archive: Buffer): Iterable<readonly [path: string, bytes: Buffer]> {
  let end = archive.length - END_OF_DIRECTORY_BYTES;
  while (archive.readUInt32LE(end) !== END_OF_DIRECTORY) end--;
  const entryCount = archive.readUInt16LE(end + 10);
  let entry = archive.readUInt32LE(end + 16);
  for (let index = 0; index < entryCount; index++) {
    const method = archive.readUInt16LE(entry + 10);
    const packedBytes = archive.readUInt32LE(entry + 20);
    const nameBytes = archive.readUInt16LE(entry + 28);
    const local = archive.readUInt32LE(entry + 42);
    const path = archive.toString("utf8", entry + 46, entry + 46 + nameBytes);
    if (path.endsWith(".json")) {
      const data = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const packed = archive.subarray(data, data + packedBytes);
      yield [path, method === DEFLATED ? inflateRawSync(packed) : packed];
    }
    entry += 46 + nameBytes + archive.readUInt16LE(entry + 30) + archive.readUInt16LE(entry + 32);
  }
}
