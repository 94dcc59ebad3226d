/** The cluster as a client sees it: a connection to each broker it needs, and what they say about topics. */

import { type Address, formatAddress, type Network, parseAddress, TlsNetwork, type TlsOptions } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import { type CommonOptions, DEFAULT_KAFKA_PORT, type SslOptions } from "../common-options.ts";
import { ClosedError, NetworkError } from "../errors.ts";
import { backoffMs } from "../retry.ts";
import { Connection } from "./connection.ts";
import { type BrokerNode, type ClusterMetadata, Metadata } from "./metadata.ts";
import { Node } from "./node.ts";

export type ClusterOptions = CommonOptions;

const NO_CONTROLLER = -1;

export class Cluster {
  readonly metadata: Metadata;
  readonly #options: ClusterOptions;
  readonly #network: Network;
  /** Where to begin, and to begin anew when all known brokers are gone. */
  readonly #bootstrapNodes: readonly Node[];
  readonly #nodes = new Map<number, Node>();
  /** As the newest metadata has it. */
  #description: ClusterMetadata = { clusterId: null, controllerId: NO_CONTROLLER, brokers: [] };
  #searching: Promise<Connection> | null = null;
  #isClosed = false;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#network = options.ssl === null ? options.network : new TlsNetwork(tlsOptionsOf(options.ssl));
    this.#bootstrapNodes = options.bootstrapServers.map((server) => {
      const address = parseAddress(server, DEFAULT_KAFKA_PORT);
      if (address === null) throw new KafkaError("INVALID_CONFIG", `bootstrapServers: "${server}" is not host:port`);
      return this.#createNode(address);
    });
    this.metadata = new Metadata({
      ...options,
      anyConnection: () => this.anyConnection(),
      onBrokers: (cluster) => this.#updateBrokers(cluster),
      onRebootstrapRequired: () => this.#forgetBrokers(),
    });
  }

  /** Empty until the first metadata has come. */
  get description(): ClusterMetadata {
    return this.#description;
  }

  /** The brokers that metadata has named so far. */
  get nodeIds(): readonly number[] {
    return [...this.#nodes.keys()];
  }

  /** An open connection to a broker. Rejects with KafkaError if it cannot be reached, or metadata names no such broker. */
  async connectionTo(nodeId: number): Promise<Connection> {
    if (this.#isClosed) throw new ClosedError(`connect to broker ${nodeId}`);
    const node = this.#nodes.get(nodeId);
    if (node !== undefined) return node.connect();
    throw new KafkaError("BROKER_NOT_AVAILABLE", `broker ${nodeId} is not in the cluster's metadata`, {
      retriable: true,
    });
  }

  /** The open connection to a broker, if there is one. */
  openConnectionTo(nodeId: number): Connection | null {
    return this.#nodes.get(nodeId)?.openConnection ?? null;
  }

  /**
   * Any broker: the least loaded of the open connections, else the first that can be opened.
   *
   * Known brokers are tried before the bootstrap servers. Rejects once all have failed.
   */
  anyConnection(): Promise<Connection> {
    if (this.#isClosed) return Promise.reject(new ClosedError("connect"));
    const open = this.#leastLoaded();
    if (open !== null) return Promise.resolve(open);
    this.#searching ??= this.#search().finally(() => {
      this.#searching = null;
    });
    return this.#searching;
  }

  /** The broker that takes topic changes. On KRaft clusters that is any broker: it hands them on. */
  async controller(): Promise<Connection> {
    if (this.#description.controllerId < 0) await this.metadata.refreshBrokers();
    const { controllerId } = this.#description;
    if (controllerId >= 0) return this.connectionTo(controllerId);
    throw new KafkaError("BROKER_NOT_AVAILABLE", "the cluster's metadata names no controller", { retriable: true });
  }

  /** The answer NOT_CONTROLLER: the next controller() asks anew. */
  forgetController(): void {
    this.#description = { ...this.#description, controllerId: NO_CONTROLLER };
  }

  /** Where brokers listen, told with a leader hint (KIP-951). */
  updateNodes(nodes: readonly BrokerNode[]): void {
    for (const node of nodes) this.#updateNode(node);
  }

  /** Closes all connections; what waits on them rejects. May be called twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.metadata.close();
    for (const node of [...this.#nodes.values(), ...this.#bootstrapNodes]) node.close();
  }

  #leastLoaded(): Connection | null {
    let best: Connection | null = null;
    for (const node of this.#candidates()) {
      const connection = node.openConnection;
      if (connection !== null && (best === null || connection.inFlightCount < best.inFlightCount)) best = connection;
    }
    return best;
  }

  /** Tries one broker after the other: known ones in random order, those that failed lately last; then the bootstrap servers. */
  async #search(): Promise<Connection> {
    const failures: string[] = [];
    let lastError: unknown = null;
    for (const node of this.#candidates()) {
      try {
        return await node.connect();
      } catch (error) {
        if (this.#isClosed) throw new ClosedError("connect", { cause: error });
        // Another broker would refuse the same credentials.
        if (error instanceof KafkaError && !error.retriable && !(error instanceof ClosedError)) throw error;
        lastError = error;
        failures.push(error instanceof Error ? error.message : formatAddress(node.address));
      }
    }
    const broker = this.#bootstrapNodes.map((node) => formatAddress(node.address)).join(",");
    throw new NetworkError("CONNECTION_FAILED", broker, `no broker can be reached: ${failures.join("; ")}`, {
      cause: lastError,
    });
  }

  #candidates(): Node[] {
    const known = this.#shuffle([...this.#nodes.values()]);
    const bootstrap = this.#bootstrapNodes.filter((node) => !known.includes(node));
    const ready = known.filter((node) => !node.isBackingOff);
    const backingOff = known.filter((node) => node.isBackingOff);
    return [...ready, ...this.#shuffle([...bootstrap]), ...backingOff];
  }

  #shuffle<T>(items: T[]): T[] {
    for (let last = items.length - 1; last > 0; last--) {
      const other = this.#options.random.integer(last + 1);
      const item = items[last];
      const swapped = items[other];
      if (item === undefined || swapped === undefined) continue;
      items[last] = swapped;
      items[other] = item;
    }
    return items;
  }

  #updateBrokers(cluster: ClusterMetadata): void {
    // A broker that is starting up may answer before it knows any other.
    if (this.#isClosed || cluster.brokers.length === 0) return;
    const { clusterId, controllerId, brokers } = cluster;
    this.#description = { clusterId, controllerId, brokers };
    const alive = new Set(brokers.map((broker) => broker.nodeId));
    for (const nodeId of this.#nodes.keys()) if (!alive.has(nodeId)) this.#forgetNode(nodeId);
    for (const broker of brokers) this.#updateNode(broker);
    // A bootstrap server that goes by another name than its broker has done its part.
    const known = new Set(this.#nodes.values());
    for (const node of this.#bootstrapNodes) if (!known.has(node)) node.disconnect();
  }

  #updateNode(broker: BrokerNode): void {
    const address = formatAddress(broker);
    const node = this.#nodes.get(broker.nodeId);
    if (node !== undefined && formatAddress(node.address) === address) return;
    if (node !== undefined) this.#forgetNode(broker.nodeId);
    // The connection to the bootstrap server goes on as the one to its broker.
    const bootstrap = this.#bootstrapNodes.find((candidate) => formatAddress(candidate.address) === address);
    this.#nodes.set(broker.nodeId, bootstrap ?? this.#createNode({ host: broker.host, port: broker.port }));
  }

  /** What is in flight to the broker is let finish. */
  #forgetNode(nodeId: number): void {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) return;
    this.#nodes.delete(nodeId);
    if (this.#bootstrapNodes.includes(node)) node.disconnect();
    else node.retire();
  }

  #forgetBrokers(): void {
    for (const nodeId of this.#nodes.keys()) this.#forgetNode(nodeId);
    this.forgetController();
  }

  #createNode(address: Address): Node {
    const options = this.#options;
    return new Node({
      clock: options.clock,
      address,
      createConnection: (target) =>
        new Connection({
          ...options,
          network: this.#network,
          sasl: options.sasl === null ? null : { options: options.sasl, random: options.random },
          address: target,
          maxIdleMs: options.connectionsMaxIdleMs,
          maxFrameBytes: options.receiveMessageMaxBytes,
        }),
      backoffMs: (attempt) =>
        backoffMs(attempt, options.random, {
          baseMs: options.reconnectBackoffMs,
          maxMs: options.reconnectBackoffMaxMs,
        }),
    });
  }
}

function tlsOptionsOf(ssl: SslOptions): () => TlsOptions {
  if (typeof ssl === "function") return ssl;
  return () => (ssl === true ? {} : ssl);
}
