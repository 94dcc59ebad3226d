/** A small body, parsed: as strict as the scanner, with its messages. */

import { isUtf8 } from "node:buffer";
import { bodyError, checkText } from "../produce-body.ts";
import { JsonSyntaxError, lastQuoteOf, skipValue, skipWhitespace, unexpected } from "./scanner.ts";

/** Throws RequestError INVALID_JSON with line and column. */
export function parseJson(body: Buffer): unknown {
  checkText(body);
  try {
    const end = skipWhitespace(body, skipValue(body, skipWhitespace(body, 0), lastQuoteOf(body)));
    if (end < body.length) throw unexpected(body, end, "the end");
  } catch (error) {
    throw bodyError(body, error, null);
  }
  return JSON.parse(body.toString("utf8"));
}

/** Where the one JSON value of these bytes starts; null if they are not one. */
export function jsonStart(bytes: Buffer): number | null {
  try {
    const start = skipWhitespace(bytes, 0);
    return isUtf8(bytes) && skipWhitespace(bytes, skipValue(bytes, start, lastQuoteOf(bytes))) === bytes.length
      ? start
      : null;
  } catch (error) {
    if (error instanceof JsonSyntaxError) return null;
    throw error;
  }
}
