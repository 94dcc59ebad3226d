/** A client of Confluent's schema registry, and of those that speak its REST API. */

import {
  type Clock,
  code,
  count,
  defineOptions,
  list,
  millis,
  type Random,
  sleep,
  systemClock,
  systemRandom,
  text,
} from "@millrace/base";
import { KafkaError, type KafkaErrorOptions } from "@millrace/protocol";
import { backoffMs } from "../retry.ts";
import { RecentMap } from "./recent-map.ts";

/** The global fetch, or what behaves like it. */
export type HttpFetch = (url: string, request: RequestInit) => Promise<Response>;

const schemaRegistryOptions = defineOptions({
  url: list({ default: ["http://127.0.0.1:8081"], doc: "Where the registry is; several are tried in turn." }),
  username: text<string | null>({ default: null, doc: "For basic authentication." }),
  password: text<string | null>({ default: null, isSecret: true, doc: "For basic authentication." }),
  timeoutMs: millis({ default: 10_000, min: 1, doc: "Longest wait for one answer." }),
  retries: count({
    default: 2,
    doc: "Most times that a request is sent again, if the registry is away or answers 5xx.",
  }),
  latestMaxAgeMs: millis({ default: 60_000, doc: "How long a subject's latest schema is taken for the latest." }),
  cacheLimit: count({ default: 10_000, min: 1, doc: "Most schemas and ids that are kept." }),
  clock: code<Clock>({ default: systemClock, typeName: "a Clock", accepts: isObject, doc: "Where time comes from." }),
  random: code<Random>({
    default: systemRandom,
    typeName: "a Random",
    accepts: isObject,
    doc: "Where chance comes from.",
  }),
  fetch: code<HttpFetch>({
    // biome-ignore lint/style/noRestrictedGlobals: HTTP is this option's to replace; our Network carries bytes, not HTTP
    default: (url, request) => fetch(url, request),
    typeName: "a function like fetch",
    accepts: (value) => typeof value === "function",
    doc: "What HTTP requests are made with: another agent, a proxy, other credentials.",
  }),
});

export interface SchemaRegistryConfig {
  readonly url?: string | readonly string[];
  readonly username?: string;
  readonly password?: string;
  readonly timeoutMs?: number;
  readonly retries?: number;
  readonly latestMaxAgeMs?: number;
  readonly cacheLimit?: number;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly fetch?: HttpFetch;
}

/** A schema that another uses by name. */
export interface SchemaReference {
  /** The full name of the type. */
  readonly name: string;
  readonly subject: string;
  readonly version: number;
}

export interface StoredSchema {
  /** JSON text. */
  readonly schema: string;
  /** Left out: AVRO. Of another kind the registry gives the text; what it means is for the reader to know. */
  readonly schemaType?: string;
  readonly references: readonly SchemaReference[];
}

/** A schema that another refers to, and by what name. */
export interface ReferencedSchema {
  readonly name: string;
  readonly schema: string;
}

export interface LatestSchema extends StoredSchema {
  readonly id: number;
  readonly version: number;
  /** When it should be asked for again, on the registry's clock. */
  readonly untilMs: number;
}

/** The registry cannot be reached, or does not do what it was asked for. code: SCHEMA_REGISTRY_FAILED. */
export class SchemaRegistryError extends KafkaError {
  override readonly name = "SchemaRegistryError";
  /** Of the registry's answer; null if there was none that could be read. */
  readonly status: number | null;

  constructor(message: string, options: KafkaErrorOptions & { readonly status?: number } = {}) {
    const { status = null, ...rest } = options;
    super("SCHEMA_REGISTRY_FAILED", `schema registry: ${message}`, rest);
    this.status = status;
  }
}

const RETRY_WAITS = { baseMs: 100, maxMs: 1_000 };
/** Deeper references than any real schema has: they would go round in a circle. */
const REFERENCE_DEPTH_LIMIT = 32;
/** What a schema is of which nothing else is said. */
export const AVRO = "AVRO";
const MEDIA_TYPE = "application/vnd.schemaregistry.v1+json";

/**
 * What a schema's id stands for never changes, so that each is asked for once; whoever asks meanwhile waits for the same
 * answer. A failure is not kept.
 *
 * All methods reject with SchemaRegistryError, retriable if the registry could not be reached.
 */
export class SchemaRegistry {
  readonly #options: ReturnType<typeof schemaRegistryOptions.resolve>;
  readonly #answers: RecentMap<string, Promise<unknown>>;
  readonly #latest: RecentMap<string, Promise<LatestSchema>>;

  constructor(config: SchemaRegistryConfig = {}) {
    this.#options = schemaRegistryOptions.resolve({ ...config });
    this.#answers = new RecentMap(this.#options.cacheLimit);
    this.#latest = new RecentMap(this.#options.cacheLimit);
  }

  /** The clock's time, for what `latest` says. */
  nowMs(): number {
    return this.#options.clock.nowMs();
  }

  schemaById(id: number): Promise<StoredSchema> {
    return this.#once(`id ${id}`, async () => storedSchema(await this.#ask("GET", `/schemas/ids/${id}`)));
  }

