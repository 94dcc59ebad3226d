/**
 * JSON Schemas as checks of values: draft-06, draft-07, which is meant where a schema does not say, 2019-09 and 2020-12.
 *
 * Nothing is fetched: what a schema refers to is in it, or was registered as its reference.
 */

import { createRequire } from "node:module";
import type { ReferencedSchema } from "@millrace/client/avro";
import { Ajv, type AnySchema, type ErrorObject, type Options, type ValidateFunction } from "ajv";
import { Ajv2019 } from "ajv/dist/2019.js";
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { Patience } from "./patience.ts";
import { costOf, type SchemaCost, worstOf } from "./schema-cost.ts";

/** What everybody else waits at most while a schema becomes code. Those of 100 KB take a tenth of it. */
const COMPILE_LIMIT_MS = 2_000;

/** What is wrong with a value, and where. */
export interface JsonMisfit {
  /** A JSON pointer into the value; empty for the whole. */
  readonly path: string;
  readonly message: string;
}

export interface JsonSchemaCheck {
  readonly cost: SchemaCost;
  /** The first thing that is wrong; null for a value that fits. */
  misfitOf(value: unknown): JsonMisfit | null;
}

/**
 * referenced: schemas that it may refer to, by these names or by their own $id.
 * Throws TypeError for what is no schema, refers to what is not there, or is more than can be made into code in time.
 */
export function parseJsonSchema(text: string, referenced: readonly ReferencedSchema[]): JsonSchemaCheck {
  const parsed = new Patience(COMPILE_LIMIT_MS).run(() => parse(text, referenced));
  if (parsed === null) throw new TypeError("it has too many parts: to read it takes too long");
  return parsed.result;
}

function parse(text: string, referenced: readonly ReferencedSchema[]): JsonSchemaCheck {
  const schema = readSchema(text);
  const { draft, expectValid } = draftOf(schema);
  expectValid(schema);
  const ajv = new draft(options);
  formats.default(ajv);
  const others = new Map(referenced.map(({ name, schema: other }) => [name, readSchema(other)]));
  addReferenced(ajv, schema, others);
  const validate = compile(ajv, schema);
  return {
    cost: worstOf([schema, ...others.values()].map(costOf)),
    misfitOf: (value) => (validate(value) ? null : misfitIn(validate.errors ?? [])),
  };
}

type Draft = typeof Ajv | typeof Ajv2019 | typeof Ajv2020;

/** Strictness would refuse keywords that it does not know, which JSON Schema says to pass over. */
const options: Options = {
  strict: false,
  logger: false,
  // Done before, once for all schemas of a draft: to compile the draft's own schema takes longer than most others.
  validateSchema: false,
  // Else every object has a property toString.
  ownProperties: true,
  // Else a schema of 20 KB that refers a thousand times to one part of it becomes code of 100 MB.
  inlineRefs: false,
  // 4.35 is a multiple of 0.01, whatever doubles say.
  multipleOfPrecision: 9,
  code: { regExp: Object.assign(readPattern, { code: "new RegExp" }) },
};

/** What the drafts ask for is ECMAScript's with u; many schemas were written for others, which take any escape. */
function readPattern(pattern: string, flags: string): RegExp {
  try {
    return new RegExp(pattern, flags);
  } catch {
    return new RegExp(pattern);
  }
}

function readSchema(text: string): AnySchema {
  const schema: unknown = JSON.parse(text);
  if (typeof schema === "boolean") return schema;
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) {
    throw new TypeError("expected an object, true or false");
  }
  if ("$async" in schema) throw new TypeError("$async is no keyword of JSON Schema");
  return schema;
}

const DRAFT_06 = "http://json-schema.org/draft-06/schema";
const DRAFT_07 = "http://json-schema.org/draft-07/schema";
const DRAFT_2019 = "https://json-schema.org/draft/2019-09/schema";
const DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema";

interface KnownDraft {
  readonly draft: Draft;
  /** Throws TypeError for a schema that is none of this draft. */
  expectValid(schema: AnySchema): void;
}

