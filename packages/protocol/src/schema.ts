/**
 * Messages, declared once for all their versions and compiled to an encoder and a decoder per version.
 *
 * A declaration reads like Kafka's own JSON definitions, with the same field names in camelCase:
 *
 *     const topic = struct({
 *       name: string().nullable(12),                 // may be null from version 12 on
 *       topicId: uuid().since(10).default(NIL_UUID), // on the wire from version 10 on
 *       oldField: int32().until(7).default(-1),      // gone after version 7
 *       hint: int32().since(9).tagged(0).default(0), // a tagged field
 *     });
 *
 * A field that its version does not carry reads as its default and is left out when written. A field with a default may
 * be left out of a value to write.
 */

import { assert } from "@millrace/base";
import { KafkaError, WireError } from "./errors.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

/** What writes and reads one type in one version. */
export interface Codec<Output = unknown, Input = Output> {
  write(writer: Writer, value: Input): void;
  read(reader: Reader): Output;
}

interface CompileOptions {
  readonly version: number;
  /** Compact lengths and tagged fields (KIP-482). */
  readonly isFlexible: boolean;
  readonly isNullable: boolean;
  /** "Metadata request v9, field topics": for errors. */
  readonly path: string;
}

/** One type of the protocol. `kind` and `element` describe it to the test that holds our schemas against Kafka's. */
export interface Type<Output = unknown, Input = Output> {
  readonly kind: string;
  readonly element?: Type | undefined;
  readonly shape?: Shape;
  readonly empty: Output;
  compile(options: CompileOptions): Codec<Output, Input>;
}

export type Shape = { readonly [name: string]: Field };

interface FieldParts<Output, IsOptional> {
  readonly sinceVersion?: number;
  readonly untilVersion?: number;
  readonly nullableVersion?: number;
  readonly tag?: number | null;
  readonly defaultValue?: Output;
  readonly isOptional: IsOptional;
}

/** One field of a struct: a type, and in which versions it is there. Immutable: each method returns a new field. */
export class Field<Output = unknown, Input = Output, IsOptional extends boolean = boolean> {
  readonly type: Type<Output, Input>;
  readonly sinceVersion: number;
  readonly untilVersion: number;
  /** Null may stand for the value from this version on; infinity: never. */
  readonly nullableVersion: number;
  readonly tag: number | null;
  readonly defaultValue: Output;
  /** Phantom: makes IsOptional part of the type. */
  readonly isOptional: IsOptional;

  constructor(type: Type<Output, Input>, parts: FieldParts<Output, IsOptional>) {
    this.type = type;
    this.sinceVersion = parts.sinceVersion ?? 0;
    this.untilVersion = parts.untilVersion ?? Number.POSITIVE_INFINITY;
    this.nullableVersion = parts.nullableVersion ?? Number.POSITIVE_INFINITY;
    this.tag = parts.tag ?? null;
    this.defaultValue = parts.defaultValue === undefined ? type.empty : parts.defaultValue;
    this.isOptional = parts.isOptional;
  }

  /** First version that carries the field. */
  since(version: number): Field<Output, Input, IsOptional> {
    return new Field(this.type, { ...this, sinceVersion: version });
  }

  /** Last version that carries the field. */
  until(version: number): Field<Output, Input, IsOptional> {
    return new Field(this.type, { ...this, untilVersion: version });
  }

  tagged(tag: number): Field<Output, Input, IsOptional> {
    return new Field(this.type, { ...this, tag });
  }

  nullable(sinceVersion = 0): Field<Output | null, Input | null, IsOptional> {
    const type: Type<Output | null, Input | null> = this.type;
    return new Field<Output | null, Input | null, IsOptional>(type, { ...this, nullableVersion: sinceVersion });
  }

  /** Makes the field optional in a value to write; also what it reads as where a version does not carry it. */
  default(value: Output): Field<Output, Input, true> {
    return new Field<Output, Input, true>(this.type, { ...this, defaultValue: value, isOptional: true });
  }
}

export type OutputOf<F> = F extends Field<infer Output, infer _Input, infer _IsOptional> ? Output : never;
type InputOf<F> = F extends Field<infer _Output, infer Input, infer _IsOptional> ? Input : never;
type OptionalKeys<S extends Shape> = {
  [K in keyof S]: S[K] extends Field<infer _O, infer _I, true> ? K : never;
}[keyof S];

export type StructOutput<S extends Shape> = { readonly [K in keyof S]: OutputOf<S[K]> };
export type StructInput<S extends Shape> = { readonly [K in Exclude<keyof S, OptionalKeys<S>>]: InputOf<S[K]> } & {
  readonly [K in OptionalKeys<S>]?: InputOf<S[K]>;
};

type RequiredField<Output, Input = Output> = Field<Output, Input, false>;

