/** A bar on the last line of a terminal, on stderr so that stdout stays data. Where there is no terminal, nothing. */

import { formatBytes } from "@millrace/base";

const REDRAW_MS = 100;
const BAR_CELLS = 24;
const DEFAULT_COLUMNS = 80;
/** Back to the line's start, and the line emptied. */
const CLEAR_LINE = "\r\u001b[2K";

export interface ProgressState {
  readonly recordCount: number;
  readonly sizeBytes: number;
  /** From 0 to 1, or null where the end is not known. */
  readonly fraction: number | null;
}

export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #label: string;
  readonly #state: () => ProgressState;
  readonly #startedMs = performance.now();
  readonly #timer: NodeJS.Timeout | null;

  /** state is asked at each redraw. isHidden: no bar, even on a terminal. */
  constructor(stream: NodeJS.WriteStream, label: string, isHidden: boolean, state: () => ProgressState) {
    this.#stream = stream;
    this.#label = label;
    this.#state = state;
    this.#timer = stream.isTTY && !isHidden ? setInterval(() => this.#draw(), REDRAW_MS) : null;
    this.#timer?.unref();
  }

  /** Writes a line above the bar; without a terminal, the line alone. */
  printLine(text: string): void {
    this.#stream.write(this.#timer === null ? `${text}\n` : `${CLEAR_LINE}${text}\n`);
    if (this.#timer !== null) this.#draw();
  }

  /** Takes the bar away. May be called twice. */
  close(): void {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    this.#stream.write(CLEAR_LINE);
  }

  #draw(): void {
    const elapsedMs = performance.now() - this.#startedMs;
    const line = progressLine(this.#label, this.#state(), elapsedMs);
    // A line that wraps could not be taken back.
    this.#stream.write(CLEAR_LINE + line.slice(0, (this.#stream.columns || DEFAULT_COLUMNS) - 1));
  }
}

/** "orders  [=====>      ]  45 %  12,345 records  1,234/s  8.1 MiB/s  0:12 left" */
export function progressLine(label: string, state: ProgressState, elapsedMs: number): string {
  const seconds = Math.max(elapsedMs / 1000, 0.001);
  const parts = [label];
  if (state.fraction !== null) parts.push(bar(state.fraction), `${Math.floor(state.fraction * 100)} %`.padStart(5));
  parts.push(
    `${formatCount(state.recordCount)} records`,
    `${formatCount(state.recordCount / seconds)}/s`,
    `${formatBytes(state.sizeBytes / seconds)}/s`,
  );
  if (state.fraction !== null && state.fraction > 0 && state.fraction < 1) {
    parts.push(`${formatSeconds((seconds * (1 - state.fraction)) / state.fraction)} left`);
  }
  return parts.join("  ");
}

/** "1,234,567", whatever the locale of the machine. Not by toLocaleString, whose first call loads Intl: 50 ms and more. */
export function formatCount(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ",");
}

function bar(fraction: number): string {
  const filled = Math.round(Math.min(Math.max(fraction, 0), 1) * BAR_CELLS);
  const head = filled > 0 && filled < BAR_CELLS ? ">" : "";
  return `[${"=".repeat(filled - head.length)}${head}${" ".repeat(BAR_CELLS - filled)}]`;
}

function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
