/** The whole broker in one object: opened on a folder, reached over the network or from the same process, closed in order. */

import { join } from "node:path";
import {
  type Address,
  InProcessNetwork,
  type Logger,
  MemoryFileSystem,
  type Network,
  nodeFileSystem,
  parseAddress,
} from "@millrace/base";
import { ACLS_FILE, DataDir, QUOTAS_FILE } from "./data-dir.ts";
import { Faults } from "./faults.ts";
import { FetchMemory } from "./fetch-memory.ts";
import { GroupCoordinator } from "./groups/group-coordinator.ts";
import { handlers } from "./handlers/index.ts";
import { type BrokerOptions, brokerOptions, IN_MEMORY, type ResolvedBrokerOptions } from "./options.ts";
import { ProducerIds } from "./producer-ids.ts";
import { ClientQuotas } from "./quotas/client-quotas.ts";
import { OPEN_ACCESS } from "./security/access.ts";
import { AccessControl } from "./security/access-control.ts";
import { Security } from "./security/security.ts";
import { Server } from "./server.ts";
import { TopicManager } from "./topics/topic-manager.ts";

/** Where the broker listens inside its own process. Whatever address is connected to there leads to it. */
const INSIDE: Address = { host: "in-process", port: 1 };

interface BrokerParts {
  readonly dataDir: DataDir;
  readonly topics: TopicManager;
  readonly groups: GroupCoordinator;
  readonly server: Server;
  readonly faults: Faults;
  readonly security: Security;
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
  /** Where it listens with TLS; null if it does not. */
  readonly tlsAddress: Address | null;
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
    let security: Security | null = null;
    let topics: TopicManager | null = null;
    let groups: GroupCoordinator | null = null;
    let server: Server | null = null;
    try {
      const { path, isCleanStart, clusterId } = dataDir;
      // A broker in memory has its certificates on the disk all the same.
      const secrets = given.fileSystem ?? nodeFileSystem;
      security = await Security.open({ options, fileSystem: secrets, clock, random, logger });
      const { superUsers, allowEveryoneIfNoAclFound } = options;
      const acls = { fileSystem, path: join(path, ACLS_FILE), superUsers, allowEveryoneIfNoAclFound, logger };
      const accessControl = await AccessControl.open(acls);
      const burstMs = options.quotaBurstMs;
      const quotas = await ClientQuotas.open({ fileSystem, path: join(path, QUOTAS_FILE), clock, burstMs });
      topics = await TopicManager.open({ dataDir: path, isCleanStart, options, fileSystem, clock, random, logger });
      const producerIds = await ProducerIds.open(fileSystem, path);
      groups = await GroupCoordinator.open({ topics, options, clock, random, logger });
      const faults = new Faults({
        apiNames: handlers.map(({ name }) => name),
        topicApis: new Set(handlers.filter(({ names }) => names !== "neither").map(({ name }) => name)),
        partitionApis: new Set(handlers.filter(({ names }) => names === "partitions").map(({ name }) => name)),
        disconnectAll: () => server?.disconnectAll("an injected fault"),
      });
      const fetchMemory = new FetchMemory(options.fetchMemoryBytes);
      server = new Server(
        {
          clusterId,
          options,
          topics,
          groups,
          producerIds,
          security,
          accessControl,
          quotas,
          fetchMemory,
          faults,
          clock,
          logger,
        },
        handlers,
      );
      const addresses = await openDoors(server, security, accessControl, options);
      const topicCount = topics.list().length;
      logger.info(
        { ...addresses.plain, tls: addresses.tls, dataDir: path, isCleanStart, topicCount },
        "broker is ready",
      );
      return new Broker({ dataDir, topics, groups, server, faults, security, logger }, addresses);
    } catch (error) {
      security?.close();
      groups?.close();
      await server?.close();
      await dataDir.close(topics !== null && (await closeLogs(topics, logger)));
      throw error;
    }
  }

  private constructor(parts: BrokerParts, { plain, tls, inside }: Doors) {
    this.#parts = parts;
    this.address = plain;
    this.tlsAddress = tls;
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
    const { dataDir, topics, groups, server, security, logger } = this.#parts;
    security.close();
    groups.close();
    await server.close();
    const isClean = await closeLogs(topics, logger);
    await dataDir.close(isClean);
    logger.info({ dataDir: dataDir.path, isClean }, "broker is closed");
  }
}

interface Doors {
  readonly plain: Address;
  readonly tls: Address | null;
  readonly inside: Network;
}

async function openDoors(
  server: Server,
  security: Security,
  accessControl: AccessControl,
  options: ResolvedBrokerOptions,
): Promise<Doors> {
  const accessOf = accessControl.accessOf.bind(accessControl);
  const { host, port, advertisedHost, advertisedPort, kafkaTls, kafkaTlsAdvertise } = options;
  const plain = await server.listen(
    options.network,
    { host, port },
    {
      advertise: (reached) => ({
        host: advertisedHost ?? reached.host,
        port: advertisedPort === 0 ? reached.port : advertisedPort,
      }),
      saslSession: () => security.saslSessionFor("plain"),
      accessOf,
      isLimited: true,
    },
  );
  const inside = new InProcessNetwork();
  await server.listen(inside, INSIDE, {
    reachedAt: plain,
    advertise: (reached) => reached,
    saslSession: () => security.saslSessionFor("inside"),
    accessOf: () => OPEN_ACCESS,
    isLimited: false,
  });
  const tlsAddress = kafkaTls === null ? null : parseAddress(kafkaTls);
  if (tlsAddress === null || security.tlsNetwork === null) return { plain, tls: null, inside };
  const advertised = kafkaTlsAdvertise === null ? null : parseAddress(kafkaTlsAdvertise);
  const tls = await server.listen(security.tlsNetwork, tlsAddress, {
    advertise: (reached) => advertised ?? reached,
    saslSession: () => security.saslSessionFor("tls"),
    accessOf,
    isLimited: true,
  });
  return { plain, tls, inside };
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
