/**
 * Builds JSON Schemas with TypeBox's types and none of its code.
 *
 * What we need of it is the types: Fastify's validator and openapi.json read plain JSON Schema. Loading TypeBox itself
 * takes 370 files, which was a quarter of the time until the server is ready (Node 20).
 */

import type TypeBox from "typebox";
import type { TSchema } from "typebox";

type Names =
  | "Array"
  | "Boolean"
  | "Integer"
  | "Literal"
  | "Null"
  | "Number"
  | "Object"
  | "Optional"
  | "Record"
  | "String"
  | "Union"
  | "Unknown"
  | "Unsafe";

type Keywords = Readonly<Record<string, unknown>>;

/** Properties that an object may lack: in JSON Schema that is said by the object, in TypeBox by the property. */
const optional = new WeakSet<object>();

const builders = {
  Array: (items: TSchema, keywords?: Keywords) => ({ type: "array", items, ...keywords }),
  Boolean: (keywords?: Keywords) => ({ type: "boolean", ...keywords }),
  Integer: (keywords?: Keywords) => ({ type: "integer", ...keywords }),
  Literal: (value: string | number | boolean, keywords?: Keywords) => ({
    const: value,
    type: typeof value,
    ...keywords,
  }),
  Null: (keywords?: Keywords) => ({ type: "null", ...keywords }),
  Number: (keywords?: Keywords) => ({ type: "number", ...keywords }),
  Object(properties: Readonly<Record<string, TSchema>>, keywords?: Keywords) {
    const required = Object.keys(properties).filter((name) => !optional.has(properties[name] ?? {}));
    return { type: "object", ...(required.length > 0 ? { required } : {}), properties, ...keywords };
  },
  Optional(schema: TSchema) {
    const copy = { ...schema };
    optional.add(copy);
    return copy;
  },
  Record: (_key: TSchema, value: TSchema, keywords?: Keywords) => ({
    type: "object",
    additionalProperties: value,
    ...keywords,
  }),
  String: (keywords?: Keywords) => ({ type: "string", ...keywords }),
  Union: (anyOf: readonly TSchema[], keywords?: Keywords) => ({ anyOf, ...keywords }),
  Unknown: (keywords?: Keywords) => ({ ...keywords }),
  Unsafe: (schema: Keywords) => ({ ...schema }),
};

/** Their results are what TypeBox's are, as far as JSON Schema goes; its types say what a schema lets pass. */
export const Type = builders as unknown as Pick<typeof TypeBox, Names>;
