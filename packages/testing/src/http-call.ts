/** One HTTP request in a test, with its answer both ways: as text, whose numbers are exact, and parsed. */

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Null for an empty body, and for one that is no JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it field by field, and fail where a field is missing
  readonly json: any;
}

/** Left to itself, fetch sends a text as text/plain. */
const JSON_TYPE = { "content-type": "application/json" };

export async function httpCall(
  method: string,
  url: string,
  body?: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<HttpAnswer> {
  const init = body === undefined ? { method, headers } : { method, headers: { ...JSON_TYPE, ...headers }, body };
  const response = await fetch(url, init);
  const text = await response.text();
  const isJson = /[/+]json/.test(response.headers.get("content-type") ?? "") && text !== "";
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : null };
}
