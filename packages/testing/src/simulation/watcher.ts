/** Reads one partition while everything goes wrong, and remembers what it saw: nobody may take that back. */

import { type Random, SeededRandom, sleep, type VirtualClock } from "@millrace/base";
import { type ConsumedRecord, KafkaError, Reader } from "@millrace/client";
import type { SimulatedNetwork } from "../simulated-network.ts";
import { BROKER_SERVER } from "./broker-machine.ts";
import type { Sighting } from "./checks.ts";
import { leftovers, ProcessClock } from "./process-clock.ts";
import type { Trace } from "./trace.ts";

const RETRY_MS = 500;
/** What a reader of a log that loses nothing never gets to hear. */
const NEVER = new Set(["OFFSET_OUT_OF_RANGE", "CORRUPT_MESSAGE"]);

export interface WatcherOptions {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly network: SimulatedNetwork;
  readonly trace: Trace;
  readonly topic: string;
  readonly partition: number;
  readonly onViolation: (violation: string) => void;
}

export class Watcher {
  readonly sightings: Sighting[] = [];
  readonly #options: WatcherOptions;
  readonly #name: string;
  readonly #clock: ProcessClock;
  readonly #reader: Reader;
  #highWatermark = 0n;
  #isClosed = false;

  constructor(options: WatcherOptions) {
    const { topic, partition, clock, random, network, trace } = options;
    this.#options = options;
    this.#name = `reader of ${topic}-${partition}`;
    this.#clock = new ProcessClock(clock);
    this.#reader = new Reader({
      bootstrapServers: BROKER_SERVER,
      topic,
      partition,
      maxWaitMs: 200,
      maxBytes: 4096,
      requestTimeoutMs: 1000,
      connectTimeoutMs: 1000,
      apiTimeoutMs: 5000,
      clock: this.#clock,
      random: new SeededRandom(random.integer(2 ** 32)),
      network: network.from(this.#name),
      logger: trace.logger(this.#name),
    });
  }

  /** Reads until it is closed. */
  async run(): Promise<void> {
    while (!this.#isClosed) {
      try {
        this.#see(await this.#reader.read());
      } catch (error) {
        if (this.#isClosed) return;
        const code = error instanceof KafkaError ? error.code : String(error);
        if (NEVER.has(code)) this.#options.onViolation(`${this.#name}: ${error}`);
        await sleep(this.#options.clock, RETRY_MS);
      }
    }
  }

  #see(records: readonly ConsumedRecord[]): void {
    const { topic, partition, onViolation, trace } = this.#options;
    for (const { offset, value } of records) this.sightings.push({ partition: `${topic}-${partition}`, offset, value });
    const highWatermark = this.#reader.highWatermark ?? 0n;
    if (highWatermark < this.#highWatermark)
      onViolation(`${this.#name}: the high watermark went from ${this.#highWatermark} back to ${highWatermark}`);
    this.#highWatermark = highWatermark;
    if (records.length > 0) trace.add(this.#name, `${records.length} records up to ${this.#reader.position}`);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#reader.close();
    const { clock, network, onViolation } = this.#options;
    const left = await leftovers(this.#clock, clock, () => network.openStreamCount(this.#name));
    for (const line of left) onViolation(`${this.#name} was closed and leaves ${line}`);
  }
}
