/**
 * Between JSON and Avro's bytes, as a schema says, without a value in between: 64-bit integers and decimals keep their
 * digits, strings their text.
 *
 * JSON is as Avro's own JSON encoding has it, and as people write it: a member of a union may stand plainly (`"paid"`) or
 * with its type (`{"string":"paid"}`), fields with a default may be left out, a decimal is its number or the text of it.
 *
 * Source: Avro 1.12 specification, "Binary Encoding" and "JSON Encoding".
 */

import { type AvroType, DecimalType } from "@millrace/client/internal/avro";
import avro from "avsc";
import type { AvroForm, FormOf } from "./avro-form.ts";
import { ArrayForm, MapForm } from "./collection-forms.ts";
import { booleanForm, nullForm } from "./literal-forms.ts";
import { DecimalForm, doubleForm, floatForm, intForm, longForm } from "./number-forms.ts";
import { RecordForm } from "./record-form.ts";
import { bytesForm, EnumForm, FixedForm, stringForm } from "./text-forms.ts";
import { UnionForm } from "./union-form.ts";

const { types } = avro;

const primitives: Readonly<Record<string, AvroForm>> = {
  null: nullForm,
  boolean: booleanForm,
  int: intForm,
  long: longForm,
  float: floatForm,
  double: doubleForm,
  string: stringForm,
  bytes: bytesForm,
};

/** Builds the forms of a type and all it consists of. */
export function formOf(type: AvroType, known = new Map<AvroType, AvroForm>()): AvroForm {
  const found = known.get(type);
  if (found !== undefined) return found;
  const form = createForm(type, (part) => formOf(part, known), known);
  known.set(type, form);
  return form;
}

function createForm(type: AvroType, of: FormOf, known: Map<AvroType, AvroForm>): AvroForm {
  if (type instanceof DecimalType) return new DecimalForm(type);
  if (type instanceof types.LogicalType) return of(type.underlyingType);
  if (type instanceof types.RecordType) {
    const form = new RecordForm(type);
    // Before its fields: they may hold it again.
    known.set(type, form);
    form.build(of);
    return form;
  }
  if (type instanceof types.ArrayType) return new ArrayForm(of(type.itemsType));
  if (type instanceof types.MapType) return new MapForm(of(type.valuesType));
  if (type instanceof types.EnumType) return new EnumForm(type);
  if (type instanceof types.FixedType) return new FixedForm(type);
  if (type instanceof types.UnwrappedUnionType || type instanceof types.WrappedUnionType) {
    return new UnionForm(type.types, type.types.map(of));
  }
  const form = primitives[type.typeName.replace("abstract:", "")];
  if (form === undefined) throw new TypeError(`there is no Avro type ${type.typeName}`);
  return form;
}