function field<Output, Input = Output>(type: Type<Output, Input>): RequiredField<Output, Input> {
  return new Field(type, { isOptional: false });
}

function primitive<T>(kind: string, empty: T, codec: Codec<T>): () => RequiredField<T> {
  const type: Type<T> = { kind, empty, compile: () => codec };
  return () => field(type);
}

export const boolean = primitive("bool", false, { write: (w, v: boolean) => w.boolean(v), read: (r) => r.boolean() });
export const int8 = primitive("int8", 0, { write: (w, v: number) => w.int8(v), read: (r) => r.int8() });
export const int16 = primitive("int16", 0, { write: (w, v: number) => w.int16(v), read: (r) => r.int16() });
export const uint16 = primitive("uint16", 0, { write: (w, v: number) => w.uint16(v), read: (r) => r.uint16() });
export const int32 = primitive("int32", 0, { write: (w, v: number) => w.int32(v), read: (r) => r.int32() });
export const uint32 = primitive("uint32", 0, { write: (w, v: number) => w.uint32(v), read: (r) => r.uint32() });
export const int64 = primitive("int64", 0n, { write: (w, v: bigint) => w.int64(v), read: (r) => r.int64() });
export const float64 = primitive("float64", 0, { write: (w, v: number) => w.float64(v), read: (r) => r.float64() });

/** The topic id of no topic. */
export const NIL_UUID = "AAAAAAAAAAAAAAAAAAAAAA";
export const uuid = primitive("uuid", NIL_UUID, { write: (w, v: string) => w.uuid(v), read: (r) => r.uuid() });

const stringType: Type<string> = {
  kind: "string",
  empty: "",
  compile: (options) =>
    nullableCodec<string>(options, {
      lengthOf: (text) => Buffer.byteLength(text),
      writeBody: (writer, text, sizeBytes) => writer.utf8(text, sizeBytes),
      readBody: (reader, sizeBytes) => reader.utf8(sizeBytes),
      length: options.isFlexible ? compactLength : shortLength,
    }),
};
export const string = () => field(stringType);

const bytesType: Type<Buffer, Uint8Array> = {
  kind: "bytes",
  empty: Buffer.alloc(0),
  compile: (options) =>
    nullableCodec<Buffer, Uint8Array>(options, {
      lengthOf: (bytes) => bytes.length,
      writeBody: (writer, bytes) => writer.raw(bytes),
      readBody: (reader, sizeBytes) => reader.slice(sizeBytes),
      length: options.isFlexible ? compactLength : intLength,
    }),
};
/** Reads as a view of the frame. */
export const bytes = () => field(bytesType);

const recordsType: Type<Buffer, readonly Uint8Array[]> = {
  kind: "records",
  empty: Buffer.alloc(0),
  compile: (options) =>
    nullableCodec<Buffer, readonly Uint8Array[]>(options, {
      lengthOf: (chunks) => chunks.reduce((sizeBytes, chunk) => sizeBytes + chunk.length, 0),
      writeBody: (writer, chunks) => {
        for (const chunk of chunks) writer.raw(chunk);
      },
      readBody: (reader, sizeBytes) => reader.slice(sizeBytes),
      length: options.isFlexible ? compactLength : intLength,
    }),
};
/** Record batches: written from a list of chunks, which are not copied, and read as a view of the frame. */
export const records = () => field(recordsType);

export function array<Output, Input, IsOptional extends boolean>(
  element: Field<Output, Input, IsOptional>,
): RequiredField<readonly Output[], readonly Input[]> {
  const type: Type<readonly Output[], readonly Input[]> = {
    kind: "array",
    element: element.type,
    empty: [],
    compile: (options) => {
      const codec = element.type.compile({ ...options, isNullable: options.version >= element.nullableVersion });
      return nullableCodec<readonly Output[], readonly Input[]>(options, {
        lengthOf: (items) => items.length,
        writeBody: (writer, items) => {
          for (const item of items) codec.write(writer, item);
        },
        readBody: (reader, count) => {
          // Every element takes a byte at least: a count beyond that is a lie, found before anything is allocated.
          if (count > reader.remainingBytes) {
            throw new WireError(`${options.path}: ${count} elements in ${reader.remainingBytes} bytes`, reader.offset);
          }
          const items: Output[] = [];
          for (let index = 0; index < count; index++) items.push(codec.read(reader));
          return items;
        },
        length: options.isFlexible ? compactLength : intLength,
      });
    },
  };
  return field(type);
}

export function struct<S extends Shape>(shape: S): RequiredField<StructOutput<S>, StructInput<S>> {
  return field(structType(shape));
}

function structType<S extends Shape>(shape: S): Type<StructOutput<S>, StructInput<S>> {
  return {
    kind: "struct",
    shape,
    empty: emptyStruct(shape),
    compile: (options) => compileStruct(shape, options),
  };
}

