/** What stands between a client command and a cluster, as one line that says what to do. */

import { formatAddress, parseAddress, tcpNetwork } from "@millrace/base";
import { KafkaError } from "@millrace/client";
import { CommandError } from "../command/errors.ts";
import type { ConnectionOptions } from "../options/connection.ts";

const CONNECT_LIMIT_MS = 5000;

/**
 * Runs the work of a client command.
 *
 * Looks first whether any broker can be reached: the client would go on trying, as a service must, and a person at a
 * terminal wants to know now. A KafkaError of the work becomes a CommandError; anything else is a bug and stays one.
 */
export async function withClientErrors<T>(connection: ConnectionOptions, work: () => Promise<T>): Promise<T> {
  await requireReachable(connection.brokers);
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
