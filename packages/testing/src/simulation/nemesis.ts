/** Does to the system, one after the other, what the scenario allows. */

import { type Random, sleep, type VirtualClock } from "@millrace/base";
import type { DiskFault } from "../disk-operations.ts";
import type { SimulatedNetwork } from "../simulated-network.ts";
import { BROKER_HOST, type BrokerMachine } from "./broker-machine.ts";
import { Draw, type FaultKind, type Scenario } from "./scenario.ts";
import type { Trace } from "./trace.ts";

const LOG_FILE = /\.log$/;
/** Everything but the logs and the lock. */
const SIDE_FILE = /^(?!.*\.(log|lock)$)/;
const fileOperations = [
  "open",
  "read",
  "write",
  "rename",
  "remove",
  "truncate",
  "list",
  "stat",
  "sync",
  "syncDirectory",
] as const;
/** Those whose failing leaves no doubt about what the disk has. */
const lastingOperations = ["open", "read", "write", "write", "rename", "remove", "truncate", "list", "stat"] as const;
/** A clean close that takes longer hangs. */
const CLOSE_LIMIT_MS = 60_000;

export interface NemesisOptions {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly network: SimulatedNetwork;
  readonly machine: BrokerMachine;
  readonly trace: Trace;
  readonly scenario: Scenario;
  readonly clientHosts: readonly string[];
  readonly onViolation: (violation: string) => void;
}

export class Nemesis {
  readonly #options: NemesisOptions;
  readonly #draw: Draw;
  faultCount = 0;

  constructor(options: NemesisOptions) {
    this.#options = options;
    this.#draw = new Draw(options.random);
  }

  /** Until the time has come; the fault that is under way then is ended in order. */
  async run(untilMs: number): Promise<void> {
    const { clock, scenario, trace } = this.#options;
    if (scenario.faults.length === 0) return;
    for (;;) {
      await sleep(clock, this.#draw.between(scenario.faultPauseMs));
      if (clock.nowMs() >= untilMs) return;
      const kind = this.#draw.one(scenario.faults);
      trace.add("nemesis", kind);
      this.faultCount += 1;
      await this.#inflict(kind);
    }
  }

  async #inflict(kind: FaultKind): Promise<void> {
    const { machine, network, clientHosts } = this.#options;
    switch (kind) {
      case "power cut":
        machine.cutPower();
        return this.#startAgain();
      case "kill":
        machine.kill();
        return this.#startAgain();
      case "restart":
        return this.#restart();
      case "cut connections":
        network.cut(this.#draw.chance(0.5) ? BROKER_HOST : this.#draw.one(clientHosts));
        return;
      case "isolate broker":
        return this.#isolate(BROKER_HOST);
      case "isolate client":
        return this.#isolate(this.#draw.one(clientHosts));
      case "failing writes":
        this.#inject({ operation: "write", path: LOG_FILE, effect: this.#draw.one(["EIO", "ENOSPC"]) });
        return;
      case "failing syncs":
        return this.#failSyncs({ operation: "sync", path: LOG_FILE, effect: "EIO" });
      case "failing files":
        return this.#failFiles();
      case "full disk":
        return this.#fillDisk();
      case "ailing disk":
        return this.#ailDisk();
    }
  }

  async #restart(): Promise<void> {
    await this.closeBroker();
    return this.#startAgain();
  }

  async #startAgain(): Promise<void> {
    const { clock, machine } = this.#options;
    await sleep(clock, this.#draw.between([0, this.#draw.one([10, 500, 3000])]));
    // Now and then it does not even get through its recovery.
    for (let attempt = 0; attempt < 3 && this.#draw.chance(0.2); attempt++) {
      const started = machine.start();
      await sleep(clock, this.#draw.between([0, this.#draw.one([2, 20, 100])]));
      if (this.#draw.chance(0.5)) machine.cutPower();
      else machine.kill();
      await started;
    }
    await machine.start();
  }

  /** Stops the broker in order; one that does not come to an end is a mistake. */
  async closeBroker(): Promise<void> {
    const { clock, machine, onViolation } = this.#options;
    const closing = machine.close().then((violations) => {
      for (const violation of violations) onViolation(violation);
      return true;
    });
    const isClosed = await Promise.race([closing, sleep(clock, CLOSE_LIMIT_MS).then(() => false)]);
    if (isClosed) return;
    onViolation(`the broker did not close within ${CLOSE_LIMIT_MS} ms`);
    machine.kill();
  }

  async #isolate(host: string): Promise<void> {
    const { clock, network } = this.#options;
    network.isolate(host);
    await sleep(clock, this.#draw.between([0, this.#draw.one([100, 1000, 8000])]));
    network.heal(host);
  }

  #inject(fault: DiskFault): void {
    const skip = this.#draw.whole([0, this.#draw.one([0, 5, 30])]);
    this.#options.machine.disk.inject({ ...fault, skip, times: this.#draw.whole([1, 3]) });
  }

  /** A log whose sync failed takes nothing until the next start, and nobody knows what the disk has. */
  async #failSyncs(fault: DiskFault): Promise<void> {
    const { clock, machine } = this.#options;
    machine.isMemoryInDoubt = true;
    this.#inject(fault);
    await sleep(clock, this.#draw.between([0, this.#draw.one([50, 500, 3000])]));
    machine.cutPower();
    return this.#startAgain();
  }

  async #failFiles(): Promise<void> {
    const operation = this.#draw.one(fileOperations);
    const path = this.#draw.one([SIDE_FILE, LOG_FILE]);
    if (operation === "sync" || operation === "syncDirectory")
      return this.#failSyncs({ operation, path, effect: "EIO" });
    this.#inject({ operation, path, effect: "EIO" });
    if (this.#draw.chance(0.3)) return this.#restart();
  }

  /** All operations of a kind fail, for seconds, and now and then the broker is to start on such a disk. */
  async #ailDisk(): Promise<void> {
    const { clock, machine } = this.#options;
    const operation = this.#draw.one(lastingOperations);
    const effect = operation === "write" ? this.#draw.one(["EIO", "ENOSPC", "short"]) : "EIO";
    const path = this.#draw.one([SIDE_FILE, LOG_FILE]);
    const heal = machine.disk.inject({ operation, path, effect, times: Number.POSITIVE_INFINITY });
    const restarted = this.#draw.chance(0.2) ? this.#restart() : null;
    await sleep(clock, this.#draw.between([0, this.#draw.one([200, 2000, 8000])]));
    heal();
    await restarted;
  }

  async #fillDisk(): Promise<void> {
    const { clock, machine } = this.#options;
    const capacityBytes = machine.disk.capacityBytes;
    machine.disk.capacityBytes = machine.disk.usedBytes + this.#draw.whole([0, 5000]);
    await sleep(clock, this.#draw.between([0, this.#draw.one([200, 3000])]));
    machine.disk.capacityBytes = capacityBytes;
  }
}
