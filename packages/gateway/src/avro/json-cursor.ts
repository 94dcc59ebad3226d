/** JsonCursor: goes through JSON that the scanner has passed, value by value. */

import {
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COMMA,
  MINUS,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  skipColon,
  skipString,
  skipValue,
  skipWhitespace,
} from "../json/scanner.ts";
import { stringText } from "../json/strings.ts";

/**
 * Looking ahead reads parts twice, and in unions of unions more often: up to so many times a value's length, so that no
 * value takes time that grows with its length times its depth.
 */
const AHEAD_FACTOR = 32;
const AHEAD_FREE_BYTES = 1024;

const LOWER_F = 0x66;
const LOWER_N = 0x6e;
const LOWER_T = 0x74;

export type JsonKind = "null" | "boolean" | "number" | "string" | "array" | "object";

/** JSON that does not fit its schema; or Avro's bytes that do not. */
export class Misfit extends Error {
  override readonly name = "Misfit";
  /** From the outside in: fields, indexes, names of a map. */
  readonly path: (string | number)[] = [];
}

export class JsonCursor {
  readonly bytes: Buffer;
  /** Where the next value starts; behind it once it was read. */
  at: number;
  readonly #ahead: { leftBytes: number };
  readonly #isAhead: boolean;

  private constructor(bytes: Buffer, at: number, ahead: { leftBytes: number }, isAhead: boolean) {
    this.bytes = bytes;
    this.at = at;
    this.#ahead = ahead;
    this.#isAhead = isAhead;
  }

  /** At the value from start to end. */
  static at(bytes: Buffer, start: number, end: number): JsonCursor {
    return new JsonCursor(bytes, start, { leftBytes: AHEAD_FREE_BYTES + AHEAD_FACTOR * (end - start) }, false);
  }

  /** Another that stands at the same place, to look ahead with. What it reads may throw Misfit, if that was too much. */
  fork(): JsonCursor {
    return new JsonCursor(this.bytes, this.at, this.#ahead, true);
  }

  /** What stands here. */
  get kind(): JsonKind {
    switch (this.bytes[this.at]) {
      case QUOTE:
        return "string";
      case OPEN_BRACE:
        return "object";
      case OPEN_BRACKET:
        return "array";
      case LOWER_N:
        return "null";
      case LOWER_T:
      case LOWER_F:
        return "boolean";
      default:
        return "number";
    }
  }

  skip(): void {
    this.#moveTo(skipValue(this.bytes, this.at));
  }

  boolean(): boolean {
    const isTrue = this.bytes[this.at] === LOWER_T;
    this.skip();
    return isTrue;
  }

  /** As it is written. */
  number(): string {
    const start = this.at;
    this.skip();
    return this.bytes.toString("latin1", start, this.at);
  }

  string(): string {
    const start = this.at;
    this.#moveTo(skipString(this.bytes, start));
    return stringText(this.bytes, start, this.at);
  }

  /** Steps into the array or object that stands here. False if it is empty, and then stands behind it. */
  open(): boolean {
    const closer = this.bytes[this.at] === OPEN_BRACE ? CLOSE_BRACE : CLOSE_BRACKET;
    this.at = skipWhitespace(this.bytes, this.at + 1);
    if (this.bytes[this.at] !== closer) return true;
    this.at += 1;
    return false;
  }

  /** The member's name; its value stands behind it. */
  name(): string {
    const start = this.at;
    const end = skipString(this.bytes, start);
    this.at = skipColon(this.bytes, end);
    return stringText(this.bytes, start, end);
  }

  /** Behind a value: to the next one of the array or object. False if that was the last, and then stands behind them all. */
  next(): boolean {
    this.at = skipWhitespace(this.bytes, this.at);
    const isMore = this.bytes[this.at] === COMMA;
    this.at = isMore ? skipWhitespace(this.bytes, this.at + 1) : this.at + 1;
    return isMore;
  }

  #moveTo(end: number): void {
    if (this.#isAhead) {
      this.#ahead.leftBytes -= end - this.at;
      if (this.#ahead.leftBytes < 0)
        throw new Misfit("it takes too long to tell to which of a union's types it belongs");
    }
    this.at = end;
  }
}

/** Whether the text of a number is one without point and exponent. */
export function isWhole(number: string): boolean {
  for (let index = number.charCodeAt(0) === MINUS ? 1 : 0; index < number.length; index++) {
    const code = number.charCodeAt(index);
    if (code < 0x30 || code > 0x39) return false;
  }
  return true;
}
