/** What `millrace serve` takes: where things listen and lie, and all that the broker and the HTTP API let one set. */

import {
  choice,
  clientAuthModes,
  defineOptions,
  flag,
  type Option,
  type OptionEntries,
  parseAddress,
  text,
} from "@millrace/base";
import { brokerOptions } from "@millrace/broker";
import { gatewayOptions } from "@millrace/gateway";
import { ownVariable, sharedVariable } from "../command/arguments.ts";
import type { OptionSection } from "../command/spec.ts";
import { brokerList } from "./connection.ts";
import { file, optional } from "./optional.ts";
import { asksForSecurity, securityEntries, securityRules } from "./security.ts";

/** Set by serve itself: where to listen, what to listen with. */
const brokerEntries = without(brokerOptions.entries, [
  "dataDir",
  "host",
  "port",
  "advertisedHost",
  "advertisedPort",
  "clock",
  "random",
  "network",
  "fileSystem",
  "logger",
  "processId",
]);
const gatewayEntries = without(gatewayOptions.entries, [
  "host",
  "port",
  "bootstrapServers",
  "ssl",
  "sasl",
  "dataDir",
  "tls",
  "fileSystem",
  "clock",
  "random",
  "network",
  "brokerInProcess",
  "logger",
]);

const tlsEntries = {
  httpTlsCert: file(
    "The certificate of the HTTP port as PEM, with what leads up to its authority. With it HTTP is HTTPS.",
  ),
  httpTlsKey: file("The private key of httpTlsCert, as PEM."),
  httpTlsPassphrase: text<string | null>({ default: null, isSecret: true, doc: "Opens an encrypted httpTlsKey." }),
  httpTlsCa: file("Authorities, as PEM, whose certificates HTTP clients must show, or may: httpTlsClientAuth tells."),
  httpTlsClientAuth: optional(
    choice(clientAuthModes, {
      default: "required",
      doc: "Whether HTTP clients without a certificate are refused (required, which it is with httpTlsCa unless told), or let in if they have an API key (requested): who shows one then needs no key. A certificate of another authority is refused either way. It needs httpTlsCa.",
    }),
  ),
} as const satisfies OptionEntries;

const ownEntries = {
  dataDir: text({
    default: "./millrace-data",
    typeName: "folder",
    doc: "Where the topics and the API keys are kept. Made if it is not there; one server at a time may use it. memory: nowhere; all is gone at the end.",
  }),
  kafka: address({
    default: "127.0.0.1:9092",
    doc: "Where Kafka clients connect. Port 0 takes any free one.",
  }),
  http: address({
    default: "127.0.0.1:8080",
    doc: "Where HTTP clients connect. Port 0 takes any free one.",
  }),
  advertise: address<string | null>({
    default: null,
    doc: "What Kafka clients are told to connect to, where that is not the address above: behind NAT, in a container.",
  }),
  insecure: flag({
    default: false,
    doc: "Listens on other addresses than loopback although everybody who reaches them may then read and write. It is not needed for an address that asks who comes: HTTP with auth keys or required certificates, Kafka with saslUsersFile or kafkaTlsClientAuth required.",
  }),
  logLevel: optional(
    choice(["debug", "info", "warn", "error", "silent"], {
      default: "info",
      doc: "What is logged, on stderr. Without it warn where that is a terminal, else info.",
    }),
  ),
  config: text<string | null>({
    default: null,
    typeName: "file",
    doc: "A JSON file with these options in camelCase as keys.",
  }),
} as const satisfies OptionEntries;

const clusterEntries = {
  brokers: brokerList({
    default: [],
    doc: "Another Kafka to serve the HTTP API over. With it no broker is started, and --kafka has no meaning.",
  }),
  ...securityEntries,
} as const satisfies OptionEntries;

const entries = { ...ownEntries, ...clusterEntries, ...brokerEntries, ...tlsEntries, ...gatewayEntries };

export const serveOptions = defineOptions(entries, [
  ...securityRules,
  {
    option: "brokers",
    rule: "is missing: the ssl and sasl options are for other brokers. Those of our own ports begin with kafkaTls, sasl and httpTls",
    isKept: (options) => options.brokers.length > 0 || !asksForSecurity(options),
  },
  {
    option: "httpTlsCert",
    rule: "httpTlsCert and httpTlsKey go together",
    isKept: ({ httpTlsCert, httpTlsKey }) => (httpTlsCert === null) === (httpTlsKey === null),
  },
  {
    option: "httpTlsCa",
    rule: "httpTlsCa needs httpTlsCert and httpTlsKey",
    isKept: ({ httpTlsCa, httpTlsCert }) => httpTlsCa === null || httpTlsCert !== null,
  },
  {
    option: "httpTlsClientAuth",
    rule: "httpTlsClientAuth and httpTlsCa go together",
    isKept: ({ httpTlsClientAuth, httpTlsCa }) =>
      httpTlsClientAuth === null || (httpTlsClientAuth === "none") === (httpTlsCa === null),
  },
]);
export type ServeOptions = ReturnType<typeof serveOptions.resolve>;

export const serveSections: readonly OptionSection[] = [
  { title: "Another Kafka", options: Object.keys(clusterEntries) },
  { title: "Broker", options: Object.keys(brokerEntries) },
  { title: "HTTP", options: [...Object.keys(tlsEntries), ...Object.keys(gatewayEntries)] },
];

/** The broker's own options among those of serve. */
export function brokerConfig(options: ServeOptions) {
  return pick(options, brokerEntries);
}

/** The gateway's own options among those of serve. */
export function gatewayConfig(options: ServeOptions) {
  return pick(options, gatewayEntries);
}

/** MILLRACE_BROKERS means the cluster of the client commands: whoever has it set still wants a broker from `serve`. */
export function serveVariable(option: string): string {
  return option in clusterEntries ? ownVariable("serve", option) : sharedVariable(option);
}

function address<T extends string | null = string>(spec: { readonly default: T; readonly doc: string }): Option<T> {
  const option = text<T>({ ...spec, typeName: "host:port" });
  return {
    ...option,
    check(value) {
      const given = option.check(value);
      if (given === null || parseAddress(given) !== null) return given;
      throw new Error("must be host:port, as in 127.0.0.1:9092");
    },
  };
}

function without<E extends OptionEntries, const K extends keyof E>(entries: E, names: readonly K[]): Omit<E, K> {
  const left: Partial<E> = { ...entries };
  for (const name of names) delete left[name];
  return left as Omit<E, K>; // exactly the named ones were taken away
}

function pick<E extends OptionEntries>(
  options: ServeOptions,
  entries: E,
): Pick<ServeOptions, keyof E & keyof ServeOptions> {
  const picked = Object.entries(options).filter(([name]) => name in entries);
  return Object.fromEntries(picked) as Pick<ServeOptions, keyof E & keyof ServeOptions>; // these keys, by the filter
}
