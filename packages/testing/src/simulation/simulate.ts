/** One run of the whole system, real client and real broker, on virtual time: everything in it follows from the seed. */

import { SeededRandom, sleep, VirtualClock } from "@millrace/base";
import { type ConsumedRecord, Reader } from "@millrace/client";
import { loadCodec } from "@millrace/protocol";
import { SimulatedNetwork } from "../simulated-network.ts";
import { BROKER_HOST, BROKER_SERVER, BrokerMachine } from "./broker-machine.ts";
import {
  changed,
  duplicates,
  holes,
  type Logs,
  misplaced,
  missingAcknowledged,
  strangers,
  unsettled,
  vanished,
} from "./checks.ts";
import { Ledger } from "./ledger.ts";
import { Nemesis } from "./nemesis.ts";
import { ProducerDriver } from "./producer-driver.ts";
import { Draw, drawScenario, type Scenario } from "./scenario.ts";
import { Trace } from "./trace.ts";
import { Watcher } from "./watcher.ts";

const TAIL_LINES = 60;
/** On a healthy system a record needs no longer, whatever stands before it: all backoffs and timeouts are shorter. */
const PROBE_LIMIT_MS = 60_000;
/** A run that has not ended so long after its faults hangs. */
const RUN_LIMIT_MS = 30 * 60_000;
const PARTITION_LIMIT = 4;
/** So long after a close all that it sent has arrived. */
const FAREWELL_MS = 1000;
const VIOLATION_LIMIT = 30;

export interface SimulationOptions {
  readonly seed: number;
  /** How long things go wrong, in virtual minutes; 0.25 if not given. */
  readonly minutes?: number;
  /** Told of every line of the trace. */
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface SimulationResult {
  readonly seed: number;
  readonly scenario: Scenario;
  /** What does not hold, a line each; empty if all is well. */
  readonly violations: readonly string[];
  /** Of all that happened: the same for the same seed. */
  readonly traceHash: string;
  readonly traceTail: readonly string[];
  readonly summary: SimulationSummary;
}

export interface SimulationSummary {
  readonly virtualMs: number;
  readonly sent: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly inLog: number;
  readonly sightings: number;
  readonly faults: number;
  readonly brokerStarts: number;
  readonly events: number;
}

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  // Codecs are loaded from the disk of the real machine, at a time that no seed knows: before the run.
  await loadCodec("gzip");
  return new Simulation(options).run();
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #clock = new VirtualClock();
  readonly #random: SeededRandom;
  readonly #trace: Trace;
  readonly #scenario: Scenario;
  readonly #network: SimulatedNetwork;
  readonly #machine: BrokerMachine;
  readonly #ledger = new Ledger();
  readonly #drivers: readonly ProducerDriver[];
  readonly #watchers: readonly Watcher[];
  readonly #nemesis: Nemesis;
  readonly #violations: string[] = [];
  readonly #onViolation = (violation: string) => {
    this.#trace.add("violation", violation);
    if (this.#violations.length < VIOLATION_LIMIT) this.#violations.push(violation);
  };

