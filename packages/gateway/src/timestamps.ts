/** Times in requests: milliseconds since 1970, or as ISO 8601 writes them. */

const ISO_TIME = /^(\d{4})-(\d\d)-(\d\d)T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/;
const MILLISECONDS = /^\d{1,15}$/;

/** What a time must be, for errors. */
export const TIME_MEANING = 'milliseconds since 1970 or a time like "2026-01-31T08:00:00Z"';

/** Of a time in a query. Null for what is none, or lies before 1970. */
export function timestampOf(text: string): number | null {
  return MILLISECONDS.test(text) ? Number(text) : isoTimestamp(text);
}

/** Null for what is none, or lies before 1970. */
export function isoTimestamp(text: string): number | null {
  const match = ISO_TIME.exec(text);
  if (match === null) return null;
  // Date.parse takes February 30th for March 2nd.
  const day = new Date(Date.UTC(Number(match[1]), Number(match[2]) - 1, Number(match[3]))).getUTCDate();
  const timestampMs = Date.parse(text);
  return day === Number(match[3]) && timestampMs >= 0 ? timestampMs : null;
}
