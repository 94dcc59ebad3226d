/** SchemaLog: the topic `_schemas` as the registry's only storage: it is followed, and written to. */

import { sleep } from "@millrace/base";
import { type Admin, type ConsumedRecord, type Producer, Reader } from "@millrace/client";
import { KafkaError } from "@millrace/protocol";
import { clientConfig, type GatewayOptions } from "../options.ts";
import { isUnknownTopic } from "../topic-directory.ts";
import { decodeRecord, encodeRecord, type RegistryRecord, SCHEMAS_TOPIC } from "./registry-records.ts";

const PARTITION = 0;
/** How long a fetch for what is to come waits at the broker. */
const FOLLOW_WAIT_MS = 5_000;
/** After a read that failed. */
const FOLLOW_BACKOFF_MS = 500;
/** Nothing goes, however old: of each key the last record stays. */
const TOPIC_CONFIG = { "cleanup.policy": "compact" };

export interface SchemaLogParts {
  readonly options: GatewayOptions;
  readonly admin: Pick<Admin, "listOffsets" | "createTopics">;
  readonly producer: Pick<Producer, "send">;
  /** Told of each record once, in the order of the log; null where the topic is another one than before. */
  readonly onRecord: (record: RegistryRecord | null) => void;
}

export class SchemaLog {
  readonly #parts: SchemaLogParts;
  readonly #closing = new AbortController();
  #reader: Reader | null = null;
  #following: Promise<void> = Promise.resolve();
  /** Offset behind the last record that was told of. */
  #position = 0n;
  readonly #waiting = new Set<() => void>();

  constructor(parts: SchemaLogParts) {
    this.#parts = parts;
  }

  /** Offset behind the last record that was told of. */
  get position(): bigint {
    return this.#position;
  }

  /** Resolves once all that is in the log now was told of. Rejects with KafkaError where brokers do not answer in time. */
  async catchUp(): Promise<void> {
    const end = await this.#endOffset();
    if (end === null) return;
    await this.#reach(end);
  }

  /** Writes a record, and resolves once it was told of: with its offset. Makes the topic with the first one. */
  async append(record: RegistryRecord): Promise<bigint> {
    if ((await this.#endOffset()) === null) await this.#createTopic();
    const { offset } = await this.#parts.producer.send({
      topic: SCHEMAS_TOPIC,
      partition: PARTITION,
      ...encodeRecord(record),
    });
    await this.#reach(offset + 1n);
    return offset;
  }

  /** May be called twice. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake();
    await this.#reader?.close();
    await this.#following;
  }

  /** Null while there is no such topic. */
  async #endOffset(): Promise<bigint | null> {
    try {
      const offsets = await this.#parts.admin.listOffsets(SCHEMAS_TOPIC, "latest");
      return offsets.get(PARTITION)?.offset ?? 0n;
    } catch (error) {
      if (isUnknownTopic(error)) return null;
      throw error;
    }
  }

  async #createTopic(): Promise<void> {
    try {
      await this.#parts.admin.createTopics([{ name: SCHEMAS_TOPIC, partitions: 1, config: TOPIC_CONFIG }]);
    } catch (error) {
      // By somebody else, a moment ago.
      if (!(error instanceof KafkaError) || error.code !== "TOPIC_ALREADY_EXISTS") throw error;
    }
  }

  async #reach(offset: bigint): Promise<void> {
    const { clock, maxBlockMs } = this.#parts.options;
    if (this.#position >= offset) return;
    this.#follow();
    const deadlineMs = clock.nowMs() + maxBlockMs;
    while (this.#position < offset) {
      const leftMs = deadlineMs - clock.nowMs();
      if (leftMs <= 0 || this.#closing.signal.aborted) {
        const message = `${SCHEMAS_TOPIC} was read up to ${this.#position} of ${offset}, not further`;
        throw new KafkaError("TIMED_OUT", message, { retriable: true });
      }
      await this.#nextMove(leftMs);
    }
  }

  /** Until something was read, or waitMs are over. */
  #nextMove(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        timer.cancel();
        this.#waiting.delete(done);
        resolve();
      };
      const timer = this.#parts.options.clock.schedule(waitMs, done);
      this.#waiting.add(done);
    });
  }

  #wake(): void {
    for (const done of this.#waiting) done();
  }

  /** From the first use on, until it is closed or the topic is gone: what others write is known as it comes. */
  #follow(): void {
    if (this.#reader !== null || this.#closing.signal.aborted) return;
    const reader = new Reader({
      ...clientConfig(this.#parts.options),
      topic: SCHEMAS_TOPIC,
      partition: PARTITION,
      from: "earliest",
      maxWaitMs: FOLLOW_WAIT_MS,
    });
    this.#reader = reader;
    this.#following = this.#read(reader).finally(() => {
      this.#reader = null;
      return reader.close();
    });
  }

  async #read(reader: Reader): Promise<void> {
    const { clock, logger } = this.#parts.options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        const records = await reader.read();
        for (const record of records) this.#tell(record);
        this.#position = reader.position ?? this.#position;
        this.#wake();
      } catch (error) {
        if (signal.aborted) return;
        logger.warn({ topic: SCHEMAS_TOPIC, reason: String(error) }, "the schemas could not be read");
        // The topic was deleted, and may be there again: from its beginning.
        if (isUnknownTopic(error) || (error instanceof KafkaError && error.code === "OFFSET_OUT_OF_RANGE")) {
          this.#position = 0n;
          this.#parts.onRecord(null);
          return;
        }
        await sleep(clock, FOLLOW_BACKOFF_MS, signal).catch(() => {});
      }
    }
  }

  #tell({ offset, key, value }: ConsumedRecord): void {
    try {
      const record = decodeRecord(key, value);
      if (record !== null) this.#parts.onRecord(record);
    } catch (error) {
      // Whoever may produce to the topic can put anything there.
      const reason = error instanceof Error ? error.message : String(error);
      this.#parts.options.logger.warn(
        { topic: SCHEMAS_TOPIC, offset: Number(offset), reason },
        "no record of a schema registry",
      );
    }
  }
}
