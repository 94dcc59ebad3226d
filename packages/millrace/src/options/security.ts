/** TLS and SASL towards brokers: the options of the client commands, and of `serve` where its brokers are others'. */

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import {
  choice,
  flag,
  flagName,
  type OptionEntries,
  type OptionRule,
  type OptionsOf,
  type TlsOptions,
  text,
} from "@millrace/base";
import type { SaslOptions, SslOptions } from "@millrace/client";
import { CommandError } from "../command/errors.ts";
import { file, optional } from "./optional.ts";

/** A token command that takes longer has failed; the connection that it is for would have been given up anyway. */
const TOKEN_COMMAND_LIMIT_MS = 30_000;
/** Tokens are some kilobytes long. */
const TOKEN_LIMIT_BYTES = 1024 * 1024;

export const securityEntries = {
  ssl: flag({
    default: false,
    kafka: "security.protocol",
    doc: "Speaks TLS to the brokers. Goes without saying where another ssl option is given.",
  }),
  sslCa: file("The authorities to trust, as PEM, instead of those that Node knows.", "ssl.truststore.location"),
  sslCert: file("Our own certificate, as PEM, for brokers that ask for one.", "ssl.keystore.location"),
  sslKey: file("The private key of sslCert, as PEM.", "ssl.keystore.key"),
  sslPassphraseFile: file("What opens an encrypted sslKey."),
  sslPassphrase: text<string | null>({
    default: null,
    isSecret: true,
    kafka: "ssl.key.password",
    doc: "That passphrase itself. Better in a file or a variable: others can see the flags of a process.",
  }),
  sslServername: text<string | null>({
    default: null,
    typeName: "name",
    doc: "The name that the brokers' certificates must be for, instead of the host that is connected to.",
  }),
  sslVerify: flag({
    default: true,
    doc: "Whether a broker's certificate must be one we trust. Without it, whoever sits between can read and change everything.",
  }),
  saslMechanism: optional(
    choice(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"], {
      default: "PLAIN",
      kafka: "sasl.mechanism",
      doc: "How we prove who we are: the first three with saslUsername and a password, OAUTHBEARER with a token.",
    }),
  ),
  saslUsername: text<string | null>({ default: null, typeName: "name", doc: "Who we are." }),
  saslPasswordFile: file("The password: the file's first line."),
  saslPassword: text<string | null>({
    default: null,
    isSecret: true,
    doc: "The password itself. Better in a file or a variable: others can see the flags of a process.",
  }),
  saslTokenFile: file(
    "The token for OAUTHBEARER: as it is, or as access_token in the JSON that an OAuth server answers with.",
  ),
  saslTokenCommand: text<string | null>({
    default: null,
    typeName: "command",
    doc: "What prints the token for OAUTHBEARER, in either form; a shell runs it whenever we log in.",
  }),
} as const satisfies OptionEntries;

export type SecurityOptions = OptionsOf<typeof securityEntries>;

/** Files that say who we are are read for each connection: what is renewed there is used without a restart. */
export const securityNote =
  "Files of the ssl and sasl options are read again for each connection, so that certificates, passwords and tokens can be renewed while it runs.";

const isGiven = (...values: readonly (string | null)[]): boolean => values.some((value) => value !== null);
const isPassword = (mechanism: string | null): boolean => mechanism !== null && mechanism !== "OAUTHBEARER";

export const securityRules: readonly OptionRule<typeof securityEntries>[] = [
  {
    option: "sslCert",
    rule: "sslCert and sslKey go together",
    isKept: ({ sslCert, sslKey }) => (sslCert === null) === (sslKey === null),
  },
  {
    option: "sslPassphrase",
    rule: "sslPassphrase and sslPassphraseFile are two ways to say the same",
    isKept: ({ sslPassphrase, sslPassphraseFile }) => sslPassphrase === null || sslPassphraseFile === null,
  },
  {
    option: "saslMechanism",
    rule: "PLAIN and SCRAM need saslUsername and either saslPasswordFile or saslPassword; no other mechanism takes them",
    isKept({ saslMechanism, saslUsername, saslPassword, saslPasswordFile }) {
      if (!isPassword(saslMechanism)) return !isGiven(saslUsername, saslPassword, saslPasswordFile);
      return saslUsername !== null && (saslPassword === null) !== (saslPasswordFile === null);
    },
  },
  {
    option: "saslMechanism",
    rule: "OAUTHBEARER needs either saslTokenFile or saslTokenCommand; no other mechanism takes them",
    isKept({ saslMechanism, saslTokenFile, saslTokenCommand }) {
      if (saslMechanism !== "OAUTHBEARER") return !isGiven(saslTokenFile, saslTokenCommand);
      return (saslTokenFile === null) !== (saslTokenCommand === null);
    },
  },
];

