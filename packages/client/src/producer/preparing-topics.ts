/** PreparingTopics: topics that brokers are being asked for, with the records that wait for them. */

import { KafkaError } from "@millrace/protocol";
import { toKafkaError } from "../errors.ts";
import { failRecord, type RecordCompletion } from "./completion.ts";
import type { ProducerRecord } from "./record.ts";
import type { TopicQueues } from "./topic-queues.ts";

/** Records that may wait, for all topics together. */
const LIMIT = 100_000;

/** A record whose topic is not known yet. */
export interface PreparingRecord {
  readonly record: ProducerRecord;
  readonly completion: RecordCompletion;
  readonly slot: number;
  readonly codecId: number;
  readonly onBuffered: (() => void) | null;
}

interface PreparingTopic {
  /** In the order in which they were sent. */
  readonly records: PreparingRecord[];
  readonly done: Promise<void>;
}

export interface PreparingTopicsParts {
  /** Asks for a topic. */
  readonly prepare: (name: string) => Promise<TopicQueues>;
  /** The topic is there: from now on its records need not wait, and those that did go first. */
  readonly onPrepared: (topic: TopicQueues, records: readonly PreparingRecord[]) => void;
}

export class PreparingTopics {
  readonly #parts: PreparingTopicsParts;
  readonly #topics = new Map<string, PreparingTopic>();
  #recordCount = 0;

  constructor(parts: PreparingTopicsParts) {
    this.#parts = parts;
  }

  get recordCount(): number {
    return this.#recordCount;
  }

  get isFull(): boolean {
    return this.#recordCount >= LIMIT;
  }

  /** Lets a record wait for its topic, which is asked for if it is not yet. */
  add(waiting: PreparingRecord): void {
    this.#recordCount += 1;
    const { topic } = waiting.record;
    const preparing = this.#topics.get(topic);
    if (preparing === undefined) this.#start(topic, [waiting]);
    else preparing.records.push(waiting);
  }

  /** Asks for a topic that records wait for elsewhere. */
  ask(name: string): void {
    if (!this.#topics.has(name)) this.#start(name, []);
  }

  /** Takes a record out. False if it is none of these. */
  withdraw(topic: string, completion: RecordCompletion): boolean {
    const records = this.#topics.get(topic)?.records ?? [];
    const at = records.findIndex((waiting) => waiting.completion === completion);
    if (at < 0) return false;
    records.splice(at, 1);
    this.#recordCount -= 1;
    return true;
  }

  takeAll(): PreparingRecord[] {
    this.#recordCount = 0;
    return Array.from(this.#topics.values(), ({ records }) => records.splice(0)).flat();
  }

  /** Resolves once all records that wait now were appended or have failed. */
  async settled(): Promise<void> {
    // A topic whose records were taken out is nothing to wait for.
    const waitedFor = [...this.#topics.values()].filter(({ records }) => records.length > 0);
    await Promise.all(waitedFor.map(({ done }) => done));
  }

  #start(name: string, records: PreparingRecord[]): void {
    this.#topics.set(name, { records, done: this.#prepare(name, records) });
  }

  /** Hands over, or fails, what has come for the topic by the time of the answer. Never rejects. */
  async #prepare(name: string, records: readonly PreparingRecord[]): Promise<void> {
    const answer = await this.#parts
      .prepare(name)
      .catch((error: unknown) => toKafkaError(error, "METADATA_TIMEOUT", `topic ${name}`));
    // First of all: who is told may send again.
    this.#topics.delete(name);
    this.#recordCount -= records.length;
    if (answer instanceof KafkaError) {
      for (const { completion, slot } of records) failRecord(completion, answer, slot);
    } else this.#parts.onPrepared(answer, records);
  }
}