  /** The id of a schema in a subject. autoRegister: it is added if it is not there; else that is an error. */
  idOf(subject: string, schema: StoredSchema, options: { readonly autoRegister: boolean }): Promise<number> {
    const path = `/subjects/${encodeURIComponent(subject)}${options.autoRegister ? "/versions" : ""}`;
    return this.#once(`${path} ${schema.schemaType ?? ""} ${schema.schema}`, async () => {
      const answer = await this.#ask("POST", path, { schemaType: AVRO, ...schema });
      return numberIn(answer, "id", path);
    });
  }

  /** The newest schema of a subject, no older than latestMaxAgeMs. */
  async latest(subject: string): Promise<LatestSchema> {
    const kept = await this.#latest.get(subject);
    if (kept !== undefined && this.nowMs() < kept.untilMs) return kept;
    const asked = this.#version(subject, "latest");
    this.#latest.set(subject, asked);
    asked.catch(() => this.#latest.delete(subject));
    return asked;
  }

  /** The texts of schemas that are referred to, each behind those that it refers to itself. */
  async resolve(references: readonly SchemaReference[]): Promise<string[]> {
    const texts = (await this.referenced(references)).map(({ schema }) => schema);
    return [...new Set(texts)];
  }

  /** The same with the names by which they are referred to. */
  async referenced(references: readonly SchemaReference[], depth = 0): Promise<ReferencedSchema[]> {
    if (depth > REFERENCE_DEPTH_LIMIT)
      throw new SchemaRegistryError(`references go deeper than ${REFERENCE_DEPTH_LIMIT}`);
    const schemas: ReferencedSchema[] = [];
    for (const { name, subject, version } of references) {
      const found = await this.#once(`${subject} ${version}`, () => this.#version(subject, String(version)));
      const { schema } = found;
      for (const known of [...(await this.referenced(found.references, depth + 1)), { name, schema }]) {
        const isThere = schemas.some((other) => other.name === known.name && other.schema === known.schema);
        if (!isThere) schemas.push(known);
      }
    }
    return schemas;
  }

  async #version(subject: string, version: string): Promise<LatestSchema> {
    const path = `/subjects/${encodeURIComponent(subject)}/versions/${version}`;
    const answer = await this.#ask("GET", path);
    return {
      ...storedSchema(answer),
      id: numberIn(answer, "id", path),
      version: numberIn(answer, "version", path),
      untilMs: this.nowMs() + this.#options.latestMaxAgeMs,
    };
  }

  #once<T>(key: string, ask: () => Promise<T>): Promise<T> {
    const kept = this.#answers.get(key);
    if (kept !== undefined) return kept as Promise<T>; // the key tells what was asked
    const asked = ask();
    this.#answers.set(key, asked);
    asked.catch(() => this.#answers.delete(key));
    return asked;
  }

  async #ask(method: "GET" | "POST", path: string, body?: object): Promise<object> {
    const { url, retries, clock, random } = this.#options;
    for (let attempt = 0; ; attempt++) {
      const base = url[attempt % url.length] ?? "";
      try {
        return await this.#askOnce(method, `${base.replace(/\/$/, "")}${path}`, body);
      } catch (error) {
        if (!(error instanceof KafkaError) || !error.retriable || attempt >= retries) throw error;
        await sleep(clock, backoffMs(attempt, random, RETRY_WAITS));
      }
    }
  }

  async #askOnce(method: "GET" | "POST", url: string, body: object | undefined): Promise<object> {
    const { timeoutMs, clock } = this.#options;
    const where = `${method} ${url}`;
    const timeout = new AbortController();
    const timer = clock.schedule(timeoutMs, () => timeout.abort(new Error(`no answer within ${timeoutMs} ms`)));
    let status: number;
    let answer: string;
    try {
      const response = await this.#options.fetch(url, {
        method,
        headers: this.#headers(),
        signal: timeout.signal,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      status = response.status;
      answer = await response.text();
    } catch (error) {
      throw new SchemaRegistryError(`${where}: ${reasonOf(error)}`, { cause: error, retriable: true });
    } finally {
      timer.cancel();
    }
    const parsed = parseObject(answer);
    if (status >= 200 && status < 300 && parsed !== null) return parsed;
    const told = parsed !== null && "message" in parsed ? parsed.message : answer.slice(0, SHOWN_CHARACTERS);
    throw new SchemaRegistryError(`${where}: ${status} ${told}`, {
      status,
      retriable: status >= 500 || status === TOO_MANY_REQUESTS,
    });
  }

  #headers(): Record<string, string> {
    const { username, password } = this.#options;
    const headers = { accept: `${MEDIA_TYPE}, application/json`, "content-type": MEDIA_TYPE };
    if (username === null) return headers;
    return { ...headers, authorization: `Basic ${Buffer.from(`${username}:${password ?? ""}`).toString("base64")}` };
  }
}

const TOO_MANY_REQUESTS = 429;
const SHOWN_CHARACTERS = 200;

/** fetch says only that it failed; its cause says why. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

function parseObject(json: string): object | null {
  try {
    const parsed: unknown = JSON.parse(json);
    return typeof parsed === "object" ? parsed : null;
  } catch {
    return null;
  }
}

function storedSchema(answer: object): StoredSchema {
  const { schema, references, schemaType } = answer as { schema?: unknown; references?: unknown; schemaType?: unknown };
  if (typeof schema !== "string") throw new SchemaRegistryError("the answer has no schema");
  return {
    schema,
    ...(typeof schemaType === "string" && schemaType !== AVRO ? { schemaType } : {}),
    references: Array.isArray(references) ? references : [],
  };
}

function numberIn(answer: object, name: string, where: string): number {
  const value: unknown = Reflect.get(answer, name);
  if (typeof value === "number") return value;
  throw new SchemaRegistryError(`${where}: the answer has no ${name}`);
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}
