/** What a check of a data dir found. Offsets, sizes and counts are numbers, as JSON has them. */

export interface DataDirReport {
  readonly dataDir: string;
  readonly formatVersion: number;
  readonly clusterId: string;
  /** The last broker closed in order: the next one takes the logs as they are. */
  readonly isClean: boolean;
  /** Nothing but notes was found. */
  readonly isSound: boolean;
  /** About files that belong to no partition. */
  readonly problems: readonly Problem[];
  readonly partitions: readonly PartitionReport[];
}

export interface PartitionReport {
  readonly topic: string;
  readonly partition: number;
  readonly segments: number;
  readonly batches: number;
  readonly records: number;
  /** Of the segments' log files. */
  readonly sizeBytes: number;
  /** What the files hold now: whole batches from the first of these offsets to before the second. */
  readonly startOffset: number;
  readonly endOffset: number;
  readonly recovery: RecoveryForecast;
  /** Nothing but notes was found. */
  readonly isSound: boolean;
  readonly problems: readonly Problem[];
  /** Problems that were left out of the list because there are too many. */
  readonly problemsLeftOut: number;
}

/** What the log will be after the next start of a broker, and what that start does to its files. */
export interface RecoveryForecast {
  readonly startOffset: number;
  readonly endOffset: number;
  /** Bytes of the log files that go. */
  readonly lostBytes: number;
  /** "cuts 00000000000000000000.log to 4096 bytes", in order. */
  readonly steps: readonly string[];
}

/**
 * damage: records are gone or cannot be read. repairable: the next start of a broker, or the next use, puts it right
 * without a loss. note: nothing is wrong, only unusual.
 */
export type Severity = "damage" | "repairable" | "note";

export interface Problem {
  readonly severity: Severity;
  /** Relative to the data dir. */
  readonly file: string;
  /** Byte of the file; null where it is about the whole. */
  readonly position: number | null;
  /** What was expected and what was found. */
  readonly what: string;
  /** What the next start of a broker makes of it, or what a person can. */
  readonly consequence: string;
}

/** A file whose every batch is bad must not fill the memory: what is beyond is counted. */
const PROBLEM_LIMIT = 100;

/** Gathers what is found, as far as somebody will read it. */
export class Problems {
  readonly #list: Problem[] = [];
  #leftOut = 0;
  #wrongCount = 0;

  get list(): readonly Problem[] {
    return this.#list;
  }

  get leftOut(): number {
    return this.#leftOut;
  }

  /** False once there is more than notes. */
  get isSound(): boolean {
    return this.#wrongCount === 0;
  }

  add(severity: Severity, file: string, position: number | null, what: string, consequence: string): void {
    if (severity !== "note") this.#wrongCount += 1;
    if (this.#list.length < PROBLEM_LIMIT) this.#list.push({ severity, file, position, what, consequence });
    else this.#leftOut += 1;
  }
}
