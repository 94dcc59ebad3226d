/** Metrics: what the gateway counts, for Prometheus. */

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Intake } from "./limits/intake.ts";
import type { Producers } from "./producers.ts";

/** Seconds. From a lone record on an idle disk to a request that waited for its deadline. */
const DURATION_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Records of one request: from a lone one to the most that a request may have. */
const RECORDS_BUCKETS = [1, 10, 100, 1_000, 10_000, 100_000];
/** Topics that are counted by name; those beyond are counted together, as each name costs memory here and in Prometheus. */
const TOPIC_LIMIT = 1_000;
const OTHER_TOPICS = "(other)";

export interface MetricsParts {
  readonly producers: Pick<Producers, "bufferFill" | "producerMetrics">;
  readonly intake: Pick<Intake, "sizeBytes" | "requestCount">;
}

/** One label set of a counter, looked up once: the lookup by labels costs more than the count. */
type Bound<T> = Map<string, T>;

interface BoundRecords {
  readonly total: Counter.Internal;
  readonly ofRequest: Histogram.Internal<"topic" | "outcome">;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #durations: Histogram<"method" | "route" | "status">;
  readonly #records: Counter<"topic" | "outcome">;
  readonly #requestRecords: Histogram<"topic" | "outcome">;
  readonly #boundDurations: Bound<Histogram.Internal<"method" | "route" | "status">> = new Map();
  readonly #boundRecords: Bound<BoundRecords> = new Map();
  readonly #topics = new Set<string>();

  constructor({ producers, intake }: MetricsParts) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#durations = new Histogram({
      name: "millrace_http_request_duration_seconds",
      help: "From a request's head to the end of its answer, by route and status.",
      labelNames: ["method", "route", "status"],
      buckets: DURATION_BUCKETS,
      registers,
    });
    this.#records = new Counter({
      name: "millrace_http_records_total",
      help: "Records that came over HTTP, by topic and by what became of them.",
      labelNames: ["topic", "outcome"],
      registers,
    });
    this.#requestRecords = new Histogram({
      name: "millrace_http_request_records",
      help: "Records of one request with the same outcome; of a body that is streamed, of the lines that came together.",
      labelNames: ["topic", "outcome"],
      buckets: RECORDS_BUCKETS,
      registers,
    });
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    gauge(
      "millrace_producer_buffer_fill_ratio",
      "Share of the producer's buffer that is taken, 0 to 1.",
      () => producers.bufferFill,
    );
    gauge("millrace_http_in_flight_requests", "Requests that are being worked on.", () => intake.requestCount);
    gauge("millrace_http_in_flight_bytes", "Bytes of bodies that are held.", () => intake.sizeBytes);
    gauge(
      "millrace_producer_pending_records",
      "Records accepted and not yet acknowledged.",
      () => producers.producerMetrics.pendingRecords,
    );
    gauge(
      "millrace_producer_in_flight_requests",
      "Produce requests sent and not yet answered.",
      () => producers.producerMetrics.inFlightRequests,
    );
  }

  requestAnswered(method: string, route: string, status: number, elapsedMs: number): void {
    const key = `${method} ${route} ${status}`;
    let bound = this.#boundDurations.get(key);
    if (bound === undefined) {
      bound = this.#durations.labels(method, route, String(status));
      this.#boundDurations.set(key, bound);
    }
    bound.observe(elapsedMs / 1000);
  }

  recordsAnswered(topic: string, storedCount: number, failedCount: number): void {
    const label = this.#topicLabel(topic);
    if (storedCount > 0) this.#countRecords(label, "stored", storedCount);
    if (failedCount > 0) this.#countRecords(label, "failed", failedCount);
  }

  /** All metrics in Prometheus' text form. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  #countRecords(topic: string, outcome: "stored" | "failed", count: number): void {
    const key = `${outcome} ${topic}`;
    let bound = this.#boundRecords.get(key);
    if (bound === undefined) {
      bound = { total: this.#records.labels(topic, outcome), ofRequest: this.#requestRecords.labels(topic, outcome) };
      this.#boundRecords.set(key, bound);
    }
    bound.total.inc(count);
    bound.ofRequest.observe(count);
  }

  #topicLabel(topic: string): string {
    if (this.#topics.has(topic)) return topic;
    if (this.#topics.size >= TOPIC_LIMIT) return OTHER_TOPICS;
    this.#topics.add(topic);
    return topic;
  }
}
