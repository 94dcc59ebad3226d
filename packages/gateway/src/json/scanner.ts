/**
 * A strict JSON scanner: checks RFC 8259 over bytes and tells where a value ends, without making the value.
 *
 * What it lets pass is sliced out of the body and stored as it was sent: spacing, key order, 64-bit integers and `\u`
 * escapes survive, and nothing is allocated for them. The caller has checked that the bytes are UTF-8 (`isUtf8`, which
 * costs next to nothing), so that a byte of 0x80 or more inside a string needs no look here.
 *
 * Every function takes the place where something starts and returns the place behind it. A byte past the end reads as 0
 * (`byteAt`), which no JSON allows anywhere: that is what ends the loops.
 *
 * No array is read past its end, not even once: V8 would compile every read at that place anew, for elements that are
 * not there, and a single body that breaks off halved the speed of all that came after it (Node 20).
 */

/** Containers within containers; deeper is refused, so that no reader behind us is driven into its stack's end. */
export const JSON_DEPTH_LIMIT = 512;

/** Text that is no JSON. */
export class JsonSyntaxError extends Error {
  override readonly name = "JsonSyntaxError";
  /** Where, counted from the start of the scanned bytes. */
  readonly byteOffset: number;

  constructor(message: string, byteOffset: number) {
    super(message);
    this.byteOffset = byteOffset;
  }
}

const TAB = 0x09;
export const NEWLINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
export const MINUS = 0x2d;
const POINT = 0x2e;
export const ZERO = 0x30;
const NINE = 0x39;
const PLUS = 0x2b;
const UPPER_E = 0x45;
const LOWER_E = 0x65;
const LOWER_F = 0x66;
const LOWER_T = 0x74;
const LOWER_U = 0x75;
export const QUOTE = 0x22;
export const COMMA = 0x2c;
const COLON = 0x3a;
export const OPEN_BRACKET = 0x5b;
export const BACKSLASH = 0x5c;
export const CLOSE_BRACKET = 0x5d;
export const OPEN_BRACE = 0x7b;
export const CLOSE_BRACE = 0x7d;

/** Tables of one byte per byte value: one look instead of several comparisons. */
const IS_SPACE = byteSet([TAB, NEWLINE, RETURN, SPACE]);
const IS_DIGIT = byteSet(codes("0123456789"));
const CONTINUES_NUMBER = byteSet(codes(".eE"));
const IS_HEX = byteSet(codes("0123456789abcdefABCDEF"));
const IS_ESCAPED = byteSet(codes('"\\/bfnrt'));
/** Ends a run of plain bytes in a string: the quote, the backslash, control characters, and the 0 behind the end. */
const ENDS_RUN = byteSet([QUOTE, BACKSLASH, ...Array.from({ length: SPACE }, (_, byte) => byte)]);

/** What closes the container at each depth, of the value being scanned: one for all, as a scan runs to its end in one go. */
const CLOSERS = new Uint8Array(JSON_DEPTH_LIMIT + 1);

/**
 * Checks the value that starts here. Throws JsonSyntaxError.
 *
 * lastQuote: what `lastQuoteOf` says of the bytes, from callers that want it fast: up to there each string finds its end,
 * and need not ask at each byte whether there are more (1.2 times as fast). To look for it takes a look at all the bytes
 * where they have no quotes, so it is not done for each value.
 *
 * One loop with its own stack, and all that most values consist of within it: as functions that call each other it ran
 * at half this speed whenever the compiler chose not to inline them. `node bench/json.mjs` measures it beside JSON.parse.
 */
