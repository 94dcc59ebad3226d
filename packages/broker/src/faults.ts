/** Faults on purpose: what a broker is told to do wrong, so that a test can see what its client makes of it. */

import { nearestName, OptionError } from "@millrace/base";
import { type ErrorCode, errorByCode, isErrorCode } from "@millrace/protocol";

/** Which requests go wrong, and how. All that is given must fit a request; what is left out fits all. */
export interface FaultSpec {
  /** Kafka's name of the API: "Produce", "Fetch", "OffsetCommit". */
  readonly api: string;
  /** Only what a request asks of this topic. */
  readonly topic?: string;
  /** Only what a request asks of this partition of the topic; the other partitions are served as ever. */
  readonly partition?: number;
  /** Only requests of the client that calls itself so. */
  readonly clientId?: string;
  /** The code to answer with, by Kafka's name: "NOT_LEADER_OR_FOLLOWER". */
  readonly error?: ErrorCode;
  /** The answer comes so much later. */
  readonly delayMs?: number;
  /** The connection is closed instead of an answer. */
  readonly disconnect?: boolean;
  /**
   * Whether the request does its work although its client is not told so: the record is in the log, and the client
   * cannot know. False unless given.
   */
  readonly isCarriedOut?: boolean;
  /** How many requests go wrong; without it all, until the fault is removed. */
  readonly times?: number;
}

/** A fault that was injected. */
export interface Fault {
  /** Requests that it has hit. */
  readonly hitCount: number;
  /** From now on requests are served as ever. May be called twice. */
  remove(): void;
}

/** What becomes of one request. */
export interface FaultHit {
  readonly error: ErrorCode | null;
  readonly delayMs: number;
  readonly isDisconnected: boolean;
  readonly isCarriedOut: boolean;
  /** partition: null for an API whose requests are about whole topics. */
  concerns(topic: string, partition: number | null): boolean;
}

/** A request as faults see it. */
export interface FaultTarget {
  readonly api: string;
  readonly clientId: string | null;
  /** Whether the request asks anything of a partition that this is true of; null if its API is not about topics. */
  readonly some: ((concerns: FaultHit["concerns"]) => boolean) | null;
}

export interface FaultsParts {
  /** Names of all APIs that are served. */
  readonly apiNames: readonly string[];
  /** Names of those whose requests name topics, and of those that name partitions too. */
  readonly topicApis: ReadonlySet<string>;
  readonly partitionApis: ReadonlySet<string>;
  disconnectAll(): void;
}

/**
 * The faults of one broker. Of several that fit a request, the one injected first hits it.
 *
 *     broker.faults.inject({ api: "Produce", topic: "orders", error: "NOT_LEADER_OR_FOLLOWER", times: 2 });
 */
export class Faults {
  readonly #parts: FaultsParts;
  #active: ActiveFault[] = [];

  constructor(parts: FaultsParts) {
    this.#parts = parts;
  }

  /** Throws OptionError for an API that is not served, a fault that does nothing, or one that its API cannot have. */
  inject(spec: FaultSpec): Fault {
    checkSpec(spec, this.#parts);
    const fault = new ActiveFault(spec, (ended) => {
      this.#active = this.#active.filter((candidate) => candidate !== ended);
    });
    this.#active.push(fault);
    return fault;
  }

  /** Removes all faults. */
  clear(): void {
    this.#active = [];
  }

  /** Closes all connections there are, as a broker that died would; new ones are taken as ever. */
  disconnectAll(): void {
    this.#parts.disconnectAll();
  }

  get isEmpty(): boolean {
    return this.#active.length === 0;
  }

  /** What is to become of a request; null: nothing unusual. */
  hit(target: FaultTarget): FaultHit | null {
    const fault = this.#active.find((candidate) => candidate.fits(target));
    fault?.count();
    return fault ?? null;
  }
}

class ActiveFault implements Fault, FaultHit {
  readonly error: ErrorCode | null;
  readonly delayMs: number;
  readonly isDisconnected: boolean;
  readonly isCarriedOut: boolean;
  readonly #spec: FaultSpec;
  readonly #onEnd: (fault: ActiveFault) => void;
  #hitCount = 0;

