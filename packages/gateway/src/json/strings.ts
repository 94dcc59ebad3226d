/** JSON strings that the scanner has passed, as bytes or text. */

import { BACKSLASH } from "./scanner.ts";

/** Half of a surrogate pair: with the u flag whole pairs are one character, so only lone halves match. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** The text of the string whose quotes stand at start and end - 1. */
export function stringText(bytes: Buffer, start: number, end: number): string {
  if (hasEscape(bytes, start, end)) return JSON.parse(bytes.toString("utf8", start, end));
  return bytes.toString("utf8", start + 1, end - 1);
}

/** The string's text in UTF-8, sliced where nothing is escaped. Null if it has a lone surrogate, which UTF-8 cannot say. */
export function stringBytes(bytes: Buffer, start: number, end: number): Buffer | null {
  if (!hasEscape(bytes, start, end)) return bytes.subarray(start + 1, end - 1);
  const text = stringText(bytes, start, end);
  return LONE_SURROGATE.test(text) ? null : Buffer.from(text);
}

export function hasEscape(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start + 1; at < end - 1; at++) if (bytes[at] === BACKSLASH) return true;
  return false;
}