export function skipValue(bytes: Uint8Array, at: number, lastQuote = -1): number {
  const end = bytes.length;
  let depth = 0;
  let closer = 0;
  for (;;) {
    const first = at < end ? (bytes[at] ?? 0) : 0;
    if (first === QUOTE) at = behindString(bytes, at, lastQuote);
    else if (first === OPEN_BRACE || first === OPEN_BRACKET) {
      if (depth === JSON_DEPTH_LIMIT) throw tooDeep(at);
      const closes = first + 2; // "{" and "}", "[" and "]" are two apart
      at += 1;
      if (at < end && (bytes[at] ?? 0) <= SPACE) at = skipWhitespace(bytes, at);
      if (at === end || bytes[at] !== closes) {
        depth += 1;
        closer = closes;
        CLOSERS[depth] = closer;
        if (closer === CLOSE_BRACE) at = skipName(bytes, at, lastQuote);
        continue;
      }
      at += 1;
    } else if (first > ZERO && first <= NINE) {
      at += 1;
      while (at < end && IS_DIGIT[bytes[at] ?? 0] === 1) at += 1;
      if (at < end && CONTINUES_NUMBER[bytes[at] ?? 0] === 1) at = skipFraction(bytes, at);
    } else if (first <= ZERO) at = skipNumber(bytes, at);
    else if (first === LOWER_T) at = skipWord(bytes, at, TRUE);
    else if (first === LOWER_F) at = skipWord(bytes, at, FALSE);
    else at = skipWord(bytes, at, NULL);

    // A value has ended: close what ends with it, up to a comma with the next one behind it.
    for (;;) {
      if (depth === 0) return at;
      let next = at < end ? (bytes[at] ?? 0) : 0;
      if (next <= SPACE) {
        at = skipWhitespace(bytes, at);
        next = byteAt(bytes, at);
      }
      at += 1;
      if (next === COMMA) {
        if (at < end && (bytes[at] ?? 0) <= SPACE) at = skipWhitespace(bytes, at);
        if (closer === CLOSE_BRACE) at = skipName(bytes, at, lastQuote);
        break;
      }
      if (next !== closer) throw unexpected(bytes, at - 1, closer === CLOSE_BRACE ? '"," or "}"' : '"," or "]"');
      depth -= 1;
      closer = CLOSERS[depth] ?? 0;
    }
  }
}

/** The place of the last quote; -1 if there is none. */
export function lastQuoteOf(bytes: Uint8Array): number {
  return bytes.lastIndexOf(QUOTE);
}

/** Behind the string whose quote stands here. */
function behindString(bytes: Uint8Array, at: number, lastQuote: number): number {
  if (at >= lastQuote) return endOfString(bytes, at + 1);
  at += 1;
  while (ENDS_RUN[bytes[at] ?? 0] === 0) at += 1;
  return bytes[at] === QUOTE ? at + 1 : endOfString(bytes, at);
}

/** At the value behind the member's name that starts here. */
function skipName(bytes: Uint8Array, at: number, lastQuote: number): number {
  const end = bytes.length;
  if (at >= end || bytes[at] !== QUOTE) throw unexpected(bytes, at, "a name in quotes");
  at = behindString(bytes, at, lastQuote);
  at = at < end && bytes[at] === COLON ? at + 1 : behindColon(bytes, at);
  return at < end && (bytes[at] ?? 0) <= SPACE ? skipWhitespace(bytes, at) : at;
}

/** Behind the colon that may have space before it. */
function behindColon(bytes: Uint8Array, at: number): number {
  at = skipWhitespace(bytes, at);
  if (byteAt(bytes, at) !== COLON) throw unexpected(bytes, at, '":"');
  return at + 1;
}

export function skipColon(bytes: Uint8Array, at: number): number {
  return skipSpace(bytes, byteAt(bytes, at) === COLON ? at + 1 : behindColon(bytes, at));
}

/** As skipWhitespace, where there mostly is none. */
export function skipSpace(bytes: Uint8Array, at: number): number {
  return byteAt(bytes, at) <= SPACE ? skipWhitespace(bytes, at) : at;
}

export function skipWhitespace(bytes: Uint8Array, at: number): number {
  const end = bytes.length;
  while (at < end && IS_SPACE[bytes[at] ?? 0] === 1) at += 1;
  return at;
}

/** The caller has seen the opening quote. */
export function skipString(bytes: Uint8Array, at: number): number {
  return endOfString(bytes, at + 1);
}

/** Behind the closing quote of a string that goes on here. */
function endOfString(bytes: Uint8Array, at: number): number {
  const end = bytes.length;
  for (;;) {
    while (at < end && ENDS_RUN[bytes[at] ?? 0] === 0) at += 1;
    if (at < end && bytes[at] === QUOTE) return at + 1;
    at = skipEscape(bytes, at);
  }
}