  constructor(spec: FaultSpec, onEnd: (fault: ActiveFault) => void) {
    this.#spec = spec;
    this.#onEnd = onEnd;
    this.error = spec.error ?? null;
    this.delayMs = spec.delayMs ?? 0;
    this.isDisconnected = spec.disconnect === true;
    this.isCarriedOut = spec.isCarriedOut === true;
  }

  get hitCount(): number {
    return this.#hitCount;
  }

  remove(): void {
    this.#onEnd(this);
  }

  count(): void {
    this.#hitCount += 1;
    if (this.#hitCount === this.#spec.times) this.remove();
  }

  fits({ api, clientId, some }: FaultTarget): boolean {
    const spec = this.#spec;
    if (api !== spec.api || (spec.clientId !== undefined && clientId !== spec.clientId)) return false;
    if (spec.topic === undefined) return true;
    return some?.((topic, partition) => this.concerns(topic, partition)) === true;
  }

  concerns(topic: string, partition: number | null): boolean {
    const { topic: wanted, partition: wantedPartition } = this.#spec;
    if (wanted !== undefined && topic !== wanted) return false;
    return wantedPartition === undefined || partition === wantedPartition;
  }
}

const fieldTypes: Readonly<Record<keyof FaultSpec, "string" | "number" | "boolean">> = {
  api: "string",
  topic: "string",
  partition: "number",
  clientId: "string",
  error: "string",
  delayMs: "number",
  disconnect: "boolean",
  isCarriedOut: "boolean",
  times: "number",
};

/** Most tests are JavaScript: a misspelt field would make a fault that hits what it should not. */
function checkFields(spec: FaultSpec): void {
  if (spec.api === undefined)
    throw new OptionError("api", 'a fault needs the name of an API, as in { api: "Produce" }');
  const known: Readonly<Record<string, string>> = fieldTypes;
  for (const [name, value] of Object.entries<unknown>({ ...spec })) {
    const type = known[name];
    if (type === undefined) {
      const nearest = nearestName(name, Object.keys(known));
      const hint = nearest === null ? `it may have ${Object.keys(known).join(", ")}` : `did you mean ${nearest}?`;
      throw new OptionError(name, `a fault has no ${name}; ${hint}`);
    }
    if (value === undefined || typeof value === type) continue;
    throw new OptionError(name, `${name} is ${JSON.stringify(value)}; it must be a ${type}`);
  }
}

function checkSpec(spec: FaultSpec, { apiNames, topicApis, partitionApis }: FaultsParts): void {
  checkFields(spec);
  const { api, topic, partition, error, delayMs, disconnect, times } = spec;
  if (!apiNames.includes(api)) {
    const nearest = nearestName(api, apiNames);
    const hint = nearest === null ? `served are ${apiNames.join(", ")}` : `did you mean ${nearest}?`;
    throw new OptionError("api", `there is no API ${api} here; ${hint}`);
  }
  if (topic !== undefined && !topicApis.has(api)) {
    throw new OptionError("topic", `faults of ${api} hit whole requests; a topic may be given for ${list(topicApis)}`);
  }
  if (partition !== undefined && (topic === undefined || !partitionApis.has(api))) {
    throw new OptionError("partition", `a partition may be given together with its topic, for ${list(partitionApis)}`);
  }
  if (error !== undefined && (!isErrorCode(error) || isOursAlone(error))) {
    throw new OptionError("error", `${error} is not in Kafka's error table: no broker would answer with it`);
  }
  if (error !== undefined && disconnect === true) {
    throw new OptionError("disconnect", "a connection that closes carries no error; give one of the two");
  }
  if (error === undefined && disconnect !== true && delayMs === undefined) {
    throw new OptionError("api", `a fault of ${api} needs an error, a delayMs or disconnect: true`);
  }
  if (delayMs !== undefined && !(delayMs >= 0)) {
    throw new OptionError("delayMs", `delayMs is ${delayMs}; it must be at least 0`);
  }
  if (times !== undefined && !(Number.isInteger(times) && times >= 1)) {
    throw new OptionError("times", `times is ${times}; it must be a whole number, at least 1`);
  }
}

/** Codes of ours travel as UNKNOWN_SERVER_ERROR. */
function isOursAlone(code: ErrorCode): boolean {
  return errorByCode(code).number === -1 && code !== "UNKNOWN_SERVER_ERROR";
}

function list(names: ReadonlySet<string>): string {
  return [...names].join(", ");
}