function emptyStruct<S extends Shape>(shape: S): StructOutput<S> {
  const entries = Object.entries(shape).map(([name, { defaultValue }]) => [name, defaultValue]);
  return Object.fromEntries(entries) as StructOutput<S>; // fromEntries cannot carry the names' types
}

interface FieldCodec {
  readonly name: string;
  /** Null where this version does not carry the field, or carries it with a tag. */
  readonly inline: Codec | null;
  readonly defaultValue: unknown;
}

interface TaggedFieldCodec {
  readonly name: string;
  readonly codec: Codec;
  readonly defaultValue: unknown;
  readonly tag: number;
}

function compileStruct<S extends Shape>(shape: S, options: CompileOptions): Codec<StructOutput<S>, StructInput<S>> {
  const fields: FieldCodec[] = [];
  const tagged: TaggedFieldCodec[] = [];
  for (const [name, { type, sinceVersion, untilVersion, nullableVersion, tag, defaultValue }] of Object.entries(
    shape,
  )) {
    const { version, isFlexible } = options;
    const isCarried = version >= sinceVersion && version <= untilVersion;
    const path = `${options.path}.${name}`;
    const codec = isCarried
      ? type.compile({ version, isFlexible, isNullable: version >= nullableVersion, path })
      : null;
    fields.push({ name, inline: tag === null ? codec : null, defaultValue });
    if (codec !== null && tag !== null && isFlexible) tagged.push({ name, codec, defaultValue, tag });
  }
  tagged.sort((a, b) => a.tag - b.tag);

  const codec: Codec<StructOutput<S>, StructInput<S>> = {
    write(writer, value) {
      const values: Record<string, unknown> = value;
      for (const { name, inline, defaultValue } of fields) {
        if (inline === null) continue;
        const given = values[name];
        inline.write(writer, given === undefined ? defaultValue : given);
      }
      if (options.isFlexible) writeTaggedFields(writer, tagged, values);
    },
    read(reader) {
      // Every field is set, in one order, so that all objects of this struct have the same hidden class. To copy an
      // object of the defaults first would take V8 twice as long.
      const values: Record<string, unknown> = {};
      for (const { name, inline, defaultValue } of fields) {
        values[name] = inline === null ? defaultValue : inline.read(reader);
      }
      if (options.isFlexible) readTaggedFields(reader, tagged, values, options.path);
      return values as StructOutput<S>; // each name was set by its own codec, or to its own default
    },
  };
  return options.isNullable ? nullableStruct(codec) : codec;
}

/** A struct that may be null has a byte before it: -1 null, 1 there. */
function nullableStruct<Output, Input>(codec: Codec<Output, Input>): Codec<Output, Input> {
  const nullable: Codec<Output | null, Input | null> = {
    write(writer, value) {
      writer.int8(value === null ? -1 : 1);
      if (value !== null) codec.write(writer, value);
    },
    read: (reader) => (reader.int8() < 0 ? null : codec.read(reader)),
  };
  return nullable as Codec<Output, Input>; // Field.nullable adds the null to Output and Input
}

function writeTaggedFields(writer: Writer, parts: readonly TaggedFieldCodec[], values: Record<string, unknown>): void {
  if (parts.length === 0) {
    writer.unsignedVarint(0);
    return;
  }
  const present = parts.filter((part) => !isDefault(values[part.name], part.defaultValue));
  writer.unsignedVarint(present.length);
  for (const part of present) {
    const body = new Writer();
    part.codec.write(body, values[part.name]);
    writer.unsignedVarint(part.tag);
    writer.unsignedVarint(body.sizeBytes);
    for (const chunk of body.finish()) writer.raw(chunk);
  }
}

function isDefault(value: unknown, defaultValue: unknown): boolean {
  if (value === undefined || value === defaultValue) return true;
  return Array.isArray(value) && Array.isArray(defaultValue) && value.length === 0 && defaultValue.length === 0;
}

function readTaggedFields(
  reader: Reader,
  parts: readonly TaggedFieldCodec[],
  values: Record<string, unknown>,
  path: string,
): void {
  const count = reader.unsignedVarint();
  let previousTag = -1;
  for (let index = 0; index < count; index++) {
    const tag = reader.unsignedVarint();
    if (tag <= previousTag) throw new WireError(`${path}: tag ${tag} after tag ${previousTag}`, reader.offset);
    previousTag = tag;
    const sizeBytes = reader.unsignedVarint();
    const start = reader.take(sizeBytes);
    const part = parts.find((candidate) => candidate.tag === tag);
    if (part === undefined) continue;
    const body = new Reader(reader.bytes, start, start + sizeBytes);
    values[part.name] = part.codec.read(body);
    body.expectEnd();
  }
}

interface LengthCodec {
  /** Longest that it can tell. */
  readonly limit: number;
  /** -1 stands for null. */
  write(writer: Writer, length: number): void;
  read(reader: Reader): number;
}

