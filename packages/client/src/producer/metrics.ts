/** What the producer counts, and the picture of it that `metrics()` gives. */

import type { Clock } from "@millrace/base";
import type { KafkaError } from "@millrace/protocol";
import type { MessageBatch } from "./message-batch.ts";

/** Answers whose latency is remembered for the percentiles. */
const LATENCY_SAMPLES = 1_024;
/** Rates are of the last so many seconds. */
const RATE_WINDOW_S = 10;

export interface ProducerMetrics {
  /** Accepted and not yet settled. */
  readonly pendingRecords: number;
  /** Sealed or open, not in flight. */
  readonly pendingBatches: number;
  readonly inFlightRequests: number;
  /** Of bufferMemory. */
  readonly bufferBytes: number;
  /** Sends that wait for room in bufferMemory. */
  readonly waitingRecords: number;
  readonly recordsSent: number;
  readonly recordsAcknowledged: number;
  readonly recordsFailed: number;
  readonly bytesSent: number;
  readonly batchesSent: number;
  readonly batchesSplit: number;
  readonly requests: number;
  /** Batches that were sent again. */
  readonly retries: number;
  readonly errorsByCode: Readonly<Record<string, number>>;
  /** Acknowledged, of the last ten seconds. */
  readonly recordsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly recordsPerBatch: number;
  readonly bytesPerBatch: number;
  /** From a request's last byte out to its answer, of the last 1,024 requests. */
  readonly requestLatencyMs: { readonly p50: number; readonly p95: number; readonly p99: number; readonly max: number };
}

/** Counts by batch, never by record: counting must cost nothing at a million records a second. */
export class ProducerCounters {
  readonly #clock: Clock;
  readonly #latenciesMs = new Float64Array(LATENCY_SAMPLES);
  readonly #errorsByCode = new Map<string, number>();
  readonly #recordRate: RateWindow;
  readonly #byteRate: RateWindow;
  #requests = 0;
  #recordsSent = 0;
  #recordsAcknowledged = 0;
  #recordsFailed = 0;
  #bytesSent = 0;
  #batchesSent = 0;
  #batchesSplit = 0;
  #retries = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#recordRate = new RateWindow();
    this.#byteRate = new RateWindow();
  }

  batchSent(batch: MessageBatch): void {
    this.#batchesSent += 1;
    this.#recordsSent += batch.recordCount;
    this.#bytesSent += batch.payload?.length ?? 0;
  }

  requestAnswered(latencyMs: number): void {
    this.#latenciesMs[this.#requests % LATENCY_SAMPLES] = latencyMs;
    this.#requests += 1;
  }

  batchAcknowledged(batch: MessageBatch): void {
    this.#recordsAcknowledged += batch.recordCount;
    const second = Math.floor(this.#clock.nowMs() / 1000);
    this.#recordRate.add(second, batch.recordCount);
    this.#byteRate.add(second, batch.payload?.length ?? 0);
  }

  batchRetried(batch: MessageBatch, error: KafkaError): void {
    this.#retries += 1;
    this.#countError(error, batch.recordCount);
  }

  batchFailed(batch: MessageBatch, error: KafkaError): void {
    this.#recordsFailed += batch.recordCount;
    this.#countError(error, batch.recordCount);
  }

  batchSplit(): void {
    this.#batchesSplit += 1;
  }

  snapshot(
    gauges: Pick<
      ProducerMetrics,
      "pendingRecords" | "pendingBatches" | "inFlightRequests" | "bufferBytes" | "waitingRecords"
    >,
  ): ProducerMetrics {
    const second = Math.floor(this.#clock.nowMs() / 1000);
    return {
      ...gauges,
      recordsSent: this.#recordsSent,
      recordsAcknowledged: this.#recordsAcknowledged,
      recordsFailed: this.#recordsFailed,
      bytesSent: this.#bytesSent,
      batchesSent: this.#batchesSent,
      batchesSplit: this.#batchesSplit,
      requests: this.#requests,
      retries: this.#retries,
      errorsByCode: Object.fromEntries(this.#errorsByCode),
      recordsPerSecond: this.#recordRate.perSecond(second),
      bytesPerSecond: this.#byteRate.perSecond(second),
      recordsPerBatch: this.#batchesSent === 0 ? 0 : this.#recordsSent / this.#batchesSent,
      bytesPerBatch: this.#batchesSent === 0 ? 0 : this.#bytesSent / this.#batchesSent,
      requestLatencyMs: this.#latency(),
    };
  }

  #countError(error: KafkaError, count: number): void {
    this.#errorsByCode.set(error.code, (this.#errorsByCode.get(error.code) ?? 0) + count);
  }

  #latency(): ProducerMetrics["requestLatencyMs"] {
    const samples = this.#latenciesMs.slice(0, Math.min(this.#requests, LATENCY_SAMPLES)).sort();
    const at = (share: number) => samples[Math.min(samples.length - 1, Math.floor(samples.length * share))] ?? 0;
    return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: samples.at(-1) ?? 0 };
  }
}

/** Sums of the last whole seconds, one slot a second. */
class RateWindow {
  readonly #sums = new Float64Array(RATE_WINDOW_S);
  readonly #seconds = new Float64Array(RATE_WINDOW_S).fill(-1);

  add(second: number, amount: number): void {
    const slot = second % RATE_WINDOW_S;
    if (this.#seconds[slot] !== second) {
      this.#seconds[slot] = second;
      this.#sums[slot] = 0;
    }
    this.#sums[slot] = (this.#sums[slot] ?? 0) + amount;
  }

  perSecond(nowSecond: number): number {
    let sum = 0;
    for (let slot = 0; slot < RATE_WINDOW_S; slot++) {
      if (nowSecond - (this.#seconds[slot] ?? -1) < RATE_WINDOW_S && (this.#seconds[slot] ?? -1) >= 0)
        sum += this.#sums[slot] ?? 0;
    }
    return sum / RATE_WINDOW_S;
  }
}