/** What a Producer, Admin or Reader takes. */
export interface SecurityConfig {
  readonly ssl: SslOptions | null;
  readonly sasl: SaslOptions | null;
}

/** Throws CommandError for a file that cannot be read now; one that cannot be read later fails that connection. */
export function securityConfig(options: SecurityOptions): SecurityConfig {
  return { ssl: sslOf(options), sasl: saslOf(options) };
}

/** True if any of them was given. */
export function asksForSecurity(options: SecurityOptions): boolean {
  return asksForTls(options) || options.saslMechanism !== null;
}

function asksForTls({ ssl, sslCa, sslCert, sslServername, sslVerify }: SecurityOptions): boolean {
  return ssl || !sslVerify || isGiven(sslCa, sslCert, sslServername);
}

function sslOf(options: SecurityOptions): SslOptions | null {
  if (!asksForTls(options)) return null;
  readTls(options);
  return () => readTls(options);
}

function readTls(options: SecurityOptions): TlsOptions {
  const { sslCa, sslCert, sslKey, sslPassphrase, sslPassphraseFile, sslServername, sslVerify } = options;
  const passphrase = sslPassphraseFile === null ? sslPassphrase : readSecret("sslPassphraseFile", sslPassphraseFile);
  return {
    rejectUnauthorized: sslVerify,
    ...(sslCa === null ? {} : { ca: readGiven("sslCa", sslCa) }),
    ...(sslCert === null ? {} : { cert: readGiven("sslCert", sslCert) }),
    ...(sslKey === null ? {} : { key: readGiven("sslKey", sslKey) }),
    ...(passphrase === null ? {} : { passphrase }),
    ...(sslServername === null ? {} : { servername: sslServername }),
  };
}

function saslOf(options: SecurityOptions): SaslOptions | null {
  const { saslMechanism: mechanism, saslUsername: username, saslPassword: password } = options;
  const { saslPasswordFile, saslTokenFile, saslTokenCommand } = options;
  if (mechanism === "OAUTHBEARER") {
    if (saslTokenFile !== null) return { mechanism, token: rereading(() => readToken(saslTokenFile)) };
    return saslTokenCommand === null ? null : { mechanism, token: () => runTokenCommand(saslTokenCommand) };
  }
  if (mechanism === null || username === null) return null;
  if (saslPasswordFile !== null) {
    return { mechanism, username, password: rereading(() => readSecret("saslPasswordFile", saslPasswordFile)) };
  }
  return password === null ? null : { mechanism, username, password };
}

/** Reads once now, so that a wrong path is told before anything is tried. */
function rereading(read: () => string): () => string {
  read();
  return read;
}

function readGiven(option: keyof SecurityOptions, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`cannot read the file of ${flagName(option)}: ${reason}`);
  }
}

/** The first line: editors and `echo` put a newline behind it. */
function readSecret(option: keyof SecurityOptions, path: string): string {
  const [line = ""] = readGiven(option, path).toString("utf8").split(/\r?\n/, 1);
  if (line === "") throw new CommandError(`the file of ${flagName(option)} is empty: ${path}`);
  return line;
}

function readToken(path: string): string {
  return tokenOf(readGiven("saslTokenFile", path).toString("utf8"), `the file of --sasl-token-file, ${path},`);
}

async function runTokenCommand(command: string): Promise<string> {
  const [shell, ...words] = process.platform === "win32" ? ["cmd.exe", "/d", "/s", "/c"] : ["/bin/sh", "-c"];
  const limits = { timeout: TOKEN_COMMAND_LIMIT_MS, maxBuffer: TOKEN_LIMIT_BYTES };
  try {
    const { stdout } = await promisify(execFile)(shell ?? "", [...words, command], limits);
    return tokenOf(stdout, "what --sasl-token-command prints");
  } catch (error) {
    if (error instanceof CommandError) throw error;
    // Its message has the command line, and with it perhaps a secret.
    const code = error instanceof Error && "code" in error ? error.code : null;
    throw new CommandError(`--sasl-token-command failed${code === null ? "" : ` (${String(code)})`}`);
  }
}

/** Never shown in an error: half a token is half a secret. */
function tokenOf(given: string, source: string): string {
  const trimmed = given.trim();
  if (!trimmed.startsWith("{")) {
    if (trimmed !== "" && !/\s/.test(trimmed)) return trimmed;
    throw new CommandError(`${source} is no token: ${trimmed === "" ? "it is empty" : "it has spaces in it"}`);
  }
  try {
    const answer: unknown = JSON.parse(trimmed);
    const token = typeof answer === "object" && answer !== null ? Reflect.get(answer, "access_token") : null;
    if (typeof token === "string" && token !== "") return token;
  } catch {
    // As for JSON without a token.
  }
  throw new CommandError(`${source} is JSON, but has no access_token`);
}
