/** One HTTP request in a test, with its answer both ways: as text, whose numbers are exact, and parsed. */

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Null for an empty body, and for one that is no JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it field by field, and fail where a field is missing
  readonly json: any;
}

export async function httpCall(
  method: string,
  url: string,
  body?: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<HttpAnswer> {
  const response = await fetch(url, body === undefined ? { method, headers } : { method, headers, body });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.includes("json") === true && text !== "";
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : null };
}
