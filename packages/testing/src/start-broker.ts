/** The real embedded broker for a test: any free port, a data dir of its own, both gone afterwards. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatAddress } from "@millrace/base";
import { Broker, type BrokerOptions } from "@millrace/broker";

export interface StartedBroker {
  readonly broker: Broker;
  /** "host:port", for bootstrapServers. */
  readonly server: string;
  readonly dataDir: string;
  /** Closes the broker and deletes its data dir. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** options: a dataDir that is given is left where it is when the broker closes. */
export async function startBroker(options: BrokerOptions = {}): Promise<StartedBroker> {
  const ownDir = options.dataDir === undefined ? await mkdtemp(join(tmpdir(), "millrace-test-")) : null;
  const dataDir = options.dataDir ?? ownDir ?? "";
  try {
    const broker = await Broker.open({ port: 0, ...options, dataDir });
    const close = async () => {
      await broker.close();
      await removeDir(ownDir);
    };
    return { broker, server: formatAddress(broker.address), dataDir, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await removeDir(ownDir);
    throw error;
  }
}

async function removeDir(path: string | null): Promise<void> {
  if (path !== null) await rm(path, { recursive: true, force: true });
}
