/** What producers count, for Prometheus: `@millrace/client/prometheus`. Needs the package prom-client. */

import { Counter, Gauge, type Registry, register } from "prom-client";
import type { ProducerMetrics } from "../producer/metrics.ts";

export interface ProducerCollectorOptions {
  /** prom-client's default one unless told otherwise. */
  readonly registry?: Registry;
  /** What all names begin with. */
  readonly prefix?: string;
}

/** What is collected from: a Producer. */
export interface MetricsSource {
  metrics(): ProducerMetrics;
}

interface Definition {
  readonly name: string;
  readonly help: string;
  readonly read: (metrics: ProducerMetrics) => number;
}

const MILLISECONDS = 1_000;

const counters: readonly Definition[] = [
  { name: "records_sent_total", help: "Records in produce requests, retries included.", read: (m) => m.recordsSent },
  { name: "records_acknowledged_total", help: "Records acknowledged.", read: (m) => m.recordsAcknowledged },
  { name: "records_failed_total", help: "Records rejected after they were buffered.", read: (m) => m.recordsFailed },
  { name: "sent_bytes_total", help: "Bytes of record batches in produce requests.", read: (m) => m.bytesSent },
  {
    name: "batches_sent_total",
    help: "Record batches in produce requests, retries included.",
    read: (m) => m.batchesSent,
  },
  { name: "batches_split_total", help: "Record batches that a broker found too large.", read: (m) => m.batchesSplit },
  { name: "requests_total", help: "Produce requests answered.", read: (m) => m.requests },
  { name: "retries_total", help: "Record batches that were sent again.", read: (m) => m.retries },
];

const gauges: readonly Definition[] = [
  { name: "pending_records", help: "Records accepted and not yet settled.", read: (m) => m.pendingRecords },
  { name: "pending_batches", help: "Record batches not in flight.", read: (m) => m.pendingBatches },
  { name: "in_flight_requests", help: "Produce requests without an answer.", read: (m) => m.inFlightRequests },
  { name: "buffer_bytes", help: "Bytes used of bufferMemory.", read: (m) => m.bufferBytes },
  { name: "waiting_records", help: "Sends that wait for room in bufferMemory.", read: (m) => m.waitingRecords },
];

const quantiles = [
  { quantile: "0.5", read: (m: ProducerMetrics) => m.requestLatencyMs.p50 },
  { quantile: "0.95", read: (m: ProducerMetrics) => m.requestLatencyMs.p95 },
  { quantile: "0.99", read: (m: ProducerMetrics) => m.requestLatencyMs.p99 },
  { quantile: "1", read: (m: ProducerMetrics) => m.requestLatencyMs.max },
];

/**
 * Collects from any number of producers, told apart by the label "producer". Costs nothing until Prometheus asks.
 *
 *     const collector = new ProducerCollector();
 *     collector.add(producer, "orders");
 */
export class ProducerCollector {
  readonly #registry: Registry;
  readonly #names: string[] = [];
  readonly #sources = new Map<string, MetricsSource>();

  /** Throws, as prom-client does, if the registry has metrics of these names already: one collector for all producers. */
  constructor(options: ProducerCollectorOptions = {}) {
    const { registry = register, prefix = "millrace_producer_" } = options;
    this.#registry = registry;
    for (const { name, help, read } of counters) this.#count(prefix + name, help, read);
    for (const { name, help, read } of gauges) this.#gauge(prefix + name, help, read);
    this.#countErrors(`${prefix}errors_total`);
    this.#gaugeLatency(`${prefix}request_latency_seconds`);
  }

  /** name: the label's value. Returns what removes the producer again. */
  add(producer: MetricsSource, name = "default"): () => void {
    if (this.#sources.has(name)) throw new Error(`a producer named ${name} is collected already`);
    this.#sources.set(name, producer);
    return () => {
      if (this.#sources.get(name) === producer) this.#sources.delete(name);
    };
  }

  /** Takes the metrics out of the registry. */
  close(): void {
    this.#sources.clear();
    for (const name of this.#names) this.#registry.removeSingleMetric(name);
  }

  #count(name: string, help: string, read: (metrics: ProducerMetrics) => number): void {
    this.#names.push(name);
    const sources = this.#sources;
    const registers = [this.#registry];
    new Counter({
      ...{ name, help, registers, labelNames: ["producer"] },
      collect() {
        this.reset();
        for (const [producer, source] of sources) this.inc({ producer }, read(source.metrics()));
      },
    });
  }

  #gauge(name: string, help: string, read: (metrics: ProducerMetrics) => number): void {
    this.#names.push(name);
    const sources = this.#sources;
    const registers = [this.#registry];
    new Gauge({
      ...{ name, help, registers, labelNames: ["producer"] },
      collect() {
        this.reset();
        for (const [producer, source] of sources) this.set({ producer }, read(source.metrics()));
      },
    });
  }

  #countErrors(name: string): void {
    this.#names.push(name);
    const sources = this.#sources;
    const registers = [this.#registry];
    new Counter({
      ...{ name, help: "Records in batches that failed or were retried, by error code.", registers },
      labelNames: ["producer", "code"],
      collect() {
        this.reset();
        for (const [producer, source] of sources) {
          for (const [code, count] of Object.entries(source.metrics().errorsByCode))
            this.inc({ producer, code }, count);
        }
      },
    });
  }

  #gaugeLatency(name: string): void {
    this.#names.push(name);
    const sources = this.#sources;
    const registers = [this.#registry];
    new Gauge({
      ...{ name, help: "From a produce request to its answer, of the last 1,024.", registers },
      labelNames: ["producer", "quantile"],
      collect() {
        this.reset();
        for (const [producer, source] of sources) {
          const metrics = source.metrics();
          for (const { quantile, read } of quantiles) this.set({ producer, quantile }, read(metrics) / MILLISECONDS);
        }
      },
    });
  }
}
