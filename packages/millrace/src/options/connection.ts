/** How the client commands reach a cluster: the options that all of them share. */

import { readFileSync } from "node:fs";
import {
  choice,
  flag,
  flagName,
  formatAddress,
  list,
  type Option,
  type OptionEntries,
  type OptionRule,
  type OptionsOf,
  parseAddress,
  text,
} from "@millrace/base";
import type { SaslOptions, SslOptions } from "@millrace/client";
import { ownVariable, sharedVariable } from "../command/arguments.ts";
import { CommandError } from "../command/errors.ts";
import { optional } from "./optional.ts";

export const DEFAULT_KAFKA_PORT = 9092;

export const connectionEntries = {
  brokers: brokerList({
    default: ["127.0.0.1:9092"],
    aliases: ["bootstrapServers"],
    doc: "The brokers to ask first, as host:port; one that answers is enough.",
  }),
  ssl: flag({ default: false, doc: "Speaks TLS to the brokers. Goes without saying where one of the next is given." }),
  sslCa: file("The authorities to trust, as PEM, instead of those that Node knows."),
  sslCert: file("Our own certificate, as PEM, for brokers that ask for one."),
  sslKey: file("The private key of sslCert, as PEM."),
  sslPassphrase: text<string | null>({ default: null, isSecret: true, doc: "Opens an encrypted sslKey." }),
  sslVerify: flag({
    default: true,
    doc: "Whether a broker's certificate must be one we trust. Without it, whoever sits between can read and change everything.",
  }),
  saslMechanism: optional(
    choice(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], {
      default: "PLAIN",
      kafka: "sasl.mechanism",
      doc: "How we prove who we are; needs saslUsername and saslPassword.",
    }),
  ),
  saslUsername: text<string | null>({ default: null, doc: "Who we are." }),
  saslPassword: text<string | null>({
    default: null,
    isSecret: true,
    doc: "The password. Better as a variable or in the config file: others can see the flags of a process.",
  }),
  config: file("A JSON file with option names in camelCase as keys."),
} as const satisfies OptionEntries;

export type ConnectionOptions = OptionsOf<typeof connectionEntries>;

export const connectionRules: readonly OptionRule<typeof connectionEntries>[] = [
  {
    option: "saslMechanism",
    rule: "saslMechanism, saslUsername and saslPassword go together",
    isKept({ saslMechanism, saslUsername, saslPassword }) {
      const given = [saslMechanism, saslUsername, saslPassword].filter((value) => value !== null);
      return given.length === 0 || given.length === 3;
    },
  },
  {
    option: "sslCert",
    rule: "sslCert and sslKey go together",
    isKept: ({ sslCert, sslKey }) => (sslCert === null) === (sslKey === null),
  },
];

/** What connects a Producer, Admin or Reader. */
export interface ClientConfig {
  readonly bootstrapServers: readonly string[];
  readonly clientId: string;
  readonly ssl: SslOptions | null;
  readonly sasl: SaslOptions | null;
}

/** Throws CommandError for a certificate that cannot be read. */
export function clientConfig(options: ConnectionOptions): ClientConfig {
  const { saslMechanism: mechanism, saslUsername: username, saslPassword: password } = options;
  const hasSasl = mechanism !== null && username !== null && password !== null;
  return {
    bootstrapServers: options.brokers,
    clientId: "millrace",
    ssl: sslOptions(options),
    sasl: hasSasl ? { mechanism, username, password } : null,
  };
}

function sslOptions(options: ConnectionOptions): SslOptions | null {
  const { ssl, sslCa, sslCert, sslKey, sslPassphrase, sslVerify } = options;
  if (!ssl && sslCa === null && sslCert === null && sslVerify) return null;
  return {
    rejectUnauthorized: sslVerify,
    ...(sslCa === null ? {} : { ca: readPem("sslCa", sslCa) }),
    ...(sslCert === null ? {} : { cert: readPem("sslCert", sslCert) }),
    ...(sslKey === null ? {} : { key: readPem("sslKey", sslKey) }),
    ...(sslPassphrase === null ? {} : { passphrase: sslPassphrase }),
  };
}

function readPem(option: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`cannot read the file of ${flagName(option)}: ${reason}`);
  }
}

/** The variable of a client command's option: MILLRACE_BROKERS for what all share, MILLRACE_CONSUME_FROM for its own. */
export function clientVariable(command: string): (option: string) => string {
  return (option) =>
    option in connectionEntries && option !== "config" ? sharedVariable(option) : ownVariable(command, option);
}

/** Shown under its own heading, the same in each client command. */
export const connectionSection = { title: "Connection", options: Object.keys(connectionEntries) };

function file(doc: string): Option<string | null> {
  return text<string | null>({ default: null, typeName: "file", doc });
}

/** A list of host:port, in which the port may be left out. */
export function brokerList(spec: Parameters<typeof list>[0]): ReturnType<typeof list> {
  const option = list(spec);
  return {
    ...option,
    typeName: "host:port,…",
    check(value) {
      return option.check(value).map((broker) => {
        const address = parseAddress(broker, DEFAULT_KAFKA_PORT);
        if (address !== null) return formatAddress(address);
        throw new Error(`must be host:port, or several with commas between; ${broker} is not`);
      });
    },
  };
}
