/** Gives one producer its work, writes down what becomes of each record, and puts a new producer in its place now and then. */

import { type Random, SeededRandom, sleep, type VirtualClock } from "@millrace/base";
import { Producer, type ProducerRecord, RecordMetadata, SendBatchError } from "@millrace/client";
import type { SimulatedNetwork } from "../simulated-network.ts";
import { BROKER_SERVER } from "./broker-machine.ts";
import { acknowledged, type Ledger, type LedgerEntry, type Outcome, recordId, refused } from "./ledger.ts";
import { leftovers, ProcessClock } from "./process-clock.ts";
import { Draw, type ProducerScenario } from "./scenario.ts";
import type { Trace } from "./trace.ts";

const KEY_COUNT = 5;
/** What is sent to a partition that a topic may not have fails at once; that is part of the game. */
const PARTITION_COUNT = 4;
const TIMER_SLACK_MS = 1;
/** Circuits that opened while nothing went are closed again by then. */
const CALM_MS = 2000;
/** Until answers to what was given up have come, or their connections are closed. */
const SETTLING_MS = 20_000;

export interface ProducerDriverOptions {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly network: SimulatedNetwork;
  readonly trace: Trace;
  readonly ledger: Ledger;
  readonly scenario: ProducerScenario;
  readonly topics: readonly string[];
  /** Told of what must not be. */
  readonly onViolation: (violation: string) => void;
}

/** A producer from its constructor to its close. */
interface Life {
  readonly name: string;
  readonly clock: ProcessClock;
  readonly producer: Producer;
  sentCount: number;
}

export class ProducerDriver {
  readonly host: string;
  readonly #options: ProducerDriverOptions;
  readonly #draw: Draw;
  readonly #pending = new Set<Promise<void>>();
  #lifeCount = 0;
  #life: Life;

  constructor(options: ProducerDriverOptions) {
    this.#options = options;
    this.host = options.scenario.name;
    this.#draw = new Draw(options.random);
    this.#life = this.#begin();
  }

