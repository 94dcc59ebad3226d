/** The options that Producer, Admin and Reader share: where the brokers are, how long to wait for them, and the seams. */

import {
  type Clock,
  code,
  count,
  defineOptions,
  type Logger,
  list,
  millis,
  type Network,
  type Option,
  type OptionsOf,
  parseAddress,
  type Random,
  silentLogger,
  sizeBytes,
  systemClock,
  systemRandom,
  type TlsOptions,
  tcpNetwork,
  text,
} from "@millrace/base";
import type { SaslOptions } from "./cluster/sasl.ts";

export const DEFAULT_KAFKA_PORT = 9092;

const servers = list({
  default: ["127.0.0.1:9092"],
  kafka: "bootstrap.servers",
  aliases: ["brokers"],
  doc: "Brokers to ask first, as host:port, separated by commas; the rest of the cluster is learned from them. Without a port, 9092.",
});

/** A list of addresses: checked when it is given, not when the first connection fails. */
const bootstrapServers: Option<readonly string[]> = {
  ...servers,
  typeName: "host:port, separated by commas",
  check(value) {
    const given = servers.check(value);
    if (given.length > 0 && given.every((server) => parseAddress(server, DEFAULT_KAFKA_PORT) !== null)) return given;
    throw new Error("must be one or more of host:port");
  },
};

export const commonOptions = defineOptions({
  bootstrapServers,
  clientId: text({
    default: "millrace",
    kafka: "client.id",
    doc: "The name by which brokers know this client, in their logs, metrics and quotas.",
  }),
  requestTimeoutMs: millis({
    default: 30_000,
    min: 1,
    kafka: "request.timeout.ms",
    doc: "Longest wait for the answer to a request. Then the connection is closed, so that a late answer cannot be taken for another's.",
  }),
  connectTimeoutMs: millis({
    default: 10_000,
    min: 1,
    kafka: "socket.connection.setup.timeout.ms",
    doc: "Longest that a connection may take until it can be used: connect, TLS, version exchange and authentication together.",
  }),
  connectionsMaxIdleMs: millis({
    default: 540_000,
    min: 1,
    kafka: "connections.max.idle.ms",
    doc: "A connection that was not used for so long is closed, before the broker does it in the middle of a request.",
  }),
  reconnectBackoffMs: millis({
    default: 50,
    kafka: "reconnect.backoff.ms",
    doc: "Wait after the first failed connect to a broker; doubles with each further one.",
  }),
  reconnectBackoffMaxMs: millis({
    default: 1_000,
    kafka: "reconnect.backoff.max.ms",
    doc: "Longest wait between two connects to a broker.",
  }),
  retryBackoffMs: millis({
    default: 100,
    kafka: "retry.backoff.ms",
    doc: "Wait before the first retry of a request; doubles with each further one.",
  }),
  retryBackoffMaxMs: millis({
    default: 1_000,
    kafka: "retry.backoff.max.ms",
    doc: "Longest wait between two attempts of a request.",
  }),
  metadataMaxAgeMs: millis({
    default: 300_000,
    min: 1,
    kafka: "metadata.max.age.ms",
    doc: "What is known about brokers and topics is asked for again when it is older, even if nothing failed.",
  }),
  metadataMaxIdleMs: millis({
    default: 300_000,
    min: 1,
    kafka: "metadata.max.idle.ms",
    doc: "A topic that was not used for so long is no longer asked for.",
  }),
  receiveMessageMaxBytes: sizeBytes({
    default: 100 * 1024 * 1024,
    min: 1024,
    kafka: "receive.message.max.bytes",
    doc: "Largest answer that is accepted from a broker; a larger one closes the connection. The name is librdkafka's.",
  }),
  maxPendingRequests: count({
    default: 1_000,
    min: 1,
    doc: "Most requests that may wait for their answer on one connection; one more is refused.",
  }),
  ssl: code<SslOptions | null>({
    default: null,
    typeName: "true, TLS options, or a function that gives them",
    isSecret: true,
    accepts: (value) => value === true || typeof value === "function" || (typeof value === "object" && value !== null),
    kafka: "security.protocol",
    doc: "Speak TLS: true trusts the authorities that Node knows; ca, cert, key, passphrase, servername and rejectUnauthorized say otherwise. A function is asked for each connection, so that certificates can be renewed while the program runs.",
  }),
  sasl: code<SaslOptions | null>({
    default: null,
    typeName: "mechanism with username and password, or with a token function",
    isSecret: true,
    accepts: isSaslOptions,
    kafka: "sasl.mechanism",
    doc: "Who we are: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 with username and password, or OAUTHBEARER with a function that gives a token. A function as password or token is asked for each login, so that they can be renewed while the program runs.",
  }),
  network: code<Network>({
    default: tcpNetwork,
    typeName: "a Network",
    accepts: hasMethods("connect", "listen"),
    doc: "What connections are made over: TCP, or in-process to an embedded broker.",
  }),
  clock: code<Clock>({
    default: systemClock,
    typeName: "a Clock",
    accepts: hasMethods("nowMs", "timestampMs", "schedule", "defer"),
    doc: "Where time comes from.",
  }),
  random: code<Random>({
    default: systemRandom,
    typeName: "a Random",
    accepts: hasMethods("float", "integer", "bytes"),
    doc: "Where chance comes from.",
  }),
  logger: code<Logger>({
    default: silentLogger,
    typeName: "a Logger",
    accepts: hasMethods("debug", "info", "warn", "error"),
    doc: "Where log lines go, in pino's form. No line holds a key or a value of a record.",
  }),
});

/** True: trust the authorities that Node knows, show no certificate. */
export type SslOptions = true | TlsOptions | (() => TlsOptions);

export type CommonOptions = OptionsOf<typeof commonOptions.entries>;

/** What a user gives for a table of options that contains the common ones: all optional, the servers as text or list. */
export type ConfigOf<Options extends CommonOptions> = {
  readonly [K in keyof Options]?: K extends "bootstrapServers" ? string | readonly string[] : Options[K] | undefined;
} & {
  /** Another name of bootstrapServers. */
  readonly brokers?: string | readonly string[];
};

function isSaslOptions(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const mechanism: unknown = Reflect.get(value, "mechanism");
  if (mechanism === "OAUTHBEARER") return typeof Reflect.get(value, "token") === "function";
  const isPassword = mechanism === "PLAIN" || mechanism === "SCRAM-SHA-256" || mechanism === "SCRAM-SHA-512";
  const password: unknown = Reflect.get(value, "password");
  const isKnown = typeof password === "string" || typeof password === "function";
  return isPassword && isKnown && typeof Reflect.get(value, "username") === "string";
}

function hasMethods(...names: readonly string[]): (value: unknown) => boolean {
  return (value) =>
    typeof value === "object" &&
    value !== null &&
    names.every((name) => typeof Reflect.get(value, name) === "function");
}