  constructor(options: SimulationOptions) {
    this.#options = options;
    const clock = this.#clock;
    this.#random = new SeededRandom(options.seed);
    const trace = new Trace({ clock, tailLines: TAIL_LINES, onLine: options.onLine });
    this.#trace = trace;
    const scenario = drawScenario(this.#fork(), options.minutes ?? 0.25);
    this.#scenario = scenario;
    const network = new SimulatedNetwork({
      clock,
      random: this.#fork(),
      ...scenario.network,
      trace: (event) => trace.add("network", event),
    });
    this.#network = network;
    const { disk, broker, topics } = scenario;
    this.#machine = new BrokerMachine({ clock, random: this.#fork(), network, trace, disk, broker });
    const parts = { clock, network, trace, onViolation: this.#onViolation };
    this.#drivers = scenario.producers.map(
      (producer) =>
        new ProducerDriver({ ...parts, random: this.#fork(), ledger: this.#ledger, scenario: producer, topics }),
    );
    this.#watchers = this.#partitions().map(
      ({ topic, partition }) => new Watcher({ ...parts, random: this.#fork(), topic, partition }),
    );
    this.#nemesis = new Nemesis({
      ...parts,
      random: this.#fork(),
      machine: this.#machine,
      scenario,
      clientHosts: this.#drivers.map(({ host }) => host),
    });
  }

  /** A part draws from a source of its own: what it draws changes nothing for the others. */
  #fork(): SeededRandom {
    return new SeededRandom(this.#random.integer(2 ** 32));
  }

  async run(): Promise<SimulationResult> {
    const onUnhandled = (error: unknown) =>
      this.#onViolation(`unhandled rejection: ${error instanceof Error ? error.stack : error}`);
    process.on("unhandledRejection", onUnhandled);
    let logs: Logs = new Map();
    try {
      const limitMs = this.#scenario.faultPhaseMs + RUN_LIMIT_MS;
      logs = await this.#clock.runUntil(this.#live(), limitMs);
    } catch (error) {
      this.#onViolation(`the run failed: ${error instanceof Error ? error.stack : error}`);
    } finally {
      process.off("unhandledRejection", onUnhandled);
    }
    return this.#result(logs);
  }

  async #live(): Promise<Logs> {
    await this.#goThroughFaults();
    await this.#heal();
    await this.#converge();
    const logs = await this.#readAll();
    this.#judge(logs);
    await this.#crashOnceMore(logs);
    return logs;
  }

  async #goThroughFaults(): Promise<void> {
    const untilMs = this.#clock.nowMs() + this.#scenario.faultPhaseMs;
    for (const watcher of this.#watchers) void watcher.run();
    const started = this.#machine.start();
    const drivers = this.#drivers.map((driver) => driver.run(untilMs));
    await started;
    await this.#nemesis.run(untilMs);
    await Promise.all(drivers);
  }

  /** From here on nothing goes wrong any more. The start is one more recovery. */
  async #heal(): Promise<void> {
    this.#trace.add("simulation", "heal");
    this.#network.cutProbability = 0;
    if (new Draw(this.#fork()).chance(0.5)) this.#machine.cutPower();
    else this.#machine.kill();
    await this.#machine.start();
  }

  async #converge(): Promise<void> {
    await Promise.all(this.#drivers.map((driver) => driver.probe(PROBE_LIMIT_MS)));
    await Promise.all(this.#drivers.map((driver) => driver.settle()));
    this.#trace.add("simulation", "all is settled");
    for (const driver of this.#drivers) await driver.close(null);
    for (const watcher of this.#watchers) await watcher.close();
  }

  /** All partitions that there may be. */
  #partitions(): { readonly topic: string; readonly partition: number }[] {
    const count = Math.min(this.#scenario.broker.defaultPartitions ?? 1, PARTITION_LIMIT);
    return this.#scenario.topics.flatMap((topic) =>
      Array.from({ length: count }, (_, partition) => ({ topic, partition })),
    );
  }

  async #readAll(): Promise<Logs> {
    const logs = new Map<string, ConsumedRecord[]>();
    for (const { topic, partition } of this.#partitions())
      logs.set(`${topic}-${partition}`, await this.#read(topic, partition));
    return logs;
  }

  async #read(topic: string, partition: number): Promise<ConsumedRecord[]> {
    const reader = new Reader({
      bootstrapServers: BROKER_SERVER,
      topic,
      partition,
      maxWaitMs: 1,
      clock: this.#clock,
      random: this.#fork(),
      network: this.#network.from("last reader"),
    });
    try {
      const records: ConsumedRecord[] = [];
      do records.push(...(await reader.read()));
      while ((reader.position ?? 0n) < (reader.highWatermark ?? 0n));
      return records;
    } finally {
      await reader.close();
    }
  }

  #judge(logs: Logs): void {
    const ledger = this.#ledger;
    const found = [
      missingAcknowledged(ledger, logs),
      strangers(ledger, logs),
      duplicates(ledger, logs),
      misplaced(ledger, logs),
      unsettled(ledger),
      holes(logs),
      vanished(
        this.#watchers.flatMap(({ sightings }) => sightings),
        logs,
      ),
    ];
    for (const violations of found) for (const violation of violations) this.#onViolation(violation);
  }

  async #crashOnceMore(before: Logs): Promise<void> {
    this.#machine.cutPower();
    await this.#machine.start();
    const after = await this.#readAll();
    for (const violation of changed(before, after)) this.#onViolation(`after another power cut ${violation}`);
    await this.#nemesis.closeBroker();
    await sleep(this.#clock, FAREWELL_MS);
    const openStreams = this.#network.openStreamCount(BROKER_HOST);
    if (openStreams > 0) this.#onViolation(`at the end ${openStreams} streams of the broker are open`);
  }

  #result(logs: Logs): SimulationResult {
    let inLog = 0;
    for (const records of logs.values()) inLog += records.length;
    const ledger = this.#ledger;
    return {
      seed: this.#options.seed,
      scenario: this.#scenario,
      violations: this.#violations,
      traceHash: this.#trace.digest(),
      traceTail: this.#trace.tail(),
      summary: {
        virtualMs: this.#clock.nowMs(),
        sent: ledger.entries.length,
        acknowledged: ledger.count("acknowledged"),
        refused: ledger.count("refused"),
        inLog,
        sightings: this.#watchers.reduce((sum, { sightings }) => sum + sightings.length, 0),
        faults: this.#nemesis.faultCount,
        brokerStarts: this.#machine.startCount,
        events: this.#trace.lineCount,
      },
    };
  }
}
