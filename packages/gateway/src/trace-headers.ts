/** Trace headers: the W3C trace context of a request, as headers of its records. Source: W3C Trace Context, sections 3.2 and 3.3. */

import type { ScannedHeader } from "./scanned-records.ts";

const NAMES: ReadonlySet<string> = new Set(["traceparent", "tracestate"]);
const TRACEPARENT = /^[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}/;

export const noTrace: readonly ScannedHeader[] = [];

/** rawHeaders: names and values by turns, as Node has them. None if there is no valid traceparent. */
export function traceOf(rawHeaders: readonly string[]): readonly ScannedHeader[] {
  const headers: ScannedHeader[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? "").toLowerCase();
    if (NAMES.has(name)) headers.push([name, Buffer.from(rawHeaders[index + 1] ?? "", "latin1")]);
  }
  const isValid = headers.some(([name, value]) => name === "traceparent" && TRACEPARENT.test(String(value)));
  return isValid ? headers : noTrace;
}

export function isTraceHeader(lowerName: string): boolean {
  return NAMES.has(lowerName);
}

/** A record's own headers, and the request's trace behind them unless the record has one. */
export function withTrace(
  own: readonly ScannedHeader[] | null,
  trace: readonly ScannedHeader[],
): readonly ScannedHeader[] | null {
  if (trace.length === 0 || own === null) return trace.length === 0 ? own : trace;
  return own.some(([name]) => NAMES.has(name.toLowerCase())) ? own : [...own, ...trace];
}
