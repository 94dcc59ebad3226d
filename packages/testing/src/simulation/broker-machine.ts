/** The machine that the broker runs on: it is started, killed, cut from power, and started again on what its disk has kept. */

import { type Random, SeededRandom, sleep, type VirtualClock } from "@millrace/base";
import { Broker, type BrokerOptions } from "@millrace/broker";
import { SimulatedFileSystem } from "../simulated-file-system.ts";
import type { SimulatedNetwork } from "../simulated-network.ts";
import { leftovers, ProcessClock } from "./process-clock.ts";
import type { DiskScenario } from "./scenario.ts";
import type { Trace } from "./trace.ts";

export const BROKER_HOST = "broker";
export const BROKER_SERVER = `${BROKER_HOST}:9092`;
/** The same in every life, as in a container; the real one would make the trace another in every run. */
const PROCESS_ID = 1;
/** Wait of whoever watches over the process before it is started again. */
const RESTART_PAUSE_MS = 200;
/** A broker that does not start on a disk without faults after so many attempts never will. */
const START_ATTEMPTS = 100;

export interface BrokerMachineOptions {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly network: SimulatedNetwork;
  readonly trace: Trace;
  readonly disk: DiskScenario;
  readonly broker: BrokerOptions;
}

/** One life of the broker. */
interface BrokerProcess {
  readonly clock: ProcessClock;
  broker: Broker | null;
}

export class BrokerMachine {
  disk: SimulatedFileSystem;
  /**
   * A sync has failed, or is about to: what is in memory may never reach the disk, whatever a later sync says. Only a
   * power cut brings memory and disk together.
   */
  isMemoryInDoubt = false;
  startCount = 0;
  readonly #options: BrokerMachineOptions;
  #process: BrokerProcess | null = null;

  constructor(options: BrokerMachineOptions) {
    this.#options = options;
    const { clock, random, disk, trace } = options;
    this.disk = new SimulatedFileSystem({
      clock,
      random: new SeededRandom(random.integer(2 ** 32)),
      ...disk,
      trace: (event) => trace.add("disk", event),
    });
  }

  /** Resolves once the broker serves, or is gone again. Rejects if it cannot be started. */
  async start(): Promise<void> {
    const { clock, network, trace } = this.#options;
    network.bringUp(BROKER_HOST);
    for (let attempt = 1; attempt <= START_ATTEMPTS; attempt++) {
      const process = { clock: new ProcessClock(clock), broker: null };
      this.#process = process;
      const failure = await this.#open(process);
      if (failure === null || this.#process !== process) return;
      trace.add("machine", `broker did not start: ${failure.message}`);
      if (process.clock.pendingCount + process.clock.backgroundCount > 0)
        throw new Error(`a broker that did not start leaves timers: ${failure.message}`);
      await sleep(clock, RESTART_PAUSE_MS);
      if (this.#process !== process) return;
    }
    throw new Error(`the broker did not start ${START_ATTEMPTS} times in a row`);
  }

  async #open(process: BrokerProcess): Promise<Error | null> {
    const { network, random, trace, broker } = this.#options;
    try {
      const opened = await Broker.open({
        ...broker,
        dataDir: "/data",
        host: BROKER_HOST,
        port: 9092,
        processId: PROCESS_ID,
        clock: process.clock,
        random: new SeededRandom(random.integer(2 ** 32)),
        network: network.from(BROKER_HOST),
        fileSystem: this.disk,
        logger: trace.logger("broker"),
      });
      process.broker = opened;
      this.startCount += 1;
      return null;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  /** The machine stops at once; its disk keeps what was synced, and of the rest what chance leaves. */
  cutPower(): void {
    this.#end();
    this.disk = this.disk.crash();
    this.isMemoryInDoubt = false;
  }

  /** kill -9. */
  kill(): void {
    if (this.isMemoryInDoubt) {
      this.cutPower();
      return;
    }
    this.#end();
    this.disk = this.disk.kill();
  }

  #end(): void {
    this.#process?.clock.kill();
    this.#process = null;
    this.#options.network.takeDown(BROKER_HOST);
  }

  /**
   * Stops the broker as it wants to be stopped. Gives what it leaves behind, a line each.
   *
   * On a disk that fails it may not be able to write that it was; then the next start checks everything.
   */
  async close(): Promise<string[]> {
    const process = this.#process;
    if (process === null || process.broker === null) return [];
    await process.broker.close().catch((error: unknown) => this.#options.trace.add("machine", `close: ${error}`));
    const { clock, network } = this.#options;
    const left = await leftovers(process.clock, clock, () => network.openStreamCount(BROKER_HOST));
    this.kill();
    return left.map((line) => `a broker that was closed leaves ${line}`);
  }
}
