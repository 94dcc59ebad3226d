/** What can be set on a broker: each option once, with its default, its Kafka name and its meaning. */

import {
  type Clock,
  choice,
  clientAuthModes,
  code,
  count,
  DAY_MS,
  defineOptions,
  type FileSystem,
  flag,
  type Logger,
  list,
  MEBIBYTE,
  MINUTE_MS,
  millis,
  type Network,
  nodeFileSystem,
  type Option,
  type OptionEntries,
  type OptionsOf,
  parseAddress,
  type Random,
  SECOND_MS,
  silentLogger,
  sizeBytes,
  systemClock,
  systemRandom,
  tcpNetwork,
  text,
} from "@millrace/base";
import { type SaslMechanism, saslMechanisms } from "./security/sasl-session.ts";
import { isUsers } from "./security/users-file.ts";

/** As dataDir: no folder at all. */
export const IN_MEMORY = "memory";

const isObject = (value: unknown) => typeof value === "object" && value !== null;

const entries = {
  dataDir: text({
    default: "./millrace-data",
    kafka: "log.dirs",
    doc: "Folder that holds all topics. Made if it is not there; one broker at a time may use it. memory: no folder; all is gone when the broker closes.",
  }),
  host: text({
    default: "127.0.0.1",
    doc: "Address to listen on. Anything but loopback is open to whoever can reach it.",
  }),
  port: count({ default: 9092, max: 65535, doc: "Port of the Kafka protocol; 0 takes any free one." }),
  advertisedHost: text<string | null>({
    default: null,
    kafka: "advertised.listeners",
    doc: "Host that clients are told to connect to. Without it: the address on which a client reached the broker.",
  }),
  advertisedPort: count({
    default: 0,
    max: 65535,
    kafka: "advertised.listeners",
    doc: "Port that clients are told to connect to; 0: the one the broker listens on.",
  }),
  nodeId: count({
    default: 1,
    max: 2 ** 31 - 1,
    kafka: "node.id",
    doc: "The broker's number in what clients are told.",
  }),

  kafkaTls: address(
    "Where clients connect with TLS, as host:port; port 0 takes any free one. It needs kafkaTlsCert and kafkaTlsKey.",
  ),
  kafkaTlsAdvertise: address(
    "What clients of kafkaTls are told to connect to. Without it: the address on which a client reached the broker.",
  ),
  kafkaTlsCert: file(
    "The certificate of kafkaTls as PEM, with what leads up to its authority.",
    "ssl.keystore.location",
  ),
  kafkaTlsKey: file("The private key of kafkaTlsCert, as PEM.", "ssl.keystore.key"),
  kafkaTlsClientCa: file("Authorities, as PEM, whose certificates clients may show.", "ssl.truststore.location"),
  kafkaTlsClientAuth: choice(clientAuthModes, {
    default: "none",
    kafka: "ssl.client.auth",
    doc: "Whether clients of kafkaTls are asked for a certificate, and refused without one (required) or let in without a name (requested); one of another authority is refused either way. It needs kafkaTlsClientCa.",
  }),
  saslUsers: code<Readonly<Record<string, string>> | null>({
    default: null,
    typeName: "an object of names and passwords",
    accepts: isUsers,
    isSecret: true,
    doc: "Who may log in. With users, clients have to.",
  }),
  saslUsersFile: file('A JSON file of who may log in, names and passwords: {"alice": "…"}. With it, clients have to.'),
  saslMechanisms: mechanisms(),
  saslOn: choice(["all", "tls"], {
    default: "all",
    doc: "Where clients have to log in, if there are users: everywhere, or with TLS only, so that the other listener must be one that only friends reach.",
  }),
  saslFailureDelayMs: millis({
    default: 100,
    kafka: "connection.failed.authentication.delay.ms",
    doc: "How long the answer to a failed login takes, so that guessing takes longer.",
  }),
  saslSessionMs: millis({
    default: 0,
    kafka: "connections.max.reauth.ms",
    doc: "How long a login lasts; clients log in again before it ends. 0: for ever.",
  }),
  secretsCheckIntervalMs: millis({
    default: 10 * SECOND_MS,
    min: 1,
    doc: "How often it is looked whether certificates, keys or the users file have changed; they are taken over then.",
  }),

  superUsers: principals(
    "Who may do everything, as User:admin;User:CN=ops,O=Example. With any, access control lists say what all others may do, which is nothing at first.",
  ),
  allowEveryoneIfNoAclFound: flag({
    default: false,
    kafka: "allow.everyone.if.no.acl.found",
    doc: "With superUsers: whether everybody may use what no access control list is about.",
  }),

  defaultPartitions: count({
    default: 6,
    min: 1,
    max: 10_000,
    kafka: "num.partitions",
    doc: "Partitions of a topic that is created without saying how many.",
  }),
  maxPartitionsPerTopic: count({ default: 10_000, min: 1, doc: "Most partitions that a topic may have." }),
  autoCreateTopics: flag({
    default: true,
    kafka: "auto.create.topics.enable",
    doc: "Whether asking for a topic that is not there creates it, where the client allows that.",
  }),
  replicationFactorPolicy: choice(["clamp", "reject"], {
    default: "clamp",
    aliases: ["rfPolicy"],
    doc: "A topic asked for with more than one replica is created with one and a warning (clamp), or refused as Kafka with one broker does (reject).",
  }),
  deleteTopics: flag({ default: true, kafka: "delete.topic.enable", doc: "Whether topics may be deleted." }),

  flush: choice(["always", "interval", "os"], {
    default: "always",
    doc: "When written records reach the disk. always: before they are acknowledged with acks=all. interval: every flushIntervalMs or flushIntervalBytes; a power cut may lose acknowledged records of that span. os: when the operating system likes; a power cut may lose more.",
  }),
  flushIntervalMs: millis({
    default: 100,
    min: 1,
    kafka: "log.flush.interval.ms",
    doc: "With flush=interval: longest that an acknowledged record may be unsynced.",
  }),
  flushIntervalBytes: sizeBytes({
    default: MEBIBYTE,
    min: 1,
    doc: "With flush=interval: most unsynced bytes of a partition.",
  }),
  segmentBytes: sizeBytes({
    default: 128 * MEBIBYTE,
    min: MEBIBYTE,
    max: 2 ** 31 - 1,
    kafka: "log.segment.bytes",
    doc: "Size at which a partition starts a new segment file. Retention deletes whole segments; recovery reads the last one.",
  }),
  segmentMs: millis({
    default: 7 * DAY_MS,
    min: 1,
    kafka: "log.roll.ms",
    doc: "Age at which a partition starts a new segment file even if the last one is not full.",
  }),
  indexIntervalBytes: sizeBytes({
    default: 4096,
    kafka: "log.index.interval.bytes",
    doc: "Bytes of a segment between two entries of its index.",
  }),
  maxMessageBytes: sizeBytes({
    default: 1_048_588,
    kafka: "message.max.bytes",
    doc: "Largest record batch that is taken, as sent, compressed or not.",
  }),
  retentionMs: count({
    default: 7 * DAY_MS,
    min: -1,
    kafka: "log.retention.ms",
    doc: "Milliseconds that records are kept; -1 for ever.",
  }),
  retentionBytes: count({
    default: -1,
    min: -1,
    kafka: "log.retention.bytes",
    doc: "Bytes that a partition keeps; -1 without limit.",
  }),
  retentionCheckIntervalMs: millis({
    default: 5 * MINUTE_MS,
    min: 1,
    kafka: "log.retention.check.interval.ms",
    doc: "How often old segments are looked for.",
  }),
  producerIdExpirationMs: millis({
    default: DAY_MS,
    min: 1,
    kafka: "producer.id.expiration.ms",
    doc: "A producer that wrote nothing to a partition for so long is forgotten there.",
  }),
  queuedBytesPerPartition: sizeBytes({
    default: 64 * MEBIBYTE,
    min: MEBIBYTE,
    doc: "Bytes of a partition that may wait to be written; beyond it producers are told to try again.",
  }),

  maxConnections: count({
    default: 10_000,
    min: 1,
    kafka: "max.connections",
    doc: "Connections at a time; one more is closed at once.",
  }),
  maxConnectionsPerIp: count({
    default: 2 ** 31 - 1,
    min: 1,
    kafka: "max.connections.per.ip",
    doc: "Connections at a time from one address; one more is closed at once.",
  }),
  answerTimeoutMs: millis({
    default: 2 * MINUTE_MS,
    min: 1,
    doc: "A client that has not taken an answer after so long is closed: what it does not read is held in memory.",
  }),
  idleConnectionMs: millis({
    default: 10 * MINUTE_MS,
    min: 1,
    kafka: "connections.max.idle.ms",
    doc: "A connection that says nothing for so long is closed.",
  }),
  maxFrameBytes: sizeBytes({
    default: 100 * MEBIBYTE,
    min: 1024,
    max: 2 ** 31 - 1,
    kafka: "socket.request.max.bytes",
    doc: "Largest request; a larger one closes its connection.",
  }),
  maxFirstFrameBytes: sizeBytes({
    default: 512 * 1024,
    min: 1024,
    doc: "Largest request on a connection that has not yet shown that it speaks the Kafka protocol.",
  }),
  maxRequestBytes: sizeBytes({
    default: 512 * MEBIBYTE,
    min: 1024,
    kafka: "queued.max.request.bytes",
    doc: "Bytes of requests in progress on all connections; above it no connection is read until some are answered.",
  }),
  maxPendingResponses: count({
    default: 128,
    min: 1,
    doc: "Requests in progress on one connection; above it the connection is not read.",
  }),
  fetchMaxBytes: sizeBytes({
    default: 55 * MEBIBYTE,
    min: 1024,
    kafka: "fetch.max.bytes",
    doc: "Most bytes of records in one fetch response, except that one batch is always given whole.",
  }),

  fetchMemoryBytes: sizeBytes({
    default: 256 * MEBIBYTE,
    min: MEBIBYTE,
    doc: "Bytes of records on their way to clients, over all connections; beyond it a fetch waits for others to be taken.",
  }),

  quotaBurstMs: millis({
    default: SECOND_MS,
    min: 1,
    kafka: "quota.window.size.seconds",
    doc: "A client with a quota that has paused may use at once what its quota gives in so long.",
  }),

  groupMinSessionTimeoutMs: millis({
    default: 6 * SECOND_MS,
    kafka: "group.min.session.timeout.ms",
    doc: "Shortest session timeout that a group member may ask for.",
  }),
  groupMaxSessionTimeoutMs: millis({
    default: 30 * MINUTE_MS,
    kafka: "group.max.session.timeout.ms",
    doc: "Longest session timeout that a group member may ask for.",
  }),
  groupInitialRebalanceDelayMs: millis({
    default: 0,
    kafka: "group.initial.rebalance.delay.ms",
    doc: "How long a new group waits for more members before its first assignment.",
  }),
  groupMaxSize: count({ default: 10_000, min: 1, kafka: "group.max.size", doc: "Most members of a group." }),
  offsetsRetentionMs: millis({
    default: 7 * DAY_MS,
    min: 1,
    kafka: "offsets.retention.minutes",
    doc: "How long a group without members keeps its committed offsets.",
  }),
  offsetMetadataMaxBytes: sizeBytes({
    default: 4096,
    kafka: "offset.metadata.max.bytes",
    doc: "Longest text that may be committed with an offset.",
  }),

  clock: code<Clock>({ default: systemClock, typeName: "a Clock", accepts: isObject, doc: "Where time comes from." }),
  random: code<Random>({
    default: systemRandom,
    typeName: "a Random",
    accepts: isObject,
    doc: "Where chance comes from.",
  }),
  network: code<Network>({ default: tcpNetwork, typeName: "a Network", accepts: isObject, doc: "Where to listen." }),
  fileSystem: code<FileSystem>({
    default: nodeFileSystem,
    typeName: "a FileSystem",
    accepts: isObject,
    doc: "The disk.",
  }),
  processId: code<number>({
    default: process.pid,
    typeName: "a process id",
    accepts: (value) => Number.isInteger(value),
    doc: "What the lock of the data dir says of this process; a simulation gives the same one in every run.",
  }),
  logger: code<Logger>({ default: silentLogger, typeName: "a Logger", accepts: isObject, doc: "Where log lines go." }),
} as const satisfies OptionEntries;

