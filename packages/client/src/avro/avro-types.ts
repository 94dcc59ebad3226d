/** Avro types from schemas: longs without loss as bigint, decimals as text. */

import avro from "avsc";
import { DecimalType } from "./decimal-type.ts";

const { Type, types } = avro;
export type AvroType = avro.Type;

/** A schema, parsed or as JSON text. */
export type AvroSchema = string | object;

/**
 * The type that a schema describes.
 *
 * references: schemas of the named types that it uses and does not define, each after those that it uses itself.
 * Throws for what is no valid schema.
 */
export function parseAvroSchema(schema: AvroSchema, references: readonly AvroSchema[] = []): AvroType {
  const options = { registry: {}, logicalTypes: { decimal: DecimalType }, typeHook: asBigint };
  for (const reference of references) Type.forSchema(toSchema(reference), options);
  return Type.forSchema(toSchema(schema), options);
}

/** A schema's JSON text, by which the registry knows it. */
export function schemaText(schema: AvroSchema): string {
  return JSON.stringify(toSchema(schema));
}

function toSchema(schema: AvroSchema): avro.Schema {
  if (typeof schema !== "string") return schema as avro.Schema; // avsc checks it
  // The name of a primitive type is written without quotes as well; "null" is JSON too, and means the type.
  try {
    return JSON.parse(schema) ?? schema;
  } catch {
    return schema as avro.Schema;
  }
}

/** avsc's own long is a number, and refuses what lies beyond 2^53. */
const bigintType = types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer(value: bigint | number) {
    const bytes = Buffer.allocUnsafe(8);
    bytes.writeBigInt64LE(BigInt(value));
    return bytes;
  },
  fromJSON: (value: number) => BigInt(value),
  toJSON: (value: bigint) => Number(value),
  isValid: (value: unknown) =>
    typeof value === "bigint" ? BigInt.asIntN(64, value) === value : Number.isSafeInteger(value),
  compare: (a: bigint, b: bigint) => (a === b ? 0 : a < b ? -1 : 1),
});

function asBigint(schema: unknown): AvroType | undefined {
  const isLong =
    schema === "long" || (typeof schema === "object" && schema !== null && "type" in schema && schema.type === "long");
  return isLong ? bigintType : undefined;
}

/** What is wrong with a value, and where: "order.items.0.price: expected double, found a string". Null if nothing is. */
export function explainMisfit(type: AvroType, value: unknown): string | null {
  let found: string | null = null;
  const errorHook = (path: readonly string[], part: unknown, expected: AvroType) => {
    if (found !== null) return;
    const where = [type.name ?? "value", ...path].join(".");
    const why = expected instanceof DecimalType ? expected.misfitOf(part) : null;
    found = `${where}: ${why ?? `expected ${nameOf(expected)}, found ${describe(part)}`}`;
  };
  return type.isValid(value, { errorHook }) ? null : found;
}

function nameOf(type: AvroType): string {
  if (type.name !== undefined) return `${type.typeName} ${type.name}`;
  if (!type.typeName.startsWith("union")) return type.typeName.replace("abstract:", "");
  const schema = type.schema();
  return Array.isArray(schema) ? `one of ${schema.map(branchName).join(", ")}` : type.typeName;
}

function branchName(schema: unknown): string {
  if (typeof schema === "string") return schema;
  if (typeof schema !== "object" || schema === null) return "?";
  return String(Reflect.get(schema, "name") ?? Reflect.get(schema, "type"));
}

/** Never the value itself: errors are logged. */
function describe(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return `an object (${value.constructor?.name ?? "without a prototype"})`;
  return typeof value === "number" && !Number.isSafeInteger(value)
    ? "a number with a fraction or beyond 2^53"
    : `a ${typeof value}`;
}
