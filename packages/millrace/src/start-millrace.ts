/** The whole as one call: the broker, and the HTTP API over it or over another Kafka. */

import { type Address, formatAddress, type Logger, parseAddress, silentLogger } from "@millrace/base";
import { Broker, type BrokerOptions } from "@millrace/broker";
import { Gateway, type GatewayConfig } from "@millrace/gateway";

const DEFAULT_DATA_DIR = "./millrace-data";
const DEFAULT_KAFKA = "127.0.0.1:9092";
const DEFAULT_HTTP = "127.0.0.1:8080";

export interface MillraceConfig {
  /** Folder of the topics and the API keys; ./millrace-data where it is left out. */
  readonly dataDir?: string;
  /** Where the broker listens, as host:port; port 0 takes any free one. */
  readonly kafka?: string;
  /** Where the HTTP API listens. */
  readonly http?: string;
  /** What Kafka clients are told to connect to, as host:port, where that is not where the broker listens. */
  readonly advertise?: string | null;
  /** Another Kafka. With it no broker is started. */
  readonly brokers?: readonly string[];
  readonly logger?: Logger;
  /** Further options of the broker. */
  readonly broker?: BrokerOptions;
  /** Further options of the HTTP API. */
  readonly gateway?: GatewayConfig;
}

export interface Millrace {
  /** Where Kafka clients connect; null where the broker is somebody else's. */
  readonly kafka: Address | null;
  readonly http: Address;
  readonly broker: Broker | null;
  readonly gateway: Gateway;
  /** Answers what was asked, writes what was taken, and closes. May be called twice. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A part that did not start. cause: its own error. */
export class StartError extends Error {
  override readonly name = "StartError";
  readonly part: "broker" | "http";
  /** Where that part was to listen. */
  readonly address: Address;

  constructor(part: "broker" | "http", address: Address, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(`${part} at ${formatAddress(address)} did not start: ${reason}`, { cause });
    this.part = part;
    this.address = address;
  }
}

/**
 * Starts what `millrace serve` runs, in this process.
 *
 * Throws StartError with nothing left running, and a TypeError for an address that is none.
 */
export async function startMillrace(config: MillraceConfig = {}): Promise<Millrace> {
  const kafkaAddress = readAddress("kafka", config.kafka ?? DEFAULT_KAFKA);
  const httpAddress = readAddress("http", config.http ?? DEFAULT_HTTP);
  const hasOwnBroker = config.brokers === undefined || config.brokers.length === 0;

  const broker = hasOwnBroker ? await openBroker(config, kafkaAddress) : null;
  const gateway = await openGateway(config, httpAddress, broker).catch(async (error: unknown) => {
    await broker?.close();
    throw error;
  });

  const close = async () => {
    // The gateway first: what it has taken is still to be written.
    try {
      await gateway.close();
    } finally {
      await broker?.close();
    }
  };
  return {
    kafka: broker?.address ?? null,
    http: gateway.address,
    broker,
    gateway,
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function openBroker(config: MillraceConfig, address: Address): Promise<Broker> {
  const advertised = config.advertise == null ? null : readAddress("advertise", config.advertise);
  try {
    return await Broker.open({
      logger: config.logger ?? silentLogger,
      ...config.broker,
      ...(config.dataDir === undefined ? {} : { dataDir: config.dataDir }),
      host: address.host,
      port: address.port,
      ...(advertised === null ? {} : { advertisedHost: advertised.host, advertisedPort: advertised.port }),
    });
  } catch (error) {
    throw new StartError("broker", address, error);
  }
}

async function openGateway(config: MillraceConfig, address: Address, broker: Broker | null): Promise<Gateway> {
  try {
    return await Gateway.open({
      logger: config.logger ?? silentLogger,
      ...config.gateway,
      dataDir: config.dataDir ?? DEFAULT_DATA_DIR,
      host: address.host,
      port: address.port,
      // The one data path: the same client, over a transport that happens not to leave the process.
      ...(broker === null
        ? { bootstrapServers: config.brokers ?? [] }
        : { bootstrapServers: [formatAddress(broker.address)], network: broker.network, brokerInProcess: true }),
    });
  } catch (error) {
    throw new StartError("http", address, error);
  }
}

function readAddress(name: string, text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new TypeError(`${name} is ${text}; it must be host:port`);
  return address;
}
