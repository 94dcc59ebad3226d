/** What stands between a client command and a cluster, as one line that says what to do. */

import { formatAddress, parseAddress, tcpNetwork } from "@millrace/base";
import { KafkaError } from "@millrace/client";
import { Cluster, commonOptions } from "@millrace/client/internal";
import { CommandError } from "../command/errors.ts";
import { type ConnectionOptions, clientConfig } from "../options/connection.ts";

const CONNECT_LIMIT_MS = 5000;
/** A broker that goes away closes connections too. */
const ADMISSION_ATTEMPTS = 2;

/**
 * Runs the work of a client command.
 *
 * Looks first whether any broker can be reached, and lets us in: the client would go on trying, as a service must, and a
 * person at a terminal wants to know now. A KafkaError of the work becomes a CommandError; anything else is a bug and stays one.
 */
export async function withClientErrors<T>(connection: ConnectionOptions, work: () => Promise<T>): Promise<T> {
  await requireReachable(connection.brokers);
  await requireAdmission(connection);
  try {
    return await work();
  } catch (error) {
    throw error instanceof KafkaError ? new CommandError(error.message, { cause: error }) : error;
  }
}

async function requireReachable(brokers: readonly string[]): Promise<void> {
  const reasons: string[] = [];
  for (const broker of brokers) {
    const reason = await connectFailure(broker);
    if (reason === null) return;
    reasons.push(`${broker} (${reason})`);
  }
  throw new CommandError(
    `no broker answers at ${reasons.join(", ")}; start one with: millrace serve, or name another with --brokers`,
  );
}

/** Null if the address takes connections; else why not. */
function connectFailure(broker: string): Promise<string | null> {
  const address = parseAddress(broker);
  if (address === null) return Promise.resolve("no address");
  return new Promise((resolve) => {
    const stream = tcpNetwork.connect(address);
    const timer = setTimeout(() => stream.destroy(new Error(`no answer in ${CONNECT_LIMIT_MS} ms`)), CONNECT_LIMIT_MS);
    let isOpen = false;
    stream.start({
      onOpen() {
        isOpen = true;
        stream.destroy();
      },
      onData() {},
      onClose(error) {
        clearTimeout(timer);
        resolve(isOpen ? null : (error?.message.replace(` ${formatAddress(address)}`, "") ?? "closed"));
      },
    });
  });
}

/** A broker that asks for a login says nothing to those who come without: it closes the connection. */
async function requireAdmission(connection: ConnectionOptions): Promise<void> {
  // The login will tell.
  if (connection.saslMechanism !== null) return;
  const limits = { connectTimeoutMs: CONNECT_LIMIT_MS, requestTimeoutMs: CONNECT_LIMIT_MS };
  const cluster = new Cluster(commonOptions.resolve({ ...clientConfig(connection), ...limits }));
  try {
    for (let attempt = 0; attempt < ADMISSION_ATTEMPTS; attempt++) {
      if (!(await isTurnedAway(cluster))) return;
    }
  } finally {
    await cluster.close();
  }
  throw new CommandError(
    `the broker at ${connection.brokers.join(", ")} closes the connection: it asks for a login; say who you are with --sasl-mechanism (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512), --sasl-username and --sasl-password-file, or with --sasl-mechanism OAUTHBEARER and --sasl-token-file`,
  );
}

/** Whatever else goes wrong, the work will meet it too, and tell. */
async function isTurnedAway(cluster: Cluster): Promise<boolean> {
  try {
    await cluster.metadata.refreshBrokers();
    return false;
  } catch (error) {
    let cause: unknown = error;
    while (cause instanceof KafkaError && cause.code !== "ILLEGAL_SASL_STATE") ({ cause } = cause);
    return cause instanceof KafkaError;
  }
}
