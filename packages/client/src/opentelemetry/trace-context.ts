/** The trace that a record belongs to, in its headers: W3C Trace Context, or whatever propagator is set. */

import { type Context, context as contexts, propagation } from "@opentelemetry/api";
import type { ProducerRecord, RecordHeaders } from "../producer/record.ts";

type HeaderList = Extract<RecordHeaders, readonly unknown[]>;

/** The record with the context in its headers. Headers of that name which it has already are replaced. */
export function injectContext<R extends ProducerRecord>(record: R, context: Context = contexts.active()): R {
  const carrier: Record<string, string> = {};
  propagation.inject(context, carrier);
  const added = Object.entries(carrier);
  if (added.length === 0) return record;
  const kept = listOf(record.headers).filter(([name]) => !Object.hasOwn(carrier, name));
  return { ...record, headers: [...kept, ...added] };
}

/** The context in a record's headers, for whoever reads it; the given one where there is none. */
export function extractContext(
  record: { readonly headers: readonly (readonly [name: string, value: Uint8Array | null])[] },
  context: Context = contexts.active(),
): Context {
  const carrier: Record<string, string> = {};
  for (const [name, value] of record.headers)
    if (value !== null) carrier[name.toLowerCase()] = Buffer.from(value).toString();
  return propagation.extract(context, carrier);
}

function listOf(headers: RecordHeaders | undefined): HeaderList {
  if (headers === undefined || headers === null) return [];
  return isList(headers) ? headers : Object.entries(headers);
}

function isList(headers: RecordHeaders): headers is HeaderList {
  return Array.isArray(headers);
}