export const brokerOptions = defineOptions(entries, [
  {
    option: "kafkaTls",
    rule: "kafkaTls, kafkaTlsCert and kafkaTlsKey go together",
    isKept: ({ kafkaTls, kafkaTlsCert, kafkaTlsKey }) =>
      new Set([kafkaTls === null, kafkaTlsCert === null, kafkaTlsKey === null]).size === 1,
  },
  {
    option: "kafkaTlsClientAuth",
    rule: "kafkaTlsClientAuth and kafkaTlsClientCa go together",
    isKept: ({ kafkaTlsClientAuth, kafkaTlsClientCa }) =>
      (kafkaTlsClientAuth === "none") === (kafkaTlsClientCa === null),
  },
  {
    option: "allowEveryoneIfNoAclFound",
    rule: "allowEveryoneIfNoAclFound needs superUsers, without which there are no access control lists",
    isKept: ({ allowEveryoneIfNoAclFound, superUsers }) => !allowEveryoneIfNoAclFound || superUsers.length > 0,
  },
]);

function address(doc: string): Option<string | null> {
  const option = text<string | null>({ default: null, typeName: "host:port", doc });
  return {
    ...option,
    check(value) {
      const given = option.check(value);
      if (given === null || parseAddress(given) !== null) return given;
      throw new Error("must be host:port, as in 127.0.0.1:9093");
    },
  };
}

