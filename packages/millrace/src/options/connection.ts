/** How the client commands reach a cluster: the options that all of them share. */

import { formatAddress, list, type OptionEntries, type OptionRule, type OptionsOf, parseAddress } from "@millrace/base";
import { ownVariable, sharedVariable } from "../command/arguments.ts";
import { file } from "./optional.ts";
import { type SecurityConfig, securityConfig, securityEntries, securityRules } from "./security.ts";

export const DEFAULT_KAFKA_PORT = 9092;

export const connectionEntries = {
  brokers: brokerList({
    default: ["127.0.0.1:9092"],
    aliases: ["bootstrapServers"],
    doc: "The brokers to ask first, as host:port; one that answers is enough.",
  }),
  ...securityEntries,
  config: file("A JSON file with option names in camelCase as keys."),
} as const satisfies OptionEntries;

export type ConnectionOptions = OptionsOf<typeof connectionEntries>;

export const connectionRules: readonly OptionRule<typeof connectionEntries>[] = securityRules;

/** What connects a Producer, Admin or Reader. */
export interface ClientConfig extends SecurityConfig {
  readonly bootstrapServers: readonly string[];
  readonly clientId: string;
}

/** Throws CommandError for a certificate, password or token that cannot be read. */
export function clientConfig(options: ConnectionOptions): ClientConfig {
  return { bootstrapServers: options.brokers, clientId: "millrace", ...securityConfig(options) };
}

/** The variable of a client command's option: MILLRACE_BROKERS for what all share, MILLRACE_CONSUME_FROM for its own. */
export function clientVariable(command: string): (option: string) => string {
  return (option) =>
    option in connectionEntries && option !== "config" ? sharedVariable(option) : ownVariable(command, option);
}

/** Shown under its own heading, the same in each client command. */
export const connectionSection = { title: "Connection", options: Object.keys(connectionEntries) };

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