  #begin(): Life {
    const { clock, random, network, scenario, trace } = this.#options;
    const processClock = new ProcessClock(clock);
    const name = `${scenario.name}.${++this.#lifeCount}`;
    const producer = new Producer({
      ...scenario.config,
      bootstrapServers: BROKER_SERVER,
      clock: processClock,
      random: new SeededRandom(random.integer(2 ** 32)),
      network: network.from(this.host),
      logger: trace.logger(name),
    });
    return { name, clock: processClock, producer, sentCount: 0 };
  }

  /** Sends until the time has come. */
  async run(untilMs: number): Promise<void> {
    const { clock, scenario } = this.#options;
    while (clock.nowMs() < untilMs) {
      this.#sendBurst();
      await sleep(clock, this.#draw.between(scenario.pauseMs));
      if (this.#draw.chance(scenario.interruptionProbability)) await this.#interrupt();
    }
  }

  #sendBurst(): void {
    const { scenario } = this.#options;
    const count = this.#draw.whole(scenario.burst);
    if (this.#draw.chance(scenario.batchProbability)) this.#sendBatch(count);
    else for (let sent = 0; sent < count; sent++) this.#send();
  }

  #sendBatch(count: number): void {
    const drawn = Array.from({ length: count }, () => this.#drawRecord());
    this.#follow(
      this.#life.producer.sendBatch(drawn.map(({ record }) => record)).then(
        (results) => {
          for (const [index, metadata] of results.entries()) this.#settle(drawn[index]?.entry, acknowledged(metadata));
        },
        (error: unknown) => {
          for (const [index, { entry }] of drawn.entries()) this.#settle(entry, outcomeIn(error, index));
        },
      ),
    );
  }

  #send(): void {
    const { scenario, clock } = this.#options;
    const { producer } = this.#life;
    const { record, entry } = this.#drawRecord();
    if (!this.#draw.chance(scenario.abortProbability)) {
      this.#follow(this.#settled(entry, producer.send(record)));
      return;
    }
    // The callbacks are watched as closely as the promise: each outcome must be told once by both.
    const abort = new AbortController();
    clock.schedule(this.#draw.between([0, 100]), () => abort.abort(new Error("taken back")));
    let toldCount = 0;
    const told = () => {
      toldCount += 1;
      if (toldCount > 1) this.#options.onViolation(`${entry.producer}/${entry.index}: ${toldCount} callbacks`);
    };
    const promise = producer.send(record, { signal: abort.signal, onSuccess: told, onError: told });
    this.#follow(this.#settled(entry, promise));
  }

  #drawRecord(toTopic?: string): { readonly record: ProducerRecord; readonly entry: LedgerEntry } {
    const { scenario, topics, clock, ledger } = this.#options;
    const life = this.#life;
    const index = life.sentCount++;
    const draw = this.#draw;
    const topic = toTopic ?? draw.one(topics);
    const hasKey = scenario.config.partitionerType === "key_hash" || draw.chance(scenario.keyProbability);
    const key = hasKey ? Buffer.from(`key-${draw.whole([1, KEY_COUNT])}`) : null;
    const filler = draw
      .bytes(8)
      .toString("hex")
      .repeat(Math.ceil(draw.whole(scenario.valueBytes) / 16));
    const value = Buffer.from(recordId(life.name, index) + filler);
    const isPlaced = toTopic === undefined && draw.chance(scenario.partitionProbability);
    const partition = isPlaced ? { partition: draw.whole([0, PARTITION_COUNT - 1]) } : {};
    const sentAtMs = clock.nowMs();
    const deadlineMs = sentAtMs + this.#patienceMs;
    const entry = ledger.add({ producer: life.name, index, topic, key, value, sentAtMs, deadlineMs });
    return { record: { topic, key, value, ...partition }, entry };
  }

  /** Longest that a record may be without an outcome: first metadata, then memory, then delivery. */
  get #patienceMs(): number {
    const { maxBlockMs = 0, deliveryTimeoutMs = 0 } = this.#options.scenario.config;
    return 2 * maxBlockMs + deliveryTimeoutMs + TIMER_SLACK_MS;
  }

  #settled(entry: LedgerEntry, promise: ReturnType<Producer["send"]>): Promise<void> {
    return promise.then(
      (metadata) => this.#settle(entry, acknowledged(metadata)),
      (error: unknown) => this.#settle(entry, refused(error)),
    );
  }

  #settle(entry: LedgerEntry | undefined, outcome: Outcome): void {
    if (entry === undefined) return;
    const { clock, trace } = this.#options;
    entry.outcomes.push(outcome);
    entry.settledAtMs = clock.nowMs();
    const how =
      outcome.kind === "acknowledged"
        ? `at ${entry.topic}-${outcome.partition}:${outcome.offset}`
        : `with ${outcome.code}, persisted: ${outcome.persisted}`;
    trace.add(entry.producer, `record ${entry.index} ${outcome.kind} ${how}`);
  }

  #follow(promise: Promise<void>): void {
    this.#pending.add(promise);
    void promise.then(() => this.#pending.delete(promise));
  }

  async #interrupt(): Promise<void> {
    const { trace } = this.#options;
    const { name, producer } = this.#life;
    switch (this.#draw.one(["flush", "purge", "replace"])) {
      case "flush":
        trace.add(name, "flush");
        await producer.flush({ timeoutMs: this.#draw.between([0, 3000]) }).catch(() => {});
        return;
      case "purge":
        trace.add(name, `purge: ${producer.purge()} records`);
        return;
      case "replace":
        await this.close(this.#draw.chance(0.5) ? this.#draw.between([0, 3000]) : null);
        this.#life = this.#begin();
    }
  }

  /** On a healthy system: every record that is sent now must be acknowledged within limitMs. */
  async probe(limitMs: number): Promise<void> {
    const { topics, clock, onViolation } = this.#options;
    const { name, producer } = this.#life;
    await sleep(clock, CALM_MS);
    for (const topic of topics) {
      const { entry, record } = this.#drawRecord(topic);
      await this.#settled(entry, producer.send(record));
      const outcome = entry.outcomes[0];
      const tookMs = clock.nowMs() - entry.sentAtMs;
      if (outcome?.kind !== "acknowledged" || tookMs > limitMs)
        onViolation(
          `all is well again, and ${name} sends to ${topic}: ${outcome?.kind === "refused" ? outcome.code : outcome?.kind} after ${tookMs.toFixed(0)} ms`,
        );
    }
  }

  /** Waits until all that was sent has its outcome; by then nothing may be held any more. */
  async settle(): Promise<void> {
    const { clock, onViolation } = this.#options;
    const { producer, name } = this.#life;
    const isDone = Promise.all(this.#pending).then(() => true);
    await Promise.race([isDone, sleep(clock, this.#patienceMs)]);
    for (let waitedMs = 0; producer.metrics().bufferBytes > 0 && waitedMs < SETTLING_MS; waitedMs += 100)
      await sleep(clock, 100);
    const { bufferBytes, pendingRecords } = producer.metrics();
    if (bufferBytes > 0 || pendingRecords > 0 || producer.pendingCount > 0)
      onViolation(
        `${name} has nothing left to do, and holds ${bufferBytes} bytes and ${producer.pendingCount} records`,
      );
  }

  /** timeoutMs: null to wait as long as it takes. */
  async close(timeoutMs: number | null): Promise<void> {
    const { network, trace, onViolation } = this.#options;
    const { producer, name, clock } = this.#life;
    trace.add(name, `close ${timeoutMs === null ? "when done" : `within ${timeoutMs.toFixed(0)} ms`}`);
    await producer.close(timeoutMs === null ? {} : { timeoutMs }).catch((error: unknown) => {
      if (timeoutMs === null) onViolation(`${name}: close rejected with ${error}`);
    });
    trace.add(name, "closed");
    if (producer.pendingCount > 0) onViolation(`${name} was closed and has ${producer.pendingCount} records pending`);
    const left = await leftovers(clock, this.#options.clock, () => network.openStreamCount(this.host));
    for (const line of left) onViolation(`${name} was closed and leaves ${line}`);
  }
}

function outcomeIn(error: unknown, index: number): Outcome {
  if (!(error instanceof SendBatchError)) return refused(error);
  const result: unknown = error.results[index];
  return result instanceof RecordMetadata ? acknowledged(result) : refused(result);
}
