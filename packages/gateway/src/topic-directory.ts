/** TopicDirectory: which topics there are and how many partitions they have, known without asking in almost every request. */

import type { Clock, Logger } from "@millrace/base";
import type { Admin } from "@millrace/client";
import { KafkaError } from "@millrace/protocol";
import { topicNotFound } from "./errors.ts";

/** Topics remembered at once; beyond it the one that was added first is asked for again when it is next used. */
const TOPIC_LIMIT = 10_000;
/** Kafka's rule. A name beside it cannot be a topic's, and needs no question. */
const TOPIC_NAME = /^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$/;

interface Entry {
  partitionCount: number;
  checkedAtMs: number;
}

export interface TopicDirectoryParts {
  readonly admin: Pick<Admin, "describeTopic">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How old an answer may be before it is asked for again. */
  readonly cacheMs: number;
}

export class TopicDirectory {
  readonly #parts: TopicDirectoryParts;
  readonly #entries = new Map<string, Entry>();
  /** Questions under way, by topic: one for all who ask. */
  readonly #lookups = new Map<string, Promise<number>>();

  constructor(parts: TopicDirectoryParts) {
    this.#parts = parts;
  }

  /** The topic's number of partitions as last heard; undefined if it was never asked for. Old news starts a question. */
  known(topic: string): number | undefined {
    const entry = this.#entries.get(topic);
    if (entry === undefined) return undefined;
    if (this.#parts.clock.nowMs() - entry.checkedAtMs > this.#parts.cacheMs) this.#refresh(topic, entry);
    return entry.partitionCount;
  }

  /** Asks the brokers. Rejects with RequestError TOPIC_NOT_FOUND, or with the KafkaError that kept them from answering. */
  find(topic: string): Promise<number> {
    if (!TOPIC_NAME.test(topic)) return Promise.reject(topicNotFound(topic));
    const underWay = this.#lookups.get(topic);
    if (underWay !== undefined) return underWay;
    const lookup = this.#lookUp(topic).finally(() => this.#lookups.delete(topic));
    this.#lookups.set(topic, lookup);
    return lookup;
  }

  /** What is known of the topic may be wrong: it was deleted, created or altered. */
  forget(topic: string): void {
    this.#entries.delete(topic);
  }

  async #lookUp(topic: string): Promise<number> {
    try {
      const { partitions } = await this.#parts.admin.describeTopic(topic);
      this.#remember(topic, partitions.length);
      return partitions.length;
    } catch (error) {
      if (!isUnknownTopic(error)) throw error;
      this.forget(topic);
      throw topicNotFound(topic);
    }
  }

  #refresh(topic: string, entry: Entry): void {
    // Not again until this answer is old too: while brokers are away, one question at a time is enough.
    entry.checkedAtMs = this.#parts.clock.nowMs();
    this.find(topic).catch((error: unknown) => {
      this.#parts.logger.debug({ topic, reason: String(error) }, "topic could not be asked for again");
    });
  }

  #remember(topic: string, partitionCount: number): void {
    this.#entries.set(topic, { partitionCount, checkedAtMs: this.#parts.clock.nowMs() });
    if (this.#entries.size <= TOPIC_LIMIT) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }
}

/** True for the errors that say that there is no such topic. */
export function isUnknownTopic(error: unknown): boolean {
  return (
    error instanceof KafkaError &&
    (error.code === "UNKNOWN_TOPIC_OR_PARTITION" || error.code === "INVALID_TOPIC_EXCEPTION")
  );
}