const drafts: Readonly<Record<string, KnownDraft>> = {
  [DRAFT_06]: checkedBy(Ajv, DRAFT_06),
  [DRAFT_07]: checkedBy(Ajv, DRAFT_07),
  [DRAFT_2019]: checkedBy(Ajv2019, DRAFT_2019),
  [DRAFT_2020]: checkedBy(Ajv2020, DRAFT_2020),
};

function draftOf(schema: AnySchema): KnownDraft {
  const given: unknown = typeof schema === "object" && "$schema" in schema ? schema.$schema : DRAFT_07;
  const name = String(given).replace(/#$/, "");
  const known = drafts[name] ?? drafts[name.replace(/^https:/, "http:")];
  if (known !== undefined) return known;
  throw new TypeError(`its $schema is ${given}; known are draft-06, draft-07, 2019-09 and 2020-12`);
}

function checkedBy(draft: Draft, name: string): KnownDraft {
  let meta: ValidateFunction | undefined;
  return {
    draft,
    expectValid(schema) {
      meta ??= metaSchema(draft, name);
      if (meta === undefined || meta(schema)) return;
      const { path, message } = misfitIn(meta.errors ?? []);
      throw new TypeError(path === "" ? message : `${path} ${message}`);
    },
  };
}

function metaSchema(draft: Draft, name: string): ValidateFunction | undefined {
  const ajv = new draft({ strict: false, logger: false });
  if (name === DRAFT_06) ajv.addMetaSchema(createRequire(import.meta.url)("ajv/dist/refs/json-schema-draft-06.json"));
  return ajv.getSchema(name);
}

/** By their names, and where the schema has an $id by what the names mean from there, as Confluent's serializers have it. */
function addReferenced(ajv: Ajv, schema: AnySchema, others: ReadonlyMap<string, AnySchema>): void {
  const base: unknown = typeof schema === "object" && "$id" in schema ? schema.$id : "";
  for (const [name, other] of others) {
    const names = [name, ajv.opts.uriResolver.resolve(String(base), name)];
    for (const key of names) if (!(key in ajv.schemas) && !(key in ajv.refs)) ajv.addSchema(other, key);
  }
}

function compile(ajv: Ajv, schema: AnySchema): ValidateFunction {
  try {
    return ajv.compile(schema);
  } catch (error) {
    if (!(error instanceof Error) || !("missingRef" in error)) throw error;
    const message = `it refers to ${error.missingRef}, which is neither in it nor among its references; nothing is fetched`;
    throw new TypeError(message, { cause: error });
  }
}

/** Texts from schemas and values may be long. */
const SHOWN_CHARACTERS = 200;

function misfitIn(errors: readonly ErrorObject[]): JsonMisfit {
  // The last one is about all that were found on the way to it: the branches of an anyOf.
  const error = errors.at(-1);
  if (error === undefined) return { path: "", message: "does not fit" };
  return { path: shorten(error.instancePath), message: messageOf(error, errors) };
}

function messageOf(
  { keyword, message = "does not fit", params, instancePath }: ErrorObject,
  all: readonly ErrorObject[],
) {
  switch (keyword) {
    case "additionalProperties":
      return `must not have the property ${shown(params.additionalProperty)}`;
    case "unevaluatedProperties":
      return `must not have the property ${shown(params.unevaluatedProperty)}`;
    case "propertyNames":
      return `must not have a property named ${shown(params.propertyName)}`;
    case "const":
      return `must be ${shown(params.allowedValue)}`;
    case "enum":
      return `must be one of ${shorten(params.allowedValues.map((value: unknown) => JSON.stringify(value)).join(", "))}`;
    case "anyOf":
    case "oneOf": {
      const types = all.flatMap((error) =>
        error.keyword === "type" && error.instancePath === instancePath ? [error.params.type] : [],
      );
      return types.length === all.length - 1 && types.length > 0 ? `must be ${types.join(" or ")}` : message;
    }
    default:
      return shorten(message);
  }
}

function shown(value: unknown): string {
  return shorten(JSON.stringify(value) ?? "undefined");
}

function shorten(text: string): string {
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS)}…`;
}
