/** How operations on a simulated disk go: how long they take, and which of them fail. */

import { type Clock, fileSystemError, type Random, sleep } from "@millrace/base";

/** The methods of FileSystem and File by name; "read" stands for readFile too, "stat" for exists and sizeBytes. */
export type DiskOperation =
  | "open"
  | "stat"
  | "read"
  | "write"
  | "sync"
  | "truncate"
  | "list"
  | "makeDirectory"
  | "rename"
  | "remove"
  | "syncDirectory";

export interface DiskFault {
  readonly operation: DiskOperation;
  /** Which paths it befalls; all if not given. */
  readonly path?: RegExp;
  /** An error's code (EIO, ENOSPC, EMFILE …), or "short" for a write that writes a part and says how much. */
  readonly effect: string;
  /** How many operations that fit are let through first. */
  readonly skip?: number;
  /** How many fail then; 1 if not given. */
  readonly times?: number;
}

export interface DiskOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** What each operation takes at least and at most. */
  readonly delayMs?: readonly [least: number, most: number];
  /** How likely a write takes fewer bytes than it was given. */
  readonly shortWriteProbability?: number;
  /** Told of all that is done, in order: the same seed tells the same. */
  readonly trace?: (event: string) => void;
}

export class DiskOperations {
  readonly #options: DiskOptions;
  readonly #faults: { readonly fault: DiskFault; skip: number; times: number }[] = [];
  #isDown = false;

  constructor(options: DiskOptions) {
    this.#options = options;
  }

  /** Faults are tried in the order in which they were injected. Returns the function that ends this one. */
  inject(fault: DiskFault): () => void {
    const entry = { fault, skip: fault.skip ?? 0, times: fault.times ?? 1 };
    this.#faults.push(entry);
    return () => {
      entry.times = 0;
    };
  }

  get isDown(): boolean {
    return this.#isDown;
  }

  takeDown(reason: "crash" | "kill"): void {
    this.#isDown = true;
    this.#options.trace?.(reason);
  }

  /** Begins an operation; returns the effect that it is to have, null for none. Throws EIO on a machine that is down. */
  begin(operation: DiskOperation, path: string, detail = ""): string | null {
    this.#checkUp(path);
    const effect = this.#effectOn(operation, path);
    this.#options.trace?.(`${operation} ${path}${detail}${effect === null ? "" : `: ${effect}`}`);
    return effect;
  }

  /** Lets the operation take its time, then throws what it failed with. */
  async finish(path: string, effect: string | null): Promise<void> {
    const [leastMs, mostMs] = this.#options.delayMs ?? [0.01, 1];
    await sleep(this.#options.clock, leastMs + this.#options.random.float() * (mostMs - leastMs));
    this.#checkUp(path);
    if (effect !== null && effect !== "short") throw fileSystemError(effect, path);
  }

  async run(operation: DiskOperation, path: string): Promise<void> {
    await this.finish(path, this.begin(operation, path));
  }

  #effectOn(operation: DiskOperation, path: string): string | null {
    for (const entry of this.#faults) {
      const { fault } = entry;
      if (fault.operation !== operation || fault.path?.test(path) === false || entry.times === 0) continue;
      if (entry.skip > 0) entry.skip -= 1;
      else {
        entry.times -= 1;
        return fault.effect;
      }
    }
    const shortWriteProbability = this.#options.shortWriteProbability ?? 0;
    return operation === "write" && this.#options.random.float() < shortWriteProbability ? "short" : null;
  }

  #checkUp(path: string): void {
    if (this.#isDown) throw fileSystemError("EIO", `${path}: the machine is down`);
  }
}
