/** A small body, parsed: as strict as the scanner, with its messages. */

import { bodyError, checkText } from "../produce-body.ts";
import { skipValue, skipWhitespace, unexpected } from "./scanner.ts";

/** Throws RequestError INVALID_JSON with line and column. */
export function parseJson(body: Buffer): unknown {
  checkText(body);
  try {
    const end = skipWhitespace(body, skipValue(body, skipWhitespace(body, 0)));
    if (end < body.length) throw unexpected(body, end, "the end");
  } catch (error) {
    throw bodyError(body, error, null);
  }
  return JSON.parse(body.toString("utf8"));
}
