/** Gateway: the HTTP Producer API as one thing to open and close. */

import { join } from "node:path";
import { type Address, type FileSystem, MemoryFileSystem, sleep, type Timer } from "@millrace/base";
import { Admin } from "@millrace/client";
import type { FastifyInstance } from "fastify";
import { acceptedAnswer } from "./async/async-handlers.ts";
import { AsyncRequests } from "./async/async-requests.ts";
import { KeyStore } from "./auth/key-store.ts";
import type { GatewayContext } from "./context.ts";
import { Health } from "./health.ts";
import { IdempotencyKeys } from "./idempotency/idempotency-keys.ts";
import { Connections } from "./limits/connections.ts";
import { Intake } from "./limits/intake.ts";
import { Turns } from "./limits/turns.ts";
import { Metrics } from "./metrics.ts";
import { clientConfig, type GatewayConfig, type GatewayOptions, type GatewayTls, gatewayOptions } from "./options.ts";
import { Producers } from "./producers.ts";
import { Schemas } from "./registry/schemas.ts";
import { allRoutes } from "./routes.ts";
import { SchemaChecks } from "./schema-checks.ts";
import { createServer } from "./server.ts";
import { Tails } from "./tails.ts";
import { TopicDirectory } from "./topic-directory.ts";

/** As dataDir: no folder at all. */
const IN_MEMORY = "memory";
/** Where async requests lie in dataDir. */
const ASYNC_FOLDER = "async-requests";
/** Where the answers to requests with an Idempotency-Key do. */
const IDEMPOTENCY_FOLDER = "idempotency-keys";
/** Each may hold messagesLimitBytes, and its answer. */
const READS_AT_ONCE = 2;
/** Between two looks for connections that have become idle, while closing. */
const IDLE_SWEEP_MS = 20;

export class Gateway {
  readonly address: Address;
  readonly #context: GatewayContext;
  readonly #server: FastifyInstance;
  #closing: Promise<void> | null = null;

  private constructor(address: Address, context: GatewayContext, server: FastifyInstance) {
    this.address = address;
    this.#context = context;
    this.#server = server;
  }

  /**
   * Listens. Brokers need not be there yet: until they are, requests are answered with 503.
   *
   * Throws OptionError for a wrong option; rejects with Node's error (EADDRINUSE, EACCES) if it cannot listen.
   */
  static async open(config: GatewayConfig = {}): Promise<Gateway> {
    const options = gatewayOptions.resolve(config);
    const context = await createContext(options);
    const checks = new SchemaChecks(options.clock);
    const server = createServer(context, allRoutes(context), checks);
    context.keys.watch();
    try {
      await server.listen({ host: options.host, port: options.port });
    } catch (error) {
      await closeContext(context);
      throw error;
    }
    context.asyncRequests.start();
    void checks.compileAll();
    const bound = server.server.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : options.port;
    return new Gateway({ host: options.host, port }, context, server);
  }

  /**
   * Takes no new request, lets those under way end, and sends what is buffered; for at most closeTimeoutMs. May be
   * called twice.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** From now on new connections get this certificate. Throws Node's error for one that cannot be used; the old one stays. */
  renewTls(tls: GatewayTls): void {
    const { server } = this.#server;
    if ("setSecureContext" in server && typeof server.setSecureContext === "function") server.setSecureContext(tls);
  }

  async #close(): Promise<void> {
    const { options, health } = this.#context;
    health.beginClosing();
    if (options.shutdownDelayMs > 0) await sleep(options.clock, options.shutdownDelayMs);
    this.#context.tails.close();
    this.#context.asyncRequests.beginClosing();
    this.#context.connections.endWithAnswers();
    const closed = this.#server.close();
    const timer = options.clock.schedule(options.closeTimeoutMs, () => this.#server.server.closeAllConnections());
    const sweep = this.#closeIdleConnections();
    try {
      await closed;
    } finally {
      sweep.stop();
      timer.cancel();
      await closeContext(this.#context);
    }
  }

  /** Node closes what is idle when close begins; a connection whose answer leaves later would be kept for its next request. */
  #closeIdleConnections(): { stop(): void } {
    const { clock } = this.#context.options;
    let timer: Timer;
    const sweep = () => {
      this.#server.server.closeIdleConnections();
      this.#context.connections.closeUnused();
      timer = clock.schedule(IDLE_SWEEP_MS, sweep);
    };
    timer = clock.schedule(IDLE_SWEEP_MS, sweep);
    return { stop: () => timer.cancel() };
  }
}

async function createContext(options: GatewayOptions): Promise<GatewayContext> {
  const storage = storageOf(options);
  const keys = await openKeys(options, storage);
  const { clock, random, logger } = options;
  const admin = new Admin({ ...clientConfig(options), apiTimeoutMs: options.maxBlockMs });
  const producers = new Producers(options);
  const topics = new TopicDirectory({ admin, clock, logger, cacheMs: options.topicCacheMs });
  const { requestsInFlightLimit: requestLimit, bytesInFlightLimit: limitBytes } = options;
  const intake = new Intake({ clock, requestLimit, limitBytes });
  const reads = new Turns({ clock, concurrency: READS_AT_ONCE, maxWaitMs: options.maxBlockMs });
  const tails = new Tails({ clock, limit: options.tailLimit });
  const connections = new Connections({ clock, limit: options.connectionLimit });
  const health = new Health({ admin, producers, intake, clock });
  const metrics = new Metrics({ producers, intake });
  const directory = join(storage.dataDir, ASYNC_FOLDER);
  const { fileSystem } = storage;
  const schemas = new Schemas({ options, admin, producer: producers.withAcks("all") });
  const parts = { options, directory, fileSystem, clock, random, logger, producers, topics, schemas, metrics };
  const asyncRequests = await AsyncRequests.open(parts);
  const idempotencyKeys = await IdempotencyKeys.open({
    options,
    directory: join(storage.dataDir, IDEMPOTENCY_FOLDER),
    fileSystem,
    clock,
    logger,
    acceptedAnswer: (requestId) => (asyncRequests.has(requestId) ? acceptedAnswer(requestId) : null),
  });
  return {
    options,
    admin,
    producers,
    topics,
    asyncRequests,
    idempotencyKeys,
    schemas,
    keys,
    connections,
    intake,
    reads,
    tails,
    health,
    metrics,
  };
}

/** What outlives the process; or, without a folder, what is as good until it ends. */
interface Storage {
  readonly dataDir: string;
  readonly fileSystem: FileSystem;
}

function storageOf({ dataDir, fileSystem }: GatewayOptions): Storage {
  if (dataDir === null || dataDir === IN_MEMORY) return { dataDir: "/", fileSystem: new MemoryFileSystem() };
  return { dataDir, fileSystem };
}

async function openKeys(options: GatewayOptions, { dataDir, fileSystem }: Storage): Promise<KeyStore> {
  const { clock, random, logger } = options;
  const keys = await KeyStore.open({ dataDir, fileSystem, clock, random, logger });
  keys.addFixed(options.apiKeys);
  if (options.auth === "keys" && keys.list().length === 0) {
    logger.warn({ dataDir: options.dataDir }, "there is no API key yet: millrace keys create --scope admin makes one");
  }
  return keys;
}

async function closeContext(context: GatewayContext): Promise<void> {
  await context.keys.close();
  // The async requests are told by the producers' end which of their records are stored, and write that down.
  context.asyncRequests.beginClosing();
  await context.producers.close(context.options.closeTimeoutMs);
  await context.idempotencyKeys.close();
  await context.asyncRequests.close();
  await context.schemas.close();
  await context.admin.close();
}
