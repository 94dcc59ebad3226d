/** All that differs between two runs, drawn from the seed: how the system is set up, what it is given to do, what goes wrong. */

import { MINUTE_MS, type Random, SECOND_MS } from "@millrace/base";
import type { BrokerOptions } from "@millrace/broker";
import type { ProducerConfig } from "@millrace/client";

export const faultKinds = [
  "power cut",
  "kill",
  "restart",
  "cut connections",
  "isolate broker",
  "isolate client",
  "failing writes",
  "failing syncs",
  "full disk",
  "failing files",
  "ailing disk",
] as const;
export type FaultKind = (typeof faultKinds)[number];

type Range = readonly [least: number, most: number];

export interface NetworkScenario {
  readonly delayMs: Range;
  readonly splitProbability: number;
  readonly cutProbability: number;
}

export interface DiskScenario {
  readonly delayMs: Range;
  readonly shortWriteProbability: number;
}

export interface ProducerScenario {
  readonly name: string;
  readonly config: ProducerConfig;
  /** How many records one send gives at a time. */
  readonly burst: Range;
  readonly pauseMs: Range;
  readonly valueBytes: Range;
  /** How likely a record has a key; the same few keys come again. */
  readonly keyProbability: number;
  /** How likely it names its partition. */
  readonly partitionProbability: number;
  /** How likely a burst goes as one sendBatch. */
  readonly batchProbability: number;
  /** How likely a record is taken back by its sender a moment later. */
  readonly abortProbability: number;
  /** How likely, after a burst, the producer is flushed, purged or replaced by a new one. */
  readonly interruptionProbability: number;
}

export interface Scenario {
  readonly faultPhaseMs: number;
  readonly topics: readonly string[];
  readonly network: NetworkScenario;
  readonly disk: DiskScenario;
  readonly broker: BrokerOptions;
  readonly producers: readonly ProducerScenario[];
  readonly faults: readonly FaultKind[];
  readonly faultPauseMs: Range;
}

/**
 * Swarm testing: a fault or an option that is on in every run hides what happens without it, so each run has some of
 * them. Source: Groce et al., "Swarm Testing", 2012.
 */
export function drawScenario(random: Random, minutes: number): Scenario {
  const draw = new Draw(random);
  return {
    faultPhaseMs: minutes * MINUTE_MS,
    topics: Array.from({ length: draw.whole([1, 3]) }, (_, index) => `topic-${index}`),
    network: {
      delayMs: [0.01, draw.one([0.2, 2, 10, 80])],
      splitProbability: draw.one([0, 0.05, 0.4]),
      cutProbability: draw.one([0, 0, 0.001, 0.01]),
    },
    disk: { delayMs: [0.01, draw.one([0.5, 3, 20])], shortWriteProbability: draw.one([0, 0, 0.1]) },
    broker: drawBroker(draw),
    producers: Array.from({ length: draw.whole([1, 4]) }, (_, index) => drawProducer(draw, `producer-${index}`)),
    faults: faultKinds.filter(() => draw.chance(0.4)),
    faultPauseMs: [50, draw.one([500, 2000, 6000])],
  };
}

/** Small limits and short times, so that what takes a week elsewhere happens here. */
function drawBroker(draw: Draw): BrokerOptions {
  return {
    defaultPartitions: draw.whole([1, 4]),
    maxMessageBytes: draw.one([1_048_588, 1_048_588, 8192, 4096]),
    segmentMs: draw.one([7 * 24 * 60 * MINUTE_MS, 5 * SECOND_MS, 500]),
    indexIntervalBytes: draw.one([4096, 256]),
    idleConnectionMs: draw.one([10 * MINUTE_MS, 3 * SECOND_MS]),
    maxPendingResponses: draw.one([128, 4]),
  };
}

function drawProducer(draw: Draw, name: string): ProducerScenario {
  const requestTimeoutMs = draw.one([500, 2000, 5000]);
  const lingerMs = draw.one([0, 0, 1, 5, 50]);
  const mostAtOnce = draw.one([1, 5, 40]);
  return {
    name,
    config: {
      clientId: name,
      lingerMs,
      batchSize: draw.one([1024, 4096, 16384]),
      maxInFlight: draw.one([1, 2, 5, 10]),
      compressionType: draw.one(["none", "none", "gzip"]),
      bufferMemory: draw.one([16 * 1024, 64 * 1024, 1024 * 1024]),
      requestTimeoutMs,
      connectTimeoutMs: draw.one([500, 2000]),
      deliveryTimeoutMs: lingerMs + requestTimeoutMs + draw.one([0, 2000, 20_000, 120_000]),
      maxBlockMs: draw.one([500, 5000, 60_000]),
      maxRequestSize: draw.one([1024 * 1024, 20 * 1024]),
      retryBackoffMs: draw.one([10, 100]),
      retryBackoffMaxMs: 1000,
      connectionsMaxIdleMs: draw.one([540_000, 1000]),
      metadataMaxAgeMs: draw.one([300_000, 1000]),
      metadataMaxIdleMs: draw.one([300_000, 2000]),
      partitionerType: draw.one(["default", "round_robin", "sticky", "key_hash"]),
      circuitBreaker: draw.chance(0.15) ? { failureThreshold: 3, recoveryTimeoutMs: 500 } : null,
    },
    burst: [1, mostAtOnce],
    pauseMs: [0, mostAtOnce * draw.one([10, 40, 200])],
    valueBytes: [0, draw.one([20, 200, 3000])],
    keyProbability: draw.one([0, 0.5, 1]),
    partitionProbability: draw.one([0, 0, 0.3]),
    batchProbability: draw.one([0, 0.3, 1]),
    abortProbability: draw.one([0, 0, 0.05]),
    interruptionProbability: draw.one([0, 0.01, 0.05]),
  };
}

/** Choices with names, on top of chance. */
export class Draw {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  one<const T>(choices: readonly T[]): T {
    const chosen = choices[this.#random.integer(choices.length)];
    if (chosen === undefined) throw new Error("there is nothing to choose from");
    return chosen;
  }

  chance(probability: number): boolean {
    return this.#random.float() < probability;
  }

  /** Both ends included. */
  whole([least, most]: Range): number {
    return least + this.#random.integer(most - least + 1);
  }

  between([least, most]: Range): number {
    return least + this.#random.float() * (most - least);
  }

  bytes(sizeBytes: number): Buffer {
    return this.#random.bytes(sizeBytes);
  }
}