function file(doc: string, kafka?: string): Option<string | null> {
  return text<string | null>({ default: null, typeName: "file", doc, ...(kafka === undefined ? {} : { kafka }) });
}

function mechanisms(): Option<readonly SaslMechanism[]> {
  const option = list({
    default: saslMechanisms,
    kafka: "sasl.enabled.mechanisms",
    doc: "How clients may log in: PLAIN shows the password to whoever listens in without TLS, SCRAM does not.",
  });
  return {
    ...option,
    default: saslMechanisms,
    check(value) {
      const names = option.check(value);
      const known = saslMechanisms.filter((mechanism) => names.includes(mechanism));
      if (known.length > 0 && known.length === names.length) return known;
      throw new Error(`must be some of ${saslMechanisms.join(", ")}`);
    },
  };
}

/** Separated by semicolons, as Kafka has it: the names in certificates are full of commas. */
function principals(doc: string): Option<readonly string[]> {
  const split = (given: string) =>
    given
      .split(";")
      .map((item) => item.trim())
      .filter((item) => item !== "");
  return {
    ...list({ default: [], kafka: "super.users", doc }),
    typeName: "list, separated by semicolons",
    check(value) {
      const items = typeof value === "string" ? split(value) : value;
      const isFine = (item: unknown) => typeof item === "string" && /^User:./.test(item);
      if (Array.isArray(items) && items.every(isFine)) return items;
      throw new Error("must be a list of principals, as User:admin;User:CN=ops,O=Example");
    },
    parse: split,
  };
}

export type ResolvedBrokerOptions = OptionsOf<typeof brokerOptions.entries>;
/** As given by whoever opens a broker: what is left out has its default. */
export type BrokerOptions = Partial<ResolvedBrokerOptions>;
