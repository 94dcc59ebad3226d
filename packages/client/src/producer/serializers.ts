/** Serializers: from what a caller has to the bytes of a key or a value. */

/**
 * Turns a value into bytes, or into text that is written as UTF-8. null and undefined never reach it: they are the null
 * key and the null value. May answer with a promise; a throw or rejection fails that record alone.
 */
export type Serializer<T = unknown> = (
  data: T,
  context: SerializationContext,
) => Uint8Array | string | Promise<Uint8Array | string>;

export interface SerializationContext {
  readonly topic: string;
  readonly part: "key" | "value";
}

/** Text as UTF-8. */
export const stringSerializer: Serializer<string> = (data) => {
  if (typeof data === "string") return data;
  throw new TypeError(`expected a string, found ${describe(data)}`);
};

/** Bytes as they are. */
export const bytesSerializer: Serializer<Uint8Array> = (data) => {
  if (data instanceof Uint8Array) return data;
  throw new TypeError(`expected bytes (a Uint8Array), found ${describe(data)}`);
};

/** JSON.stringify; what JSON cannot say (a function, a bigint, a cycle) is an error. */
export const jsonSerializer: Serializer = (data) => {
  const text = JSON.stringify(data);
  if (text === undefined) throw new TypeError(`${describe(data)} has no JSON form`);
  return text;
};

/** What is used where no serializer is set: text and bytes pass, anything else is an error and never guessed. */
export function passTextOrBytes(data: unknown): Uint8Array | string {
  if (typeof data === "string" || data instanceof Uint8Array) return data;
  throw new TypeError(`expected text or bytes, found ${describe(data)}; set a serializer for other types`);
}

function describe(data: unknown): string {
  if (data === null) return "null";
  if (typeof data === "object") return data.constructor?.name ?? "an object";
  return typeof data;
}
