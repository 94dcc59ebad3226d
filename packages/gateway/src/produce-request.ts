/** ProduceRequest: a request to produce, as it came: enough to read its records now, or later from the journal. */

import type { FastifyRequest } from "fastify";
import { scanEnvelope, scanLines } from "./produce-body.ts";
import type { ProduceQuery } from "./produce-settings.ts";
import { queryHeadersForRecord, rawHeadersForRecord, rawRecord } from "./raw-body.ts";
import { ScannedRecords } from "./scanned-records.ts";
import { isSet } from "./schemas.ts";

/** NDJSON, by its two names. */
export const linesTypes: readonly string[] = ["application/x-ndjson", "application/jsonl"];
/** Up to here such a body is answered as the envelope is; beyond, it is produced while it comes. */
export const SHORT_LINES_BYTES = 1024 * 1024;

export interface ProduceRequest {
  readonly topic: string;
  readonly query: ProduceQuery;
  readonly mediaType: string | undefined;
  /** Names and values by turns: those that make a raw body's record, and the trace where records are to have it. */
  readonly rawHeaders: readonly string[];
  /** Not compressed any more. */
  readonly body: Buffer;
  /** Milliseconds since 1970. */
  readonly receivedAtMs: number;
}

export function readProduceRequest(
  topic: string,
  query: ProduceQuery,
  request: FastifyRequest,
  body: Buffer,
  { receivedAtMs, hasTrace }: { readonly receivedAtMs: number; readonly hasTrace: boolean },
): ProduceRequest {
  const { mediaType } = request;
  const isRaw = isRawBody(query, mediaType);
  return {
    topic,
    query,
    mediaType,
    rawHeaders: isRaw || hasTrace ? headersForRecord(request, isRaw, hasTrace) : [],
    body,
    receivedAtMs,
  };
}

function headersForRecord({ url, raw }: FastifyRequest, isRaw: boolean, hasTrace: boolean): string[] {
  const ofRequest = rawHeadersForRecord(raw.rawHeaders, isRaw, hasTrace);
  return isRaw ? [...queryHeadersForRecord(url), ...ofRequest] : ofRequest;
}

/** The records, checked: which kind of body it is tells the media type. Throws RequestError. */
export function readRecords(request: ProduceRequest, recordLimit: number): ScannedRecords {
  const { query, mediaType, body } = request;
  if (isRawBody(query, mediaType)) return ScannedRecords.of(rawRecord(query, request.rawHeaders));
  return isLinesBody(mediaType) ? scanLines(body, recordLimit) : scanEnvelope(body, recordLimit);
}

/** One value, its key and headers beside it. */
export function isRawBody(query: ProduceQuery, mediaType: string | undefined): boolean {
  return isSet(query.raw) || mediaType === "application/octet-stream" || mediaType === "text/plain";
}

/** A record a line. Any other type, or none, is the envelope. */
export function isLinesBody(mediaType: string | undefined): boolean {
  return mediaType !== undefined && linesTypes.includes(mediaType);
}
