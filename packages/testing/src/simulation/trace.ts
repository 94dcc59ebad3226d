/** What happened in a run, in order: all of it hashed, the last lines kept for whoever has to find out why it failed. */

import { createHash } from "node:crypto";
import { BoundedQueue, type Clock, type Logger } from "@millrace/base";

export interface TraceOptions {
  readonly clock: Clock;
  /** How many lines `tail` gives. */
  readonly tailLines: number;
  /** Told of every line as it comes. */
  readonly onLine?: ((line: string) => void) | undefined;
}

export class Trace {
  readonly #options: TraceOptions;
  readonly #hash = createHash("sha256");
  readonly #tail: BoundedQueue<string>;
  #lineCount = 0;

  constructor(options: TraceOptions) {
    this.#options = options;
    this.#tail = new BoundedQueue(options.tailLines);
  }

  get lineCount(): number {
    return this.#lineCount;
  }

  /** source: who tells it ("network", "producer-1"). */
  add(source: string, event: string): void {
    const line = `${this.#options.clock.nowMs().toFixed(3).padStart(12)} ${source}: ${event}`;
    this.#lineCount += 1;
    this.#hash.update(line).update("\n");
    if (this.#tail.isFull) this.#tail.shift();
    this.#tail.push(line);
    this.#options.onLine?.(line);
  }

  /** A logger whose lines are part of the trace. */
  logger(source: string): Logger {
    const log = (level: string) => (fields: object, message: string) =>
      this.add(source, `${level} ${message}${reasonIn(fields)}`);
    return { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
  }

  tail(): readonly string[] {
    return [...this.#tail];
  }

  /** Of all lines so far. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }
}

function reasonIn(fields: object): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Error) parts.push(`${name}=${value.message}`);
    else if (typeof value !== "object") parts.push(`${name}=${value}`);
  }
  return parts.length === 0 ? "" : ` (${parts.join(", ")})`;
}
