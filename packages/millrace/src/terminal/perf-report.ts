/** What a load generator has to tell: a line a second while it runs, percentiles and a small picture at the end. */

import { formatBytes } from "@millrace/base";
import { Histogram } from "./histogram.ts";
import { formatCount } from "./progress.ts";

const LINE_INTERVAL_MS = 1000;
const BAR_CELLS = 40;
const SHORTEST_BAR_US = 64;
/** Buckets of the picture that hold less are left out. */
const MIN_SHOWN_PERCENT = 0.1;

export interface PerfResult {
  readonly recordCount: number;
  readonly failedCount: number;
  readonly seconds: number;
  readonly recordsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly latencyMs: Latencies;
  readonly histogram: readonly LatencyBar[];
}

/** How many latencies were at least from and less than to. */
interface LatencyBar {
  readonly fromMs: number;
  readonly toMs: number;
  readonly count: number;
}

interface Latencies {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Counts what is done and tells about it. Latencies go in as milliseconds, and are kept in microseconds. */
export class PerfMeter {
  readonly latencies = new Histogram();
  readonly #recent = new Histogram();
  readonly #stream: NodeJS.WritableStream;
  readonly #startedMs = performance.now();
  readonly #timer: NodeJS.Timeout;
  #lastLineMs = this.#startedMs;
  #recordCount = 0;
  #sizeBytes = 0;
  #failedCount = 0;
  #recentCount = 0;
  #recentBytes = 0;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
    this.#timer = setInterval(() => this.#printLine(), LINE_INTERVAL_MS);
    // Work that fails must not be kept waiting by its own report.
    this.#timer.unref();
  }

  get recordCount(): number {
    return this.#recordCount;
  }

  done(recordCount: number, sizeBytes: number, latencyMs: number): void {
    this.#recordCount += recordCount;
    this.#recentCount += recordCount;
    this.#sizeBytes += sizeBytes;
    this.#recentBytes += sizeBytes;
    this.latencies.record(latencyMs * 1000);
    this.#recent.record(latencyMs * 1000);
  }

  failed(): void {
    this.#failedCount += 1;
  }

  /** Ends the lines; the result is over all the time. */
  finish(): PerfResult {
    clearInterval(this.#timer);
    const seconds = (performance.now() - this.#startedMs) / 1000;
    return {
      recordCount: this.#recordCount,
      failedCount: this.#failedCount,
      seconds,
      recordsPerSecond: this.#recordCount / seconds,
      bytesPerSecond: this.#sizeBytes / seconds,
      latencyMs: summarize(this.latencies),
      histogram: barsOf(this.latencies),
    };
  }

  #printLine(): void {
    const nowMs = performance.now();
    const seconds = (nowMs - this.#lastLineMs) / 1000;
    const { p50, p99, max } = summarize(this.#recent);
    const rates = `${formatCount(this.#recentCount / seconds)} records/s, ${formatBytes(this.#recentBytes / seconds)}/s`;
    const failed = this.#failedCount === 0 ? "" : `, ${formatCount(this.#failedCount)} failed`;
    this.#stream.write(`${rates}, p50 ${ms(p50)}, p99 ${ms(p99)}, max ${ms(max)}${failed}\n`);
    this.#lastLineMs = nowMs;
    this.#recentCount = 0;
    this.#recentBytes = 0;
    this.#recent.reset();
  }
}

function summarize(histogram: Histogram): Latencies {
  const at = (percent: number) => histogram.percentile(percent) / 1000;
  return {
    mean: histogram.mean / 1000,
    p50: at(50),
    p90: at(90),
    p99: at(99),
    p999: at(99.9),
    max: histogram.max / 1000,
  };
}

/** what: "written", "read". latencyOf: what the percentiles are of. */
export function renderResult(result: PerfResult, what: string, latencyOf: string): string {
  const { recordCount, failedCount, seconds, latencyMs } = result;
  const rates = `${formatCount(result.recordsPerSecond)} records/s, ${formatBytes(result.bytesPerSecond)}/s`;
  const percentiles = [
    `mean ${ms(latencyMs.mean)}`,
    `p50 ${ms(latencyMs.p50)}`,
    `p90 ${ms(latencyMs.p90)}`,
    `p99 ${ms(latencyMs.p99)}`,
    `p99.9 ${ms(latencyMs.p999)}`,
    `max ${ms(latencyMs.max)}`,
  ];
  const lines = [
    `${formatCount(recordCount)} records ${what} in ${seconds.toFixed(2)} s: ${rates}`,
    ...(failedCount === 0 ? [] : [`${formatCount(failedCount)} records failed`]),
    `${latencyOf}: ${percentiles.join(", ")}`,
    ...renderPicture(result.histogram),
  ];
  return `${lines.join("\n")}\n`;
}

/** A bar for each doubling of the latency, without those that are empty. */
function barsOf(latencies: Histogram): LatencyBar[] {
  const bars: LatencyBar[] = [];
  for (let fromUs = 0; fromUs <= latencies.max; fromUs = fromUs === 0 ? SHORTEST_BAR_US : fromUs * 2) {
    const toUs = fromUs === 0 ? SHORTEST_BAR_US : fromUs * 2;
    const count = latencies.countBetween(fromUs, toUs);
    if (count > 0) bars.push({ fromMs: fromUs / 1000, toMs: toUs / 1000, count });
  }
  return bars;
}

/** The bars that hold a visible share. */
function renderPicture(bars: readonly LatencyBar[]): string[] {
  const total = bars.reduce((sum, { count }) => sum + count, 0);
  const rows = bars
    .map(({ fromMs, toMs, count }) => ({ label: `${ms(fromMs)} – ${ms(toMs)}`, percent: (count / total) * 100 }))
    .filter(({ percent }) => percent >= MIN_SHOWN_PERCENT);
  const labelWidth = Math.max(0, ...rows.map((row) => row.label.length));
  const widest = Math.max(0, ...rows.map((row) => row.percent));
  return rows.map(({ label, percent }) => {
    const bar = "#".repeat(Math.max(Math.round((percent / widest) * BAR_CELLS), 1));
    return `  ${label.padStart(labelWidth)}  ${bar} ${percent.toFixed(1)} %`;
  });
}

/** Three digits that mean something: "0.064 ms", "1.02 ms", "131 ms". */
function ms(milliseconds: number): string {
  if (milliseconds < 1) return `${milliseconds.toFixed(3)} ms`;
  if (milliseconds < 10) return `${milliseconds.toFixed(2)} ms`;
  return `${milliseconds.toFixed(milliseconds < 100 ? 1 : 0)} ms`;
}
