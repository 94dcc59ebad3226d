/** AvroReader: Avro's bytes, where every length is checked against what there is. */

import { Reader } from "@millrace/protocol";
import { JSON_DEPTH_LIMIT } from "../json/scanner.ts";
import { Misfit } from "./json-cursor.ts";

/** Items that take no bytes, of all arrays in one value: a few bytes could stand for billions of them. */
const EMPTY_ITEMS_LIMIT = 10_000;

export class AvroReader extends Reader {
  #depth = 0;
  #emptyItemCount = 0;

  /** Into a part that may hold parts of its own kind; `ascend` leads out. */
  descend(): void {
    this.#depth += 1;
    if (this.#depth > JSON_DEPTH_LIMIT) throw new Misfit(`values are nested more than ${JSON_DEPTH_LIMIT} deep`);
  }

  ascend(): void {
    this.#depth -= 1;
  }

  countEmptyItem(): void {
    this.#emptyItemCount += 1;
    if (this.#emptyItemCount <= EMPTY_ITEMS_LIMIT) return;
    throw new Misfit(`there are more than ${EMPTY_ITEMS_LIMIT} items that take no bytes`);
  }

  /** A length or index: what does not fit a number fits nothing. */
  count(): number {
    const value = this.varlong();
    if (value < -BigInt(Number.MAX_SAFE_INTEGER) || value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new Misfit(`expected a length, found ${value}`);
    }
    return Number(value);
  }
}
