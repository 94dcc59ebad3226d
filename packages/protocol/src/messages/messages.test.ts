import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { WireError } from "../errors.ts";
import { Reader } from "../reader.ts";
import { type Api, type Message, NIL_UUID, type Shape, type Type } from "../schema.ts";
import { Writer } from "../writer.ts";
import { apiByKey, apis, produceApi } from "./index.ts";

const RUNS_PER_VERSION = 10;
const FIXED_SEED = 1;

type Values = Readonly<Record<string, unknown>>;

for (const api of apis) {
  test(`${api.name} reads in every version what it wrote`, async () => {
    for (const { message, version } of messageVersions(api)) {
      const property = fc.property(arbitraryStruct(message.shape, version), (values) => {
        assert.deepEqual(decode(message, version, encode(message, version, values)), values);
      });
      await fc.assert(property, { numRuns: RUNS_PER_VERSION, seed: FIXED_SEED });
    }
  });

  test(`${api.name} cut short at any byte is refused, in every version`, () => {
    for (const { message, version } of messageVersions(api)) {
      const whole = encode(message, version, fullStruct(message.shape, version));
      for (let sizeBytes = 0; sizeBytes < whole.length; sizeBytes++) {
        const cut = whole.subarray(0, sizeBytes);
        assert.throws(() => decode(message, version, cut), WireError, `${message.name} v${version} at ${sizeBytes}`);
      }
    }
  });

  test(`${api.name} with any four bytes turned into a huge count is read or refused, in every version`, () => {
    for (const { message, version } of messageVersions(api)) {
      const whole = encode(message, version, fullStruct(message.shape, version));
      for (let offset = 0; offset + 4 <= whole.length; offset++) {
        const lying = Buffer.from(whole);
        lying.writeInt32BE(0x7fffffff, offset);
        expectReadOrRefused(() => decode(message, version, lying));
      }
    }
  });
}

test("random bytes are read or refused, and nothing else", async () => {
  const bytes = fc.uint8Array({ maxLength: 64 });
  const property = fc.property(fc.constantFrom(...apis.flatMap(messageVersions)), bytes, ({ message, version }, some) =>
    expectReadOrRefused(() => decode(message, version, Buffer.from(some))),
  );

  await fc.assert(property, { numRuns: 5000, seed: FIXED_SEED });
});

test("every API is found by its key", () => {
  assert.equal(apiByKey.size, apis.length);
  assert.equal(apiByKey.get(0), produceApi);
  assert.equal(apiByKey.get(9999), undefined);
});

function messageVersions(api: Api): { readonly message: Message<unknown>; readonly version: number }[] {
  const { min, max } = api.versions;
  const versions = Array.from({ length: max - min + 1 }, (_, index) => min + index);
  return versions.flatMap((version) => [
    { message: api.request, version },
    { message: api.response, version },
  ]);
}

function encode(message: Message<unknown>, version: number, values: Values): Buffer {
  const writer = new Writer();
  message.encode(writer, version, inputStruct(message.shape, values));
  return Buffer.concat(writer.finish());
}

function decode(message: Message<unknown>, version: number, bytes: Buffer): unknown {
  const reader = new Reader(bytes);
  const values = message.decode(reader, version);
  reader.expectEnd();
  return values;
}

function expectReadOrRefused(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    assert(error instanceof WireError, String(error));
  }
}

/** What is written differs from what is read in one type: records are written from a list of chunks. */
function inputStruct(shape: Shape, values: Values): Values {
  const entries = Object.entries(shape).map(([name, field]) => [name, inputValue(field.type, values[name])]);
  return Object.fromEntries(entries);
}

function inputValue(type: Type, value: unknown): unknown {
  if (value === null) return null;
  if (type.kind === "records") return [value];
  if (type.shape !== undefined) return inputStruct(type.shape, value as Values); // a value of a struct type
  const { element } = type;
  if (element === undefined || !Array.isArray(value)) return value;
  return value.map((item) => inputValue(element, item));
}

/** Values as they are read: what the version does not carry has its default. */
function arbitraryStruct(shape: Shape, version: number): fc.Arbitrary<Values> {
  const entries = Object.entries(shape).map(([name, field]) => {
    if (version < field.sinceVersion || version > field.untilVersion) return [name, fc.constant(field.defaultValue)];
    const value = arbitraryValue(field.type, version);
    return [name, version >= field.nullableVersion ? fc.option(value) : value];
  });
  return fc.record(Object.fromEntries(entries), { noNullPrototype: true });
}

function arbitraryValue(type: Type, version: number): fc.Arbitrary<unknown> {
  switch (type.kind) {
    case "bool":
      return fc.boolean();
    case "int8":
      return fc.integer({ min: -128, max: 127 });
    case "int16":
      return fc.integer({ min: -32768, max: 32767 });
    case "int32":
      return fc.integer();
    case "int64":
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case "float64":
      return fc.double();
    case "uuid":
      return arbitraryBytes(16, 16).map((bytes) => bytes.toString("base64url"));
    case "string":
      return fc.string({ unit: "grapheme" });
    case "bytes":
      return arbitraryBytes(0, 32);
    case "records":
      return arbitraryBytes(0, 2048);
    case "struct":
      return arbitraryStruct(type.shape ?? {}, version);
    case "array":
      assert(type.element);
      return fc.array(arbitraryValue(type.element, version), { maxLength: 3 });
    default:
      throw new Error(`no arbitrary for ${type.kind}`);
  }
}

function arbitraryBytes(minLength: number, maxLength: number): fc.Arbitrary<Buffer> {
  return fc.uint8Array({ minLength, maxLength }).map((bytes) => Buffer.from(bytes));
}

/** Every field set, to something that is not its default, with one element in each array. */
function fullStruct(shape: Shape, version: number): Values {
  const entries = Object.entries(shape).map(([name, field]) => {
    const isPresent = version >= field.sinceVersion && version <= field.untilVersion;
    return [name, isPresent ? fullValue(field.type, version) : field.defaultValue];
  });
  return Object.fromEntries(entries);
}

function fullValue(type: Type, version: number): unknown {
  switch (type.kind) {
    case "bool":
      return true;
    case "int64":
      return 7n;
    case "uuid":
      return NIL_UUID.replaceAll("A", "Q");
    case "string":
      return "seven";
    case "bytes":
    case "records":
      return Buffer.from("seven");
    case "struct":
      return fullStruct(type.shape ?? {}, version);
    case "array":
      assert(type.element);
      return [fullValue(type.element, version)];
    default:
      return 7;
  }
}
