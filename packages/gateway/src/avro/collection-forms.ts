/** Forms of arrays and maps: items in blocks, as many as there are. */

import { type AvroForm, expected, placed } from "./avro-form.ts";
import type { AvroReader } from "./avro-reader.ts";
import type { AvroWriter } from "./avro-writer.ts";
import { type JsonCursor, Misfit } from "./json-cursor.ts";
import { writeText } from "./text-forms.ts";

export class ArrayForm implements AvroForm {
  readonly name = "array";
  readonly #items: AvroForm;

  constructor(items: AvroForm) {
    this.#items = items;
  }

  fits(json: JsonCursor): boolean {
    return json.kind === "array";
  }

  write(json: JsonCursor, out: AvroWriter): void {
    if (json.kind !== "array") throw expected(this, json);
    const block = out.openBlock();
    let index = 0;
    try {
      for (let isMore = json.open(); isMore; isMore = json.next()) {
        this.#items.write(json, out);
        index += 1;
      }
    } catch (error) {
      throw placed(error, index);
    }
    out.closeBlock(block, index);
  }

  read(bytes: AvroReader): string {
    const items: string[] = [];
    try {
      readBlocks(bytes, () => items.push(this.#items.read(bytes)));
    } catch (error) {
      throw placed(error, items.length);
    }
    return `[${items.join(",")}]`;
  }
}

export class MapForm implements AvroForm {
  readonly name = "map";
  readonly #values: AvroForm;

  constructor(values: AvroForm) {
    this.#values = values;
  }

  fits(json: JsonCursor): boolean {
    return json.kind === "object";
  }

  write(json: JsonCursor, out: AvroWriter): void {
    if (json.kind !== "object") throw expected(this, json);
    const block = out.openBlock();
    const seen = new Set<string>();
    let name = "";
    try {
      for (let isMore = json.open(); isMore; isMore = json.next()) {
        name = json.name();
        if (seen.has(name)) throw new Misfit("is given twice");
        seen.add(name);
        writeText(name, out);
        this.#values.write(json, out);
      }
    } catch (error) {
      throw placed(error, name);
    }
    out.closeBlock(block, seen.size);
  }

  read(bytes: AvroReader): string {
    const members: string[] = [];
    let name = "";
    try {
      readBlocks(bytes, () => {
        name = bytes.utf8(bytes.count());
        members.push(`${JSON.stringify(name)}:${this.#values.read(bytes)}`);
      });
    } catch (error) {
      throw placed(error, name);
    }
    return `{${members.join(",")}}`;
  }
}

/** Calls once an item. A negative number of items is followed by the block's size, for readers that skip it. */
function readBlocks(bytes: AvroReader, readItem: () => void): void {
  bytes.descend();
  for (let count = bytes.count(); count !== 0; count = bytes.count()) {
    if (count < 0) bytes.count();
    for (let left = Math.abs(count); left > 0; left--) {
      const before = bytes.offset;
      readItem();
      if (bytes.offset === before) bytes.countEmptyItem();
    }
  }
  bytes.ascend();
}
