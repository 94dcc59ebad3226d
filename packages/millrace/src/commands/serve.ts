/** `millrace serve`: starts, says where, and stops on a signal. */

import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { resolve } from "node:path";
import { type Address, flagName, formatAddress, hasCode, OptionError, parseAddress } from "@millrace/base";
import { KafkaError } from "@millrace/client";
import { asksForKeys, type GatewayTls } from "@millrace/gateway";
import { defineCommand } from "../command/define-command.ts";
import { CommandError, EXIT_DONE, EXIT_FAILED, UsageError } from "../command/errors.ts";
import type { Io } from "../command/spec.ts";
import { securityConfig, securityNote } from "../options/security.ts";
import {
  brokerConfig,
  gatewayConfig,
  type ServeOptions,
  serveOptions,
  serveSections,
  serveVariable,
} from "../options/serve.ts";
import { type Millrace, StartError, startMillrace } from "../start-millrace.ts";
import { createLogger } from "../terminal/logger.ts";

/** The data dir that is none, as the broker has it. */
const IN_MEMORY = "memory";
/** Beyond what the HTTP API and its producers may take to close; then the process leaves, and the next start recovers. */
const CLOSE_GRACE_MS = 5_000;
/** timeout(1), npx and terminals send one signal to a process and to its group, so that it comes twice. */
const SAME_SIGNAL_MS = 10;
/** Certificates are renewed weeks before they end. */
const CERTIFICATE_LOOK_MS = 60_000;

export const serveCommand = defineCommand(
  {
    name: "serve",
    summary:
      "Runs a Kafka broker on one disk and the HTTP Producer API in front of it, or with --brokers the HTTP API over another Kafka.",
    examples: [
      { command: "millrace serve", meaning: "Kafka on 127.0.0.1:9092, HTTP on 127.0.0.1:8080" },
      { command: "millrace serve --kafka 127.0.0.1:0 --http 127.0.0.1:0 --data-dir /tmp/mill", meaning: "free ports" },
      { command: "millrace serve --brokers kafka-1:9092,kafka-2:9092", meaning: "HTTP over a cluster" },
      {
        command:
          "millrace serve --brokers kafka-1:9094 --ssl-ca ca.pem --sasl-mechanism SCRAM-SHA-512 --sasl-username http --sasl-password-file password",
        meaning: "over one that asks who we are",
      },
    ],
    operands: [],
    options: serveOptions,
    sections: serveSections,
    notes: [
      'When stdout is no terminal, one line of JSON tells that it is ready: {"event":"ready","kafka":"127.0.0.1:9092","http":"127.0.0.1:8080","dataDir":"…","pid":1}. Logs go to stderr.',
      "SIGTERM or Ctrl-C stops it in order; a second one at once.",
      securityNote,
    ],
    variableOf: serveVariable,
  },
  async ({ options, io }) => {
    refuseOpenDoors(options);
    const stopped = waitForSignal(io);
    const millrace = await start(options, io);
    announce(millrace, options, io);
    const unwatch = renewCertificates(millrace, options, io);
    await stopped;
    unwatch();
    return stop(millrace, options, io);
  },
);

async function start(options: ServeOptions, io: Io): Promise<Millrace> {
  try {
    return await startMillrace({
      dataDir: options.dataDir,
      kafka: options.kafka,
      http: options.http,
      advertise: options.advertise,
      brokers: options.brokers,
      logger: createLogger(io.stderr, options.logLevel ?? (io.stderr.isTTY ? "warn" : "info")),
      broker: brokerConfig(options),
      gateway: { ...gatewayConfig(options), ...securityConfig(options), tls: readTls(options) },
    });
  } catch (error) {
    throw explainStart(error);
  }
}

/** Null: plain HTTP. Throws CommandError for a file that cannot be read. */
function readTls(options: ServeOptions): GatewayTls | null {
  const { httpTlsCert, httpTlsKey, httpTlsCa, httpTlsPassphrase } = options;
  if (httpTlsCert === null || httpTlsKey === null) return null;
  return {
    cert: readPem("--http-tls-cert", httpTlsCert),
    key: readPem("--http-tls-key", httpTlsKey),
    ...(httpTlsCa === null ? {} : { ca: readPem("--http-tls-ca", httpTlsCa) }),
    clientAuth: options.httpTlsClientAuth === "requested" ? "requested" : "required",
    ...(httpTlsPassphrase === null ? {} : { passphrase: httpTlsPassphrase }),
  };
}

function readPem(flag: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`cannot read the file of ${flag}: ${reason}`);
  }
}

/** New connections get the certificate that lies there now; what is half written is tried again at the next change. */
function renewCertificates({ gateway }: Millrace, options: ServeOptions, io: Io): () => void {
  const paths = [options.httpTlsCert, options.httpTlsKey, options.httpTlsCa].filter((path) => path !== null);
  const renew = () => {
    try {
      const tls = readTls(options);
      if (tls !== null) gateway.renewTls(tls);
    } catch (error) {
      io.stderr.write(`millrace: the certificate could not be renewed: ${String(error)}\n`);
    }
  };
  for (const path of paths) watchFile(path, { interval: CERTIFICATE_LOOK_MS, persistent: false }, renew);
  return () => {
    for (const path of paths) unwatchFile(path, renew);
  };
}

