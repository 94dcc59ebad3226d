/**
 * Whether what one schema wrote can be read with another.
 *
 * Source: Avro 1.12 specification, "Schema Resolution", as Java's SchemaCompatibility applies it: names of records are
 * compared without their namespace, logical types count for nothing.
 */

import avro from "avsc";
import type { Incompatibility } from "./schema-kinds.ts";

const { types } = avro;
export type AvroType = avro.Type;

/** Reasons that are told of; a schema that is another altogether has one for every part. */
const REASONS_LIMIT = 20;

/** Why data of the writer's schema cannot be read with the reader's. Empty if it can. */
export function incompatibilities(reader: AvroType, writer: AvroType): readonly Incompatibility[] {
  return new Comparison().compare(reader, writer, "").slice(0, REASONS_LIMIT);
}

const none: readonly Incompatibility[] = [];

class Comparison {
  /** Pairs that were compared, or are being compared further up: a type may hold itself. */
  readonly #compared = new Map<AvroType, Map<AvroType, readonly Incompatibility[]>>();

  compare(reader: AvroType, writer: AvroType, path: string): readonly Incompatibility[] {
    const byWriter = this.#compared.get(reader) ?? new Map<AvroType, readonly Incompatibility[]>();
    this.#compared.set(reader, byWriter);
    const known = byWriter.get(writer);
    if (known !== undefined) return known;
    byWriter.set(writer, none);
    const found = this.#compareKinds(reader, writer, path);
    byWriter.set(writer, found);
    return found;
  }

  #compareKinds(reader: AvroType, writer: AvroType, path: string): readonly Incompatibility[] {
    const writerBranches = branchesOf(writer);
    // Whatever was written must be readable.
    if (writerBranches !== null) return writerBranches.flatMap((branch) => this.#compareBranch(reader, branch, path));
    const readerBranches = branchesOf(reader);
    if (readerBranches !== null) {
      const isReadable = readerBranches.some((branch) => this.compare(branch, writer, path).length === 0);
      return isReadable ? none : [missingBranch(writer, path)];
    }
    return this.#compareTypes(reader, writer, path);
  }

  #compareBranch(reader: AvroType, writer: AvroType, path: string): readonly Incompatibility[] {
    const found = this.compare(reader, writer, path);
    return found.length > 0 && branchesOf(reader) !== null ? [missingBranch(writer, path)] : found;
  }

  #compareTypes(reader: AvroType, writer: AvroType, path: string): readonly Incompatibility[] {
    if (reader instanceof types.RecordType && writer instanceof types.RecordType) {
      return [...compareNames(reader, writer, path), ...this.#compareFields(reader, writer, path)];
    }
    if (reader instanceof types.ArrayType && writer instanceof types.ArrayType) {
      return this.compare(reader.itemsType, writer.itemsType, `${path}/items`);
    }
    if (reader instanceof types.MapType && writer instanceof types.MapType) {
      return this.compare(reader.valuesType, writer.valuesType, `${path}/values`);
    }
    if (reader instanceof types.EnumType && writer instanceof types.EnumType) {
      return [...compareNames(reader, writer, path), ...compareSymbols(reader, writer, path)];
    }
    if (reader instanceof types.FixedType && writer instanceof types.FixedType) {
      return [...compareNames(reader, writer, path), ...compareSizes(reader, writer, path)];
    }
    const from = kindOf(writer);
    const into = kindOf(reader);
    if (from === into || promotions[from]?.includes(into) === true) return none;
    const description = `The type (path '${path || "/"}') of a field in the READER schema does not match with the WRITER schema`;
    return [
      {
        errorType: "TYPE_MISMATCH",
        path,
        description,
        additionalInfo: `reader type: ${into} not compatible with writer type: ${from}`,
      },
    ];
  }

  #compareFields(reader: avro.types.RecordType, writer: avro.types.RecordType, path: string): Incompatibility[] {
    const written = new Map(writer.fields.map((field) => [field.name, field]));
    return reader.fields.flatMap((field, index) => {
      const place = `${path}/fields/${index}`;
      const source = [field.name, ...field.aliases]
        .map((name) => written.get(name))
        .find((found) => found !== undefined);
      if (source !== undefined) return this.compare(field.type, source.type, `${place}/type`);
      if (field.defaultValue() !== undefined) return [];
      const description = `The field '${field.name}' at path '${place}' in the READER schema has no default value and is missing in the WRITER schema`;
      return [
        {
          errorType: "READER_FIELD_MISSING_DEFAULT_VALUE" as const,
          path: place,
          description,
          additionalInfo: field.name,
        },
      ];
    });
  }
}

/** What a primitive type's values may be read as, beside itself. */
const promotions: Readonly<Record<string, readonly string[]>> = {
  INT: ["LONG", "FLOAT", "DOUBLE"],
  LONG: ["FLOAT", "DOUBLE"],
  FLOAT: ["DOUBLE"],
  STRING: ["BYTES"],
  BYTES: ["STRING"],
};

function branchesOf(type: AvroType): readonly AvroType[] | null {
  return type instanceof types.UnwrappedUnionType || type instanceof types.WrappedUnionType ? type.types : null;
}

function compareNames(reader: AvroType, writer: AvroType, path: string): Incompatibility[] {
  const readerName = reader.name ?? "";
  const writerName = writer.name ?? "";
  const isSame = lastName(readerName) === lastName(writerName) || (reader.aliases ?? []).includes(writerName);
  if (isSame) return [];
  const description = `The name of the schema has changed (path '${path}/name')`;
  return [{ errorType: "NAME_MISMATCH", path: `${path}/name`, description, additionalInfo: `expected: ${writerName}` }];
}

function lastName(fullName: string): string {
  return fullName.slice(fullName.lastIndexOf(".") + 1);
}

/** A reader that has a default takes it for symbols that it does not know. */
function compareSymbols(reader: avro.types.EnumType, writer: avro.types.EnumType, path: string): Incompatibility[] {
  const unknown = writer.symbols.filter((symbol) => !reader.symbols.includes(symbol));
  const fallback: unknown = Reflect.get(reader, "default"); // its types leave it out
  if (unknown.length === 0 || fallback !== undefined) return [];
  const place = `${path}/symbols`;
  const additionalInfo = `[${unknown.join(", ")}]`;
  const description = `The READER schema is missing enum symbols '${additionalInfo}' at path '${place}' in the WRITER schema`;
  return [{ errorType: "MISSING_ENUM_SYMBOLS", path: place, description, additionalInfo }];
}

function compareSizes(reader: avro.types.FixedType, writer: avro.types.FixedType, path: string): Incompatibility[] {
  if (reader.size === writer.size) return [];
  const place = `${path}/size`;
  const description = `The size of FIXED type field at path '${place}' in the READER schema does not match with the WRITER schema`;
  return [
    {
      errorType: "FIXED_SIZE_MISMATCH",
      path: place,
      description,
      additionalInfo: `expected: ${writer.size}, found: ${reader.size}`,
    },
  ];
}

function missingBranch(writer: AvroType, path: string): Incompatibility {
  const description = `The READER schema is missing a type inside a union field at path '${path || "/"}' in the WRITER schema`;
  return {
    errorType: "MISSING_UNION_BRANCH",
    path,
    description,
    additionalInfo: `reader union lacking writer type: ${kindOf(writer)}`,
  };
}

/** As Java names it: "RECORD", "LONG". */
function kindOf(type: AvroType): string {
  return type.typeName.replace("error", "record").toUpperCase();
}
