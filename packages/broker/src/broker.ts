/** The whole broker in one object: opened on a folder, reached over the network or from the same process, closed in order. */

import { type Address, InProcessNetwork, type Logger, MemoryFileSystem, type Network } from "@millrace/base";
import { DataDir } from "./data-dir.ts";
import { Faults } from "./faults.ts";
import { GroupCoordinator } from "./group-coordinator.ts";
import { handlers } from "./handlers/index.ts";
import { type BrokerOptions, brokerOptions, IN_MEMORY, type ResolvedBrokerOptions } from "./options.ts";
import { ProducerIds } from "./producer-ids.ts";
import { Server } from "./server.ts";
import { TopicManager } from "./topic-manager.ts";

/** Where the broker listens inside its own process. Whatever address is connected to there leads to it. */
const INSIDE: Address = { host: "in-process", port: 1 };

interface BrokerParts {
  readonly dataDir: DataDir;
  readonly topics: TopicManager;
  readonly groups: GroupCoordinator;
  readonly server: Server;
  readonly faults: Faults;
  readonly logger: Logger;
}

/**
 * A broker that speaks the Kafka protocol.
 *
 *     await using broker = await Broker.open({ dataDir: "./data", port: 0 });
 *     const { host, port } = broker.address;
 *
 * Several may run in one process, each on its own folder.
 */
export class Broker {
  /** Where it listens: port 0 has become a number. */
  readonly address: Address;
  /** Reaches this broker from the same process without a socket, whatever address is connected to. */
  readonly network: Network;
  readonly clusterId: string;
  readonly dataDir: string;
  /** What goes wrong on purpose: for tests of clients. */
  readonly faults: Faults;
  readonly #parts: BrokerParts;
  #closing: Promise<void> | null = null;

  /**
   * Recovers what is in the data dir, then listens. Ready for clients when it resolves.
   *
   * Rejects with OptionError for a wrong option; with KafkaError KAFKA_STORAGE_ERROR if the data dir cannot be used; as
   * Node does (EADDRINUSE) if the address cannot be bound. Nothing stays open then.
   */
  static async open(given: BrokerOptions = {}): Promise<Broker> {
    const options = resolveOptions(given);
    const { clock, random, fileSystem, logger, nodeId, processId } = options;
    const dataDir = await DataDir.open({ path: options.dataDir, fileSystem, clock, random, logger, nodeId, processId });
    let topics: TopicManager | null = null;
    let groups: GroupCoordinator | null = null;
    let server: Server | null = null;
    try {
      const { path, isCleanStart, clusterId } = dataDir;
      topics = await TopicManager.open({ dataDir: path, isCleanStart, options, fileSystem, clock, random, logger });
      const producerIds = await ProducerIds.open(fileSystem, path);
      groups = await GroupCoordinator.open({ topics, options, clock, random, logger });
      const faults = new Faults({
        apiNames: handlers.map(({ name }) => name),
        topicApis: new Set(handlers.filter(({ names }) => names !== "neither").map(({ name }) => name)),
        partitionApis: new Set(handlers.filter(({ names }) => names === "partitions").map(({ name }) => name)),
        disconnectAll: () => server?.disconnectAll("an injected fault"),
      });
      server = new Server({ clusterId, options, topics, groups, producerIds, faults, clock, logger }, handlers);
      const inside = new InProcessNetwork();
      const address = await server.listen(options.network, { host: options.host, port: options.port });
      await server.listen(inside, INSIDE, address);
      logger.info({ ...address, dataDir: path, isCleanStart, topics: topics.list().length }, "broker is ready");
      return new Broker({ dataDir, topics, groups, server, faults, logger }, address, inside);
    } catch (error) {
      groups?.close();
      await server?.close();
      await dataDir.close(topics !== null && (await closeLogs(topics, logger)));
      throw error;
    }
  }

  private constructor(parts: BrokerParts, address: Address, inside: Network) {
    this.#parts = parts;
    this.address = address;
    this.network = {
      connect: () => inside.connect(INSIDE),
      listen: (at, onStream) => inside.listen(at, onStream),
    };
    this.clusterId = parts.dataDir.clusterId;
    this.dataDir = parts.dataDir.path;
    this.faults = parts.faults;
  }

  /** Accepts no more, answers what was asked, writes everything, and leaves the folder in order. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { dataDir, topics, groups, server, logger } = this.#parts;
    groups.close();
    await server.close();
    const isClean = await closeLogs(topics, logger);
    await dataDir.close(isClean);
    logger.info({ dataDir: dataDir.path, isClean }, "broker is closed");
  }
}

function resolveOptions(given: BrokerOptions): ResolvedBrokerOptions {
  const options = brokerOptions.resolve(given);
  const isInMemory = options.dataDir === IN_MEMORY && given.fileSystem === undefined;
  return isInMemory ? { ...options, fileSystem: new MemoryFileSystem() } : options;
}

/** Whether all that was written is on disk and the logs may be trusted as they are. */
async function closeLogs(topics: TopicManager, logger: Logger): Promise<boolean> {
  try {
    await topics.close();
    return true;
  } catch (error) {
    logger.error({ error }, "could not close all logs; they are recovered at the next start");
    return false;
  }
}