/** One line that says what to do, for what commonly stands in the way. */
function explainStart(error: unknown): unknown {
  if (!(error instanceof StartError)) return error;
  const { cause } = error;
  const flag = error.part === "broker" ? "--kafka" : "--http";
  const where = formatAddress(error.address);
  if (hasCode(cause, "EADDRINUSE")) {
    const other = formatAddress({ host: error.address.host, port: 0 });
    return new CommandError(
      `port ${error.address.port} on ${error.address.host} is in use by another program; stop it, or choose another with ${flag} host:port (${flag} ${other} takes any free one)`,
    );
  }
  if (hasCode(cause, "EACCES") && error.address.port < 1024 && error.address.port > 0) {
    return new CommandError(`port ${error.address.port} may be used by root only; choose one above 1023 with ${flag}`);
  }
  if (hasCode(cause, "EADDRNOTAVAIL") || hasCode(cause, "ENOTFOUND")) {
    return new CommandError(
      `${where} is no address of this machine; ${flag} takes one that is, as ${flag} 127.0.0.1:0`,
    );
  }
  if (cause instanceof OptionError) return new UsageError(`${flagName(cause.option)}: ${cause.message}`);
  // The data dir's own errors name the folder and the way out.
  if (cause instanceof KafkaError) return new CommandError(cause.message, { cause });
  return error;
}

/** Whoever reaches an open port may read and write everything, so that must be wanted. */
function refuseOpenDoors(options: ServeOptions): void {
  if (options.insecure) return;
  for (const { flag, address, isGuarded, way } of doorsOf(options)) {
    const host = address === null ? null : (parseAddress(address)?.host ?? null);
    if (host === null || isGuarded || isLoopback(host)) continue;
    throw new CommandError(
      `${flag} ${address} would let everybody who reaches ${host} read and write without a password; ${way}, take 127.0.0.1, or add --insecure if that is wanted`,
    );
  }
}

function doorsOf(options: ServeOptions) {
  const hasUsers = options.saslUsersFile !== null;
  const kafkaTls = {
    flag: "--kafka-tls",
    address: options.kafkaTls,
    isGuarded: hasUsers || options.kafkaTlsClientAuth === "required",
    way: "ask for a login with --sasl-users-file, or for certificates with --kafka-tls-client-auth required",
  };
  const kafka = {
    flag: "--kafka",
    address: options.kafka,
    isGuarded: hasUsers && options.saslOn === "all",
    way: hasUsers ? "ask for a login here too with --sasl-on all" : "ask for a login with --sasl-users-file",
  };
  const http = {
    flag: "--http",
    address: options.http,
    isGuarded: asksForKeys(options) || (options.httpTlsCa !== null && options.httpTlsClientAuth !== "requested"),
    way: "ask for API keys with --auth keys",
  };
  return options.brokers.length === 0 ? [kafka, kafkaTls, http] : [http];
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function announce(millrace: Millrace, options: ServeOptions, io: Io): void {
  const dataDir = options.dataDir === IN_MEMORY ? IN_MEMORY : resolve(options.dataDir);
  if (io.stdout.isTTY) {
    io.stdout.write(banner(millrace, options, dataDir));
    return;
  }
  const ready = {
    event: "ready",
    kafka: millrace.kafka === null ? null : formatAddress(millrace.kafka),
    http: formatAddress(millrace.http),
    dataDir,
    pid: process.pid,
  };
  io.stdout.write(`${JSON.stringify(ready)}\n`);
}

function banner(millrace: Millrace, options: ServeOptions, dataDir: string): string {
  const http = `${options.httpTlsCert === null ? "http" : "https"}://${formatAddress(reachable(millrace.http))}`;
  const kafka = millrace.kafka === null ? options.brokers.join(",") : formatAddress(reachable(millrace.kafka));
  const brokers = kafka === "127.0.0.1:9092" ? "" : ` --brokers ${kafka}`;
  return `
Millrace is ready.

  Kafka   ${millrace.kafka === null ? `${kafka} (another broker's)` : formatAddress(millrace.kafka)}
  HTTP    ${http}   (what it takes: ${http}/docs)
  Data    ${dataDir}

Try, in another terminal:

  echo hello | npx millrace produce greetings${brokers}
  npx millrace consume greetings${brokers}
  curl ${http}/api/topics/greetings/produce -d '{"records":[{"value":{"hello":"world"}}]}'

Ctrl-C stops it.
`;
}

/** An address to connect to: listening everywhere is no place. */
function reachable(address: Address): Address {
  if (address.host === "0.0.0.0") return { ...address, host: "127.0.0.1" };
  return address.host === "::" ? { ...address, host: "::1" } : address;
}

/** Resolves at the first signal to stop; the second ends the process there and then. */
function waitForSignal(io: Io): Promise<void> {
  return new Promise((onSignal) => {
    let firstAtMs: number | null = null;
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
      process.on(signal, () => {
        const nowMs = performance.now();
        if (firstAtMs !== null) {
          if (nowMs - firstAtMs > SAME_SIGNAL_MS) process.exit(EXIT_FAILED);
          return;
        }
        firstAtMs = nowMs;
        if (io.stderr.isTTY) io.stderr.write("\nStopping; once more to leave at once.\n");
        onSignal();
      });
    }
  });
}

async function stop(millrace: Millrace, options: ServeOptions, io: Io): Promise<number> {
  const limitMs = options.shutdownDelayMs + 2 * options.closeTimeoutMs + CLOSE_GRACE_MS;
  const limit = setTimeout(() => {
    io.stderr.write(`millrace: not closed after ${limitMs} ms; leaving\n`);
    process.exit(EXIT_FAILED);
  }, limitMs);
  try {
    await millrace.close();
    return EXIT_DONE;
  } catch (error) {
    if (error instanceof KafkaError) throw new CommandError(`not closed in order: ${error.message}`, { cause: error });
    throw error;
  } finally {
    clearTimeout(limit);
  }
}
