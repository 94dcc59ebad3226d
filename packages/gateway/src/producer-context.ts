/** ProducerContext: one request's way from scanned records to what became of each. */

import type { Clock } from "@millrace/base";
import type { Producer } from "@millrace/client";
import {
  type BoundPartitioner,
  type RecordRun,
  type RunRecord,
  type RunValues,
  sendRun,
  sendWholeRun,
} from "@millrace/client/internal";
import { type CompressionType, KafkaError } from "@millrace/protocol";
import { RequestError } from "./errors.ts";
import { type PartCodecs, RecordFailure } from "./formats.ts";
import type { ProduceSettings } from "./produce-settings.ts";
import { RecordOutcomes } from "./record-outcomes.ts";
import type { ScannedHeader, ScannedRecords } from "./scanned-records.ts";
import { withTrace } from "./trace-headers.ts";

export interface ProducerContextParts {
  readonly topic: string;
  readonly partitionCount: number;
  readonly settings: ProduceSettings;
  /** For parts in a format that needs a schema. */
  readonly codecs: PartCodecs;
  readonly producer: Producer;
  /** What the request asks for; null: the producer's own. */
  readonly partitioner: BoundPartitioner | null;
  readonly clock: Clock;
  /** The records of a request that have no time of their own came at the same one: milliseconds since 1970. */
  readonly receivedAtMs: number;
  /** The request's trace, for records that have none of their own; empty if they are to have none. */
  readonly trace: readonly ScannedHeader[];
}

export class ProducerContext {
  readonly #parts: ProducerContextParts;

  constructor(parts: ProducerContextParts) {
    this.#parts = parts;
  }

  /**
   * Serializes the records and sends those that could be. Resolves once each has its fate, or timeoutMs are over.
   *
   * Throws RequestError ATOMIC_NOT_POSSIBLE before anything is sent.
   */
  async produceRecords(body: Buffer, records: ScannedRecords): Promise<RecordOutcomes> {
    const { isAtomic, timeoutMs } = this.#parts.settings;
    const outcomes = new RecordOutcomes(records.length);
    const sent = this.send(body, records, outcomes);
    if (isAtomic) await sent;
    const settled = timeoutMs === null ? outcomes.settled : this.#within(timeoutMs, outcomes);
    // What could not be handed over has no fate to wait for.
    await Promise.race([settled, sent.then(() => settled)]);
    return outcomes;
  }

  /**
   * Hands over those records that are pending. Resolves once that is done; their fates come to the outcomes.
   *
   * Rejects with RequestError ATOMIC_NOT_POSSIBLE before anything is sent.
   */
  async send(body: Buffer, records: ScannedRecords, outcomes: RecordOutcomes): Promise<void> {
    const { producer, settings } = this.#parts;
    if (!settings.isAtomic) {
      await sendRun(producer, new BodyRun(this.#parts, body, records, outcomes));
      return;
    }
    const reason = await sendWholeRun(producer, new WholeRun(this.#parts, body, records, outcomes));
    if (reason === null) return;
    throw new RequestError("ATOMIC_NOT_POSSIBLE", `the records cannot be stored as one: ${reason}`);
  }

  /** Resolves once the outcomes are settled; after timeoutMs nobody can tell what becomes of those that are not. */
  #within(timeoutMs: number, outcomes: RecordOutcomes): Promise<void> {
    const { topic, clock } = this.#parts;
    const timer = clock.schedule(timeoutMs, () => {
      const message = `${topic}: not acknowledged within timeout_ms (${timeoutMs})`;
      outcomes.failPending(new KafkaError("TIMED_OUT", message, { persisted: "maybe" }));
    });
    return outcomes.settled.finally(() => timer.cancel());
  }
}

/** A body's records as the producer takes them: each is serialized when its turn comes, into an object that all share. */
class BodyRun implements RecordRun {
  readonly topic: string;
  readonly recordCount: number;
  readonly partitionCount: number;
  readonly compressionType: CompressionType;
  readonly partitioner: BoundPartitioner | null;
  readonly completion: RecordOutcomes;
  readonly values: RunValues | null;
  readonly #parts: ProducerContextParts;
  readonly #body: Buffer;
  readonly #records: ScannedRecords;

  constructor(parts: ProducerContextParts, body: Buffer, records: ScannedRecords, outcomes: RecordOutcomes) {
    this.topic = parts.topic;
    this.recordCount = records.length;
    this.partitionCount = parts.partitionCount;
    this.compressionType = parts.settings.compression;
    this.partitioner = parts.partitioner;
    this.completion = outcomes;
    this.values = runValues(parts, body, records, outcomes);
    this.#parts = parts;
    this.#body = body;
    this.#records = records;
  }

  fill(index: number, record: RunRecord): boolean {
    if (!this.completion.isPending(index)) return false;
    const failure = this.#serialize(index, record);
    if (failure === null) return true;
    this.refuse(failure, index);
    return false;
  }

  /** A record failed for its own content. */
  protected refuse(failure: RecordFailure, index: number): void {
    this.completion.fail(failure, index);
  }

  #serialize(index: number, record: RunRecord): RecordFailure | null {
    const scanned = this.#records.at(index);
    const { topic, partitionCount, settings, codecs, receivedAtMs } = this.#parts;
    if (scanned.failure !== null) return scanned.failure;
    const key = scanned.keyBytes(this.#body, settings.keyFormat, codecs.key);
    if (key instanceof RecordFailure) return key.during("serialize key");
    const value = scanned.valueBytes(this.#body, settings.valueFormat, codecs.value);
    if (value instanceof RecordFailure) return value.during("serialize value");
    const { partition } = scanned;
    if (partition !== null && (partition < 0 || partition >= partitionCount)) {
      const message = `append to topic: there is no partition ${partition}; ${topic} has ${partitionCount}`;
      return new RecordFailure("INVALID_PARTITIONS", message);
    }
    if (settings.isDetailed) this.#records.rememberSizes(index, key?.length ?? -1, value?.length ?? -1);
    record.partition = partition;
    record.timestampMs = scanned.timestampMs ?? receivedAtMs;
    record.key = key;
    record.keySizeBytes = key === null ? 0 : key.length;
    record.value = value;
    record.headers = withTrace(scanned.headers, this.#parts.trace);
    return null;
  }
}

/** The records as slices of the body, where they are nothing but JSON values, and none was sent before. */
function runValues(
  { settings, receivedAtMs, trace }: ProducerContextParts,
  body: Buffer,
  records: ScannedRecords,
  outcomes: RecordOutcomes,
): RunValues | null {
  if (settings.valueFormat !== "json" || settings.isDetailed || trace.length > 0) return null;
  if (outcomes.pendingCount < records.length) return null;
  const places = records.plainValues(body);
  return places === null ? null : { bytes: body, ...places, timestampMs: receivedAtMs };
}

/** All or none: a record that cannot be stored ends the request. */
class WholeRun extends BodyRun {
  protected override refuse(failure: RecordFailure, index: number): void {
    throw new RequestError("ATOMIC_NOT_POSSIBLE", `record ${index} cannot be stored, so none is: ${failure.message}`, {
      details: [{ index, message: failure.message }],
    });
  }
}
