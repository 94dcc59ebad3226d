/** UnionForm: which of its types a value is of; plainly or named, as Avro's JSON encoding names it. */

import type { AvroType } from "@millrace/client/internal/avro";
import { type AvroForm, expected, placed } from "./avro-form.ts";
import type { AvroReader } from "./avro-reader.ts";
import type { AvroWriter } from "./avro-writer.ts";
import { MapForm } from "./collection-forms.ts";
import { type JsonCursor, Misfit } from "./json-cursor.ts";
import { nullForm } from "./literal-forms.ts";
import { doubleForm, floatForm } from "./number-forms.ts";
import { RecordForm } from "./record-form.ts";

interface Branch {
  /** As JSON names it: the full name, or that of the primitive type. */
  readonly tag: string;
  readonly index: number;
  readonly form: AvroForm;
}

export class UnionForm implements AvroForm {
  readonly name: string;
  readonly #branches: readonly Branch[];
  /** Those beside null. */
  readonly #others: readonly Branch[];

  constructor(members: readonly AvroType[], forms: readonly AvroForm[]) {
    this.#branches = forms.map((form, index) => ({ tag: tagOf(members[index]), index, form }));
    this.#others = this.#branches.filter(({ form }) => form !== nullForm);
    this.name = `one of ${this.#branches.map(({ tag }) => tag).join(", ")}`;
  }

  fits(json: JsonCursor): boolean {
    return this.#branches.some(({ form }) => form.fits(json));
  }

  write(json: JsonCursor, out: AvroWriter): void {
    const tagged = json.kind === "object" ? this.#taggedBranch(json) : null;
    const branch = tagged ?? this.#plainBranch(json);
    if (branch === null) throw expected(this, json);
    out.int(branch.index);
    if (tagged === null) {
      branch.form.write(json, out);
      return;
    }
    json.open();
    json.name();
    try {
      branch.form.write(json, out);
    } catch (error) {
      throw placed(error, tagged.tag);
    }
    json.next();
  }

  /** Of an object whose only member is named as a branch is. An object that is a record as it stands is that record. */
  #taggedBranch(json: JsonCursor): Branch | null {
    const ahead = json.fork();
    if (!ahead.open()) return null;
    const name = ahead.name();
    const branch = this.#branches.find(({ tag }) => tag === name);
    if (branch === undefined) return null;
    ahead.skip();
    if (ahead.next()) return null;
    return this.#others.some(({ form }) => form instanceof RecordForm && form.fits(json)) ? null : branch;
  }

  #plainBranch(json: JsonCursor): Branch | null {
    const { kind } = json;
    if (kind === "null") return this.#branches.find(({ form }) => form === nullForm) ?? null;
    const candidates = kind === "object" ? this.#others.filter(({ form }) => isObjectForm(form)) : this.#others;
    // What does not fit it is told better by the branch itself.
    if (candidates.length === 1) return candidates[0] ?? null;
    const fitting = candidates.find(({ form }) => form.fits(json));
    if (fitting !== undefined || kind !== "number") return fitting ?? null;
    // No branch holds it exactly; where JSON has a number, a float or double takes the nearest that it has.
    return candidates.find(({ form }) => form === doubleForm || form === floatForm) ?? null;
  }

  /** Plainly where null is the only other; else with its type, so that it can be told which it was. */
  read(bytes: AvroReader): string {
    const branch = this.#branches[bytes.count()];
    if (branch === undefined) throw new Misfit(`expected ${this.name}, found an index that it does not have`);
    const json = branch.form.read(bytes);
    const isPlain = branch.form === nullForm || this.#others.length === 1;
    return isPlain ? json : `{${JSON.stringify(branch.tag)}:${json}}`;
  }
}

function isObjectForm(form: AvroForm): boolean {
  return form instanceof RecordForm || form instanceof MapForm;
}

function tagOf(type: AvroType | undefined): string {
  return type?.branchName ?? type?.typeName.replace("abstract:", "") ?? "";
}