function skipEscape(bytes: Uint8Array, at: number): number {
  if (byteAt(bytes, at) !== BACKSLASH) throw unexpected(bytes, at, "a closing quote");
  const escaped = byteAt(bytes, at + 1);
  if (IS_ESCAPED[escaped] === 1) return at + 2;
  if (escaped !== LOWER_U) throw unexpected(bytes, at + 1, 'an escape: one of " \\ / b f n r t u');
  for (let digit = at + 2; digit < at + 6; digit++) {
    if (IS_HEX[byteAt(bytes, digit)] === 0) throw unexpected(bytes, digit, "four hexadecimal digits after \\u");
  }
  return at + 6;
}

/** One that begins with a minus or a zero. */
function skipNumber(bytes: Uint8Array, at: number): number {
  if (byteAt(bytes, at) === MINUS) at += 1;
  else if (byteAt(bytes, at) !== ZERO) throw unexpected(bytes, at, "a value");
  return skipFraction(bytes, byteAt(bytes, at) === ZERO ? at + 1 : skipDigits(bytes, at));
}

/** What may stand behind a number's whole part. */
function skipFraction(bytes: Uint8Array, at: number): number {
  if (byteAt(bytes, at) === POINT) at = skipDigits(bytes, at + 1);
  const letter = byteAt(bytes, at);
  if (letter !== LOWER_E && letter !== UPPER_E) return at;
  const sign = byteAt(bytes, at + 1);
  return skipDigits(bytes, sign === PLUS || sign === MINUS ? at + 2 : at + 1);
}

function skipDigits(bytes: Uint8Array, at: number): number {
  const end = bytes.length;
  const start = at;
  while (at < end && IS_DIGIT[bytes[at] ?? 0] === 1) at += 1;
  if (at === start) throw unexpected(bytes, at, "a digit");
  return at;
}

/** 0 past the end. */
export function byteAt(bytes: Uint8Array, at: number): number {
  return at < bytes.length ? (bytes[at] ?? 0) : 0;
}

const TRUE = codes("true");
const FALSE = codes("false");
const NULL = codes("null");

function skipWord(bytes: Uint8Array, at: number, word: readonly number[]): number {
  for (let index = 0; index < word.length; index++) {
    if (byteAt(bytes, at + index) === word[index]) continue;
    throw unexpected(bytes, at + index, index === 0 ? "a value" : String.fromCharCode(...word));
  }
  return at + word.length;
}

function tooDeep(at: number): JsonSyntaxError {
  return new JsonSyntaxError(`values are nested more than ${JSON_DEPTH_LIMIT} deep`, at);
}

/** "expected a value, found "}"": the error for what stands here. */
export function unexpected(bytes: Uint8Array, at: number, expected: string): JsonSyntaxError {
  return new JsonSyntaxError(
    `expected ${expected}, found ${at < bytes.length ? describeByte(bytes[at] ?? 0) : "the end"}`,
    at,
  );
}

function describeByte(byte: number): string {
  if (byte < SPACE || byte === 0x7f) return `the control character 0x${byte.toString(16).padStart(2, "0")}`;
  if (byte > 0x7f) return "a character outside of ASCII";
  return byte === QUOTE ? "a quote" : `"${String.fromCharCode(byte)}"`;
}

/** Line and column of a byte, both from 1; a column is a character, however many bytes it has. */
export function locate(bytes: Uint8Array, byteOffset: number): { readonly line: number; readonly column: number } {
  let line = 1;
  let column = 1;
  for (let at = 0; at < byteOffset && at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === NEWLINE) {
      line += 1;
      column = 1;
    } else if ((byte & 0xc0) !== 0x80) column += 1; // the bytes that go on a character are 10xxxxxx
  }
  return { line, column };
}

function byteSet(members: readonly number[]): Uint8Array {
  const set = new Uint8Array(256);
  for (const member of members) set[member] = 1;
  return set;
}

function codes(text: string): number[] {
  return [...text].map((character) => character.charCodeAt(0));
}
