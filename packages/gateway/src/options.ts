/** Every option of the gateway, once. */

import {
  type ClientAuth,
  choice,
  code,
  count,
  DAY_MS,
  defineOptions,
  type FileSystem,
  flag,
  GIBIBYTE,
  KIBIBYTE,
  list,
  MEBIBYTE,
  MINUTE_MS,
  millis,
  nodeFileSystem,
  type OptionsOf,
  SECOND_MS,
  sizeBytes,
  text,
} from "@millrace/base";
import { commonOptions } from "@millrace/client/internal";

/** All PEM. */
export interface GatewayTls {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  readonly passphrase?: string;
  /** Authority of the certificates that clients show; without it they are not asked for one. */
  readonly ca?: string | Buffer;
  /** With ca: required, the default, or requested: a client may come without, and a certificate does instead of an API key. */
  readonly clientAuth?: Exclude<ClientAuth, "none">;
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

/** As browsers send it: other spellings would match none of them. */
function isOrigin(text: string): boolean {
  return text === "*" || /^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+$/i.test(text);
}

export const gatewayOptions = defineOptions({
  host: text({ default: "127.0.0.1", doc: "Address to listen on for HTTP." }),
  port: count({ default: 8080, max: 65_535, doc: "Port to listen on for HTTP; 0 takes any that is free." }),
  bootstrapServers: commonOptions.entries.bootstrapServers,
  ssl: commonOptions.entries.ssl,
  sasl: commonOptions.entries.sasl,
  clientId: text({
    default: "millrace-gateway",
    kafka: "client.id",
    doc: "The name by which brokers know this gateway.",
  }),
  dataDir: text<string | null>({
    default: null,
    typeName: "folder",
    doc: "Folder for what must outlive the process, API keys among it. Without it, or with memory: all of it is gone when the gateway closes.",
  }),
  auth: choice(["none", "keys"], {
    default: "none",
    doc: "Who may send requests: everybody who reaches the port, or who has an API key. Health is open either way. Where apiKeys are given, it is keys. Where certificates of clients are requested, one does instead of a key.",
  }),
  apiKeys: list({
    default: [],
    isSecret: true,
    doc: "Fixed API keys that may do everything, beside those that millrace keys makes. Better as a variable or in the config file: others can see the flags of a process.",
  }),
  audit: choice(["changes", "requests"], {
    default: "changes",
    doc: "What is logged of API keys and certificates of clients: keys that come and go, refusals, and once a minute how often each was used; or each request too.",
  }),
  tls: code<GatewayTls | null>({
    default: null,
    typeName: "{ cert, key, passphrase, ca, clientAuth } or null",
    accepts: (value) => typeof value === "object" && value !== null && "cert" in value && "key" in value,
    doc: "Certificate and private key as PEM: HTTPS instead of HTTP. With ca, every client must show a certificate of that authority, or with clientAuth requested may.",
  }),
  bodyLimitBytes: sizeBytes({
    default: 16 * MEBIBYTE,
    min: 1,
    doc: "Largest body of a request, as it is sent; a larger one is answered with 413.",
  }),
  inflatedLimitBytes: sizeBytes({
    default: 16 * MEBIBYTE,
    min: 1,
    doc: "What a compressed body may become when it is inflated; more is answered with 413.",
  }),
  recordLimit: count({
    default: 100_000,
    min: 1,
    doc: "Most records in one request; more are answered with 413.",
  }),
  bytesInFlightLimit: sizeBytes({
    default: 32 * MEBIBYTE,
    min: KIBIBYTE,
    doc: "Bytes that may be held at once of bodies, counted as they come, and of answers and events that clients have not read; beyond it, stalled uploads and tails are ended, then requests are answered with 503.",
  }),
  requestsInFlightLimit: count({
    default: 10_000,
    min: 1,
    doc: "Requests that may be worked on at once; beyond it requests are answered with 503.",
  }),
  connectionLimit: count({
    default: 12_000,
    min: 1,
    doc: "Connections that may be open at once; a further one is answered with 503 and closed.",
  }),
  keyRequestsPerSecond: count({
    default: 0,
    doc: "Requests a second of each API key, or of all together without keys; beyond it they are answered with 429. 0: as many as come.",
  }),
  keyBytesPerSecond: sizeBytes({
    default: 0,
    doc: "Bytes of bodies a second of each API key, or of all together without keys; beyond it requests are answered with 429. 0: as many as come.",
  }),
  messagesLimit: count({
    default: 10_000,
    min: 1,
    doc: "Most messages that one read gives, whatever limit it asks for.",
  }),
  messagesLimitBytes: sizeBytes({
    default: 8 * MEBIBYTE,
    min: 1,
    doc: "Where one read of messages ends, short of its limit, counted in bytes of keys and values; it gives at least one.",
  }),
  tailLimit: count({
    default: 100,
    doc: "Event streams of topics that may be open at once, each with connections of its own to brokers; more are answered with 503.",
  }),
  headerLimitBytes: sizeBytes({
    default: 16 * KIBIBYTE,
    min: KIBIBYTE,
    doc: "Largest request line and headers together; more are answered with 431.",
  }),
  requestTimeoutMs: millis({
    default: 60 * SECOND_MS,
    min: 1,
    doc: "Longest that a client may take to send one request, headers and body; then 408 and the connection is closed.",
  }),
  unreadTimeoutMs: millis({
    default: 2 * MINUTE_MS,
    min: 1,
    doc: "How long an answer may stay unread before its connection is closed. It is never less than the time in which records get their answer, and no status is waited for any longer.",
  }),
  keepAliveTimeoutMs: millis({
    default: 72 * SECOND_MS,
    min: 1,
    doc: "How long an idle connection is kept. Longer than the 60 s of most proxies, so that they close first.",
  }),
  deliveryTimeoutMs: millis({
    default: 30 * SECOND_MS,
    min: 1,
    kafka: "delivery.timeout.ms",
    doc: "Longest that records of a request may wait for their acknowledgement; then 504. A request may ask for less with timeout_ms.",
  }),
  maxBlockMs: millis({
    default: 5 * SECOND_MS,
    kafka: "max.block.ms",
    doc: "Longest that a request waits for room in the buffer or for a topic's metadata; then 503.",
  }),
  bufferMemory: sizeBytes({
    default: 32 * MEBIBYTE,
    min: KIBIBYTE,
    kafka: "buffer.memory",
    doc: "Bytes of records that may wait to be sent, for all requests together.",
  }),
  asyncRequestsLimit: count({
    default: 100_000,
    doc: "Most async requests that are kept, finished ones included; more are answered with 429. 0: none are taken.",
  }),
  asyncLimitBytes: sizeBytes({
    default: GIBIBYTE,
    doc: "Most bytes on disk of async requests and their results; more are answered with 429.",
  }),
  asyncRetentionMs: millis({
    default: 30 * MINUTE_MS,
    doc: "How long the result of an async request can be asked for.",
  }),
  asyncSweepMs: millis({
    default: 5 * MINUTE_MS,
    min: 1,
    doc: "How often what is older is thrown away.",
  }),
  asyncTimeoutLimitMs: millis({
    default: 30 * MINUTE_MS,
    min: 1,
    doc: "Longest timeout_ms of an async request. Without timeout_ms it is deliveryTimeoutMs.",
  }),
  maxRequestSize: sizeBytes({
    default: MEBIBYTE,
    min: KIBIBYTE,
    kafka: "max.request.size",
    doc: "Largest record, before compression; a larger one fails alone. The brokers' max.message.bytes holds beside it.",
  }),
  idempotencyRetentionMs: millis({
    default: DAY_MS,
    min: 1,
    doc: "How long a request with an Idempotency-Key is remembered: sent again, it is answered as the first time and not done again.",
  }),
  idempotencyKeysLimit: count({
    default: 100_000,
    min: 1,
    doc: "Most idempotency keys that are remembered; when there are more, the oldest are forgotten.",
  }),
  idempotencyLimitBytes: sizeBytes({
    default: 256 * MEBIBYTE,
    min: MEBIBYTE,
    doc: "Most bytes on disk of answers that are kept for idempotency keys; when there are more, the oldest are forgotten.",
  }),
  schemaRegistry: list({
    default: [],
    items: { rule: "must be addresses as http://host:port", accepts: isHttpUrl },
    doc: "A schema registry that speaks Confluent's REST API, for records in Avro or with a JSON schema; several addresses of one are tried in turn. Without it: the built-in one, under /schemas, which keeps schemas in the topic _schemas.",
  }),
  schemaRegistryUsername: text<string | null>({ default: null, doc: "For basic authentication at schemaRegistry." }),
  schemaRegistryPassword: text<string | null>({
    default: null,
    isSecret: true,
    doc: "For basic authentication at schemaRegistry.",
  }),
  schemaRegistryTimeoutMs: millis({
    default: 5 * SECOND_MS,
    min: 1,
    doc: "Longest wait for one answer of schemaRegistry; it is asked up to three times, then requests that need it are answered with 503.",
  }),
  lingerMs: millis({
    default: 0,
    kafka: "linger.ms",
    doc: "How long a record waits for others to share a batch with, beyond what load makes it wait.",
  }),
  allowedHosts: list({
    default: [],
    doc: "Names by which the server may be addressed, beside localhost and any address. Without any: on a loopback address no other, elsewhere all.",
  }),
  corsOrigin: list({
    default: [],
    items: { rule: "must be origins as https://host:port, without a path, or *", accepts: isOrigin },
    doc: "Web pages that may send requests, as https://host:port; * for all. Pages of the server itself always may.",
  }),
  topicCacheMs: millis({
    default: 5 * SECOND_MS,
    min: 1,
    doc: "How long a topic is taken to be there as it was before brokers are asked again, in the background.",
  }),
  shutdownDelayMs: millis({
    default: 0,
    doc: "How long close goes on taking requests after readiness went off, so that balancers look elsewhere first.",
  }),
  traceHeaders: flag({
    default: true,
    doc: "Puts the W3C trace context of a request (traceparent, tracestate) into the headers of its records, unless they have their own.",
  }),
  closeTimeoutMs: millis({
    default: 10 * SECOND_MS,
    doc: "Longest that close waits for requests under way.",
  }),
  fileSystem: code<FileSystem>({
    default: nodeFileSystem,
    typeName: "FileSystem",
    accepts: (value) => typeof value === "object" && value !== null,
    doc: "The disk of dataDir.",
  }),
  logRequests: flag({ default: false, doc: "Logs each request with its id, route, status and time." }),
  network: commonOptions.entries.network,
  brokerInProcess: code<boolean>({
    default: false,
    typeName: "true | false",
    accepts: (value) => typeof value === "boolean",
    doc: "The broker is in this process, where network reaches it: there is no way there and back for more requests at once to bridge.",
  }),
  clock: commonOptions.entries.clock,
  random: commonOptions.entries.random,
  logger: commonOptions.entries.logger,
});

export type GatewayOptions = OptionsOf<typeof gatewayOptions.entries>;

/** What the gateway's producers, readers and its admin have in common: how brokers are reached, and the seams. */
export function clientConfig(options: GatewayOptions) {
  const { bootstrapServers, ssl, sasl, clientId, network, clock, random, logger } = options;
  return { bootstrapServers, ssl, sasl, clientId, network, clock, random, logger };
}

/** A server with keys of its own that let everybody in without one is never what was meant. */
export function asksForKeys({ auth, apiKeys }: Pick<GatewayOptions, "auth" | "apiKeys">): boolean {
  return auth === "keys" || apiKeys.length > 0;
}

/** What a caller gives: all optional, the servers as text or list. */
export type GatewayConfig = {
  readonly [K in keyof GatewayOptions]?: K extends "bootstrapServers"
    ? string | readonly string[]
    : GatewayOptions[K] | undefined;
};