const SHORT_LIMIT = 0x7fff;
const INT_LIMIT = 0x7fffffff;

const shortLength: LengthCodec = {
  limit: SHORT_LIMIT,
  write: (w, length) => w.int16(length),
  read: (r) => r.int16(),
};
const intLength: LengthCodec = { limit: INT_LIMIT, write: (w, length) => w.int32(length), read: (r) => r.int32() };
const compactLength: LengthCodec = {
  limit: INT_LIMIT,
  write: (w, length) => w.unsignedVarint(length + 1),
  read: (r) => r.unsignedVarint() - 1,
};

interface LengthPrefixed<Output, Input> {
  lengthOf(value: Input): number;
  writeBody(writer: Writer, value: Input, length: number): void;
  readBody(reader: Reader, length: number): Output;
  readonly length: LengthCodec;
}

/** A length, then a body; the length -1 means null, where the version allows it. */
function nullableCodec<Output, Input = Output>(
  options: CompileOptions,
  parts: LengthPrefixed<Output, Input>,
): Codec<Output, Input> {
  const notNullable = `${options.path}: null cannot be written in version ${options.version}`;
  const codec: Codec<Output | null, Input | null> = {
    write(writer, value) {
      if (value === null) {
        assert(options.isNullable, notNullable);
        parts.length.write(writer, -1);
        return;
      }
      const length = parts.lengthOf(value);
      if (length > parts.length.limit) {
        throw new KafkaError(
          "INVALID_REQUEST",
          `${options.path}: ${length} long; at most ${parts.length.limit} can be`,
        );
      }
      parts.length.write(writer, length);
      parts.writeBody(writer, value, length);
    },
    read(reader) {
      const length = parts.length.read(reader);
      if (length >= 0) return parts.readBody(reader, length);
      if (length === -1 && options.isNullable) return null;
      throw new WireError(`${options.path}: length ${length}`, reader.offset);
    },
  };
  return codec as Codec<Output, Input>; // Field.nullable adds the null to Output and Input
}

export interface VersionRange {
  readonly min: number;
  readonly max: number;
}

/** One message of an API: all its versions. */
export interface Message<Output, Input = Output> {
  readonly name: string;
  readonly versions: VersionRange;
  readonly shape: Shape;
  encode(writer: Writer, version: number, value: Input): void;
  decode(reader: Reader, version: number): Output;
}

/** One API: a request and its response, and the versions we can write and read. */
export interface Api<Request = unknown, RequestInput = Request, Response = unknown, ResponseInput = Response> {
  readonly key: number;
  readonly name: string;
  readonly versions: VersionRange;
  /** First flexible version (KIP-482); infinity if there is none. */
  readonly flexibleSince: number;
  readonly request: Message<Request, RequestInput>;
  readonly response: Message<Response, ResponseInput>;
}

export interface ApiDeclaration<Request extends Shape, Response extends Shape> {
  readonly key: number;
  readonly name: string;
  readonly versions: readonly [min: number, max: number];
  readonly flexibleSince: number | "never";
  readonly request: Request;
  readonly response: Response;
}

export function defineApi<Request extends Shape, Response extends Shape>(
  declaration: ApiDeclaration<Request, Response>,
): Api<StructOutput<Request>, StructInput<Request>, StructOutput<Response>, StructInput<Response>> {
  const { key, name } = declaration;
  const [min, max] = declaration.versions;
  const flexibleSince = declaration.flexibleSince === "never" ? Number.POSITIVE_INFINITY : declaration.flexibleSince;
  const versions = { min, max };
  return {
    key,
    name,
    versions,
    flexibleSince,
    request: defineMessage(`${name}Request`, declaration.request, versions, flexibleSince),
    response: defineMessage(`${name}Response`, declaration.response, versions, flexibleSince),
  };
}

/** A message outside an API: headers, and what Kafka keeps in its internal topics. */
export function defineMessage<S extends Shape>(
  name: string,
  shape: S,
  versions: VersionRange,
  flexibleSince: number,
): Message<StructOutput<S>, StructInput<S>> {
  const codecs: (Codec<StructOutput<S>, StructInput<S>> | undefined)[] = [];
  const codecOf = (version: number) => {
    const compiled = codecs[version];
    if (compiled !== undefined) return compiled;
    assert(version >= versions.min && version <= versions.max, `${name} has no version ${version}`);
    const isFlexible = version >= flexibleSince;
    const codec = compileStruct(shape, { version, isFlexible, isNullable: false, path: `${name} v${version}` });
    codecs[version] = codec;
    return codec;
  };
  return {
    name,
    versions,
    shape,
    encode: (writer, version, value) => codecOf(version).write(writer, value),
    decode: (reader, version) => codecOf(version).read(reader),
  };
}
