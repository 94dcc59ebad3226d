/** Producers: the one producer that all requests share, and a second one for those that ask for acks=1. */

import { KIBIBYTE } from "@millrace/base";
import { Producer, type ProducerMetrics } from "@millrace/client";
import { type BoundPartitioner, bindPartitioner } from "@millrace/client/internal";
import { clientConfig, type GatewayOptions } from "./options.ts";
import type { PartitionerName } from "./produce-settings.ts";

export class Producers {
  readonly #options: GatewayOptions;
  readonly #all: Producer;
  /** Opened when it is first asked for: most gateways never need it. */
  #leader: Producer | null = null;
  /** For async requests, by acks. */
  readonly #async = new Map<"all" | "1", Producer>();
  readonly #partitioners = new Map<PartitionerName, BoundPartitioner>();

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#all = this.#open("all");
  }

  withAcks(acks: "all" | "1"): Producer {
    if (acks === "all") return this.#all;
    this.#leader ??= this.#open("1");
    return this.#leader;
  }

  /**
   * For async requests: it holds on to a record as long as its request may last, so that a cluster that is away and
   * comes back gets each once. And what waits for that cluster takes no room from those who wait for an answer.
   */
  forAsync(acks: "all" | "1"): Producer {
    let producer = this.#async.get(acks);
    if (producer === undefined) {
      producer = this.#open(acks, this.#options.asyncTimeoutLimitMs);
      this.#async.set(acks, producer);
    }
    return producer;
  }

  /** Something of an async request is on its way to a broker. */
  get isAsyncInFlight(): boolean {
    for (const producer of this.#async.values()) if (producer.metrics().inFlightRequests > 0) return true;
    return false;
  }

  /** One of each for all requests, so that round_robin goes on where the last request left it. */
  partitioner(name: PartitionerName): BoundPartitioner | null {
    if (name === "default") return null;
    const bound = this.#partitioners.get(name) ?? bindPartitioner(name, this.#options.random);
    this.#partitioners.set(name, bound);
    return bound;
  }

  get producerMetrics(): ProducerMetrics {
    return this.#all.metrics();
  }

  /** Share of the buffer that is taken, 0 to 1. */
  get bufferFill(): number {
    return this.producerMetrics.bufferBytes / this.#options.bufferMemory;
  }

  /** Sends what is buffered, for at most timeoutMs; what is left then has failed. May be called twice. */
  async close(timeoutMs: number): Promise<void> {
    const producers = [this.#all, ...(this.#leader === null ? [] : [this.#leader]), ...this.#async.values()];
    await Promise.allSettled(producers.map((producer) => producer.close({ timeoutMs })));
  }

  #open(acks: "all" | "1", deliveryTimeoutMs = this.#options.deliveryTimeoutMs): Producer {
    const { brokerInProcess, maxBlockMs, bufferMemory, lingerMs } = this.#options;
    return new Producer({
      ...clientConfig(this.#options),
      acks: acks === "all" ? -1 : 1,
      deliveryTimeoutMs,
      // A request must be given up in time for its records to be.
      requestTimeoutMs: Math.min(REQUEST_TIMEOUT_MS, Math.max(1, deliveryTimeoutMs - lingerMs)),
      maxBlockMs,
      bufferMemory,
      maxRequestSize: this.#options.maxRequestSize,
      batchSize: Math.min(BATCH_BYTES, this.#options.maxRequestSize),
      lingerMs,
      ...(brokerInProcess ? { maxInFlight: IN_PROCESS_MAX_IN_FLIGHT } : {}),
      allowAutoTopicCreation: false,
    });
  }
}

/**
 * A broker in the same process has no way there and back that more requests under way would bridge: what they carry
 * waits for one group commit after the other, so that more of them are only smaller batches.
 *
 * Measured (64 callers of single records, Node 20): 0.7 times the processor time a record of five, and 1.25 times the rate.
 */
const IN_PROCESS_MAX_IN_FLIGHT = 1;
/**
 * A body of 1,000 records fills one batch of one partition instead of parts of several, each of which would be a file to
 * write and sync: 1.2 times the records a second of the producer's own 64 KiB (Node 20, batches of 1,000 of 100 bytes).
 */
const BATCH_BYTES = 256 * KIBIBYTE;

/** The producer's own default. */
const REQUEST_TIMEOUT_MS = 30_000;
