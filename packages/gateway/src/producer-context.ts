/** ProducerContext: one request's way from scanned records to what became of each. */

import type { Clock } from "@millrace/base";
import { type Producer, type ProducerRecord, type RecordMetadata, SendBatchError } from "@millrace/client";
import { KafkaError } from "@millrace/protocol";
import { RequestError } from "./errors.ts";
import { RecordFailure } from "./formats.ts";
import type { ScannedRecord } from "./produce-body.ts";
import type { ProduceSettings } from "./produce-settings.ts";

/** What became of a record: stored, refused for its own content, or failed on the way. */
export type RecordOutcome = RecordMetadata | RecordFailure | KafkaError;

export interface ProducerContextParts {
  readonly topic: string;
  readonly partitionCount: number;
  readonly settings: ProduceSettings;
  readonly producer: Pick<Producer, "sendBatch">;
  readonly clock: Clock;
}

export class ProducerContext {
  readonly #parts: ProducerContextParts;
  /** The records of a request that have no time of their own came at the same one. */
  readonly #nowMs: number;

  constructor(parts: ProducerContextParts) {
    this.#parts = parts;
    this.#nowMs = parts.clock.timestampMs();
  }

  /**
   * Serializes all records, then sends those that could be: outcomes in the order of the records.
   *
   * Throws RequestError ATOMIC_NOT_POSSIBLE before anything is sent.
   */
  async produceRecords(body: Buffer, records: readonly ScannedRecord[]): Promise<readonly RecordOutcome[]> {
    if (this.#parts.settings.isAtomic && records.length > 1) {
      throw new RequestError(
        "ATOMIC_NOT_POSSIBLE",
        `${records.length} records cannot be promised to be stored as one; atomic works with one record`,
      );
    }
    const ready: ProducerRecord[] = [];
    const failures = new Map<number, RecordFailure>();
    for (const [index, record] of records.entries()) {
      const serialized = this.#serialize(body, record);
      if (serialized instanceof RecordFailure) failures.set(index, serialized);
      else ready.push(serialized);
    }
    const sent = ready.length === 0 ? [] : await this.#send(ready);
    if (failures.size === 0) return sent;
    const inOrder = sent.values();
    return records.map((_, index) => failures.get(index) ?? next(inOrder));
  }

  #serialize(body: Buffer, record: ScannedRecord): ProducerRecord | RecordFailure {
    const { topic, partitionCount, settings } = this.#parts;
    if (record.failure !== null) return record.failure;
    const key = record.keyBytes(body, settings.keyFormat);
    if (key instanceof RecordFailure) return key.during("serialize key");
    const value = record.valueBytes(body, settings.valueFormat);
    if (value instanceof RecordFailure) return value.during("serialize value");
    record.keySizeBytes = key?.length ?? -1;
    record.valueSizeBytes = value?.length ?? -1;
    const { partition, headers } = record;
    if (partition !== null && (partition < 0 || partition >= partitionCount)) {
      const message = `append to topic: there is no partition ${partition}; ${topic} has ${partitionCount}`;
      return new RecordFailure("INVALID_PARTITIONS", message);
    }
    const timestamp = record.timestampMs ?? this.#nowMs;
    if (partition === null && headers === null) return { topic, key, value, timestamp };
    return {
      topic,
      key,
      value,
      timestamp,
      ...(partition === null ? {} : { partition }),
      ...(headers === null ? {} : { headers }),
    };
  }

  async #send(records: readonly ProducerRecord[]): Promise<readonly (RecordMetadata | KafkaError)[]> {
    const { producer, settings } = this.#parts;
    const sent = producer.sendBatch(records, { compressionType: settings.compression }).catch(resultsOf);
    return settings.timeoutMs === null ? sent : this.#within(settings.timeoutMs, sent, records.length);
  }

  /** The results, or, if they take longer, that nobody can tell. */
  #within(
    timeoutMs: number,
    sent: Promise<readonly (RecordMetadata | KafkaError)[]>,
    recordCount: number,
  ): Promise<readonly (RecordMetadata | KafkaError)[]> {
    const { topic, clock } = this.#parts;
    return new Promise((resolve, reject) => {
      const timer = clock.schedule(timeoutMs, () => {
        const message = `${topic}: not acknowledged within timeout_ms (${timeoutMs})`;
        const error = new KafkaError("TIMED_OUT", message, { persisted: "maybe" });
        resolve(new Array<KafkaError>(recordCount).fill(error));
      });
      sent.then(resolve, reject).finally(() => timer.cancel());
    });
  }
}

function resultsOf(error: unknown): readonly (RecordMetadata | KafkaError)[] {
  if (error instanceof SendBatchError) return error.results;
  throw error;
}

function next(results: Iterator<RecordOutcome>): RecordOutcome {
  const { value, done } = results.next();
  if (done !== true) return value;
  return new KafkaError("UNKNOWN_SERVER_ERROR", "the producer gave fewer results than records");
}
