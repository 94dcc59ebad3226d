/** BatchSettler: what becomes of a batch that was sent: acknowledged, sent again, cut, or given up; each record told once. */

import type { Clock, Random } from "@millrace/base";
import { BrokerError, errorByNumber, KafkaError, type produceApi } from "@millrace/protocol";
import type { Metadata } from "../cluster/metadata.ts";
import { DeliveryError, DeliveryTimeoutError } from "../errors.ts";
import { backoffMs } from "../retry.ts";
import { splitBatch, withoutRefused } from "./batch-splitter.ts";
import type { ProducerEvents } from "./diagnostics.ts";
import type { MessageBatch } from "./message-batch.ts";
import type { ProducerCounters } from "./metrics.ts";
import type { PartitionQueue } from "./partition-queue.ts";
import type { ProducerBatchManager } from "./producer-batch-manager.ts";

export interface BatchSettlerOptions {
  readonly batchSize: number;
  readonly retries: number;
  readonly retryBackoffMs: number;
  readonly retryBackoffMaxMs: number;
  readonly deliveryTimeoutMs: number;
}

export interface BatchSettlerParts {
  readonly options: BatchSettlerOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly metadata: Metadata;
  readonly manager: ProducerBatchManager;
  readonly counters: ProducerCounters;
  readonly events: ProducerEvents;
  /** The queue has something to send again, or room for what is to come. */
  readonly wake: (queue: PartitionQueue) => void;
  /** Calls back after so long, unless the producer is closed before. */
  readonly later: (delayMs: number, callback: () => void) => void;
  /** Nothing of the queue is owed to anybody any more. */
  readonly onIdle: (queue: PartitionQueue) => void;
}

export interface BatchInRequest {
  readonly queue: PartitionQueue;
  readonly batch: MessageBatch;
  isAnswered: boolean;
}

type ProduceTopicResponses = ReturnType<typeof produceApi.response.decode>["responses"];
type ProducePartitionResponse = ProduceTopicResponses[number]["partitionResponses"][number];
/** Which records of a batch are why it was refused, by their places (KIP-467). */
type RecordErrors = ProducePartitionResponse["recordErrors"];

/**
 *     in flight ──► acknowledged: succeeds
 *       │ ▲ ▲
 *       │ │ └─────── retriable, with attempts and time left: the same bytes go again
 *       │ └───────── too large, or some of its records refused: the rest goes again, in smaller batches
 *       └──────────► refused, out of attempts or time, purged: fails
 */
export class BatchSettler {
  readonly #parts: BatchSettlerParts;
  readonly #options: BatchSettlerOptions;
  #isClosed = false;

  constructor(parts: BatchSettlerParts) {
    this.#parts = parts;
    this.#options = parts.options;
  }

  /** The answer to a request: settles each of its batches, or has it sent again. */
  answered(nodeId: number, request: readonly BatchInRequest[], topics: ProduceTopicResponses): void {
    for (const topic of topics) {
      for (const partition of topic.partitionResponses) {
        const entry = findEntry(request, topic.name, partition.index);
        if (entry === undefined || entry.isAnswered) continue;
        entry.isAnswered = true;
        this.#partitionAnswered(nodeId, entry, partition);
      }
    }
    for (const { queue, batch, isAnswered } of request) {
      if (isAnswered) continue;
      batch.isOutcomeUnknown = true;
      const message = `produce to ${queue.topic}-${queue.partition}: the broker's answer does not name the partition`;
      this.#failed(queue, batch, new KafkaError("NETWORK_EXCEPTION", message));
    }
  }

  #partitionAnswered(nodeId: number, { queue, batch }: BatchInRequest, answer: ProducePartitionResponse): void {
    const where = `produce to ${queue.topic}-${queue.partition}`;
    const entry = errorByNumber(answer.errorCode);
    if (entry.code === "NONE" || entry.code === "DUPLICATE_SEQUENCE_NUMBER") {
      // A duplicate is in the log: it was written by an earlier attempt whose answer was lost.
      const logAppendTimeMs = answer.logAppendTimeMs < 0n ? null : Number(answer.logAppendTimeMs);
      this.acknowledged(queue, batch, nodeId, entry.code === "NONE" ? answer.baseOffset : -1n, logAppendTimeMs);
      return;
    }
    const { topic, partition } = queue;
    this.#parts.metadata.updateLeader({ topic, partition, ...answer.currentLeader });
    const error = new BrokerError(entry, where, answer.errorMessage);
    switch (entry.code) {
      case "REQUEST_TIMED_OUT":
      case "NOT_ENOUGH_REPLICAS_AFTER_APPEND":
      case "KAFKA_STORAGE_ERROR":
      case "UNKNOWN_SERVER_ERROR":
        // The leader has it, the others perhaps; or it has failed with the batch in its hands, and a restart may find
        // what a failed sync left on the disk. Never to be taken for refused (franz-go #1217).
        batch.isOutcomeUnknown = true;
        break;
      case "OUT_OF_ORDER_SEQUENCE_NUMBER":
      case "UNKNOWN_PRODUCER_ID":
      case "INVALID_PRODUCER_EPOCH":
        this.#sequenceRefused(queue, batch, error);
        return;
      case "MESSAGE_TOO_LARGE":
        if (batch.recordCount > 1 && !batch.isSettled && !batch.isWhole) {
          this.#split(queue, batch);
          return;
        }
        batch.isOutcomeUnknown = false;
        break;
      default:
        // Refused at the door, this time. An earlier attempt may still have been written.
        batch.isOutcomeUnknown &&= batch.attemptCount > 1;
    }
    if (entry.refreshMetadata) this.#parts.metadata.requestRefresh();
    if (error.retriable) this.#retryOrGiveUp(queue, batch, error);
    else this.#refused(queue, batch, error, answer.recordErrors);
  }

  /** The records that the broker names fail; the others, in whose batch they happened to be, go again without them. */
  #refused(queue: PartitionQueue, batch: MessageBatch, error: BrokerError, recordErrors: RecordErrors): void {
    const errorsByIndex = new Map(recordErrors.map((recordError) => [recordError.batchIndex, recordError]));
    const isInPart = errorsByIndex.size > 0 && errorsByIndex.size < batch.recordCount;
    if (!isInPart || batch.isWhole || batch.isSettled) {
      this.#giveUp(queue, batch, error, recordErrors);
      return;
    }
    queue.landed(batch);
    if (batch.stamp !== null && queue.sequence.owns(batch.stamp)) queue.sequence.giveUp();
    const { refused, rest } = withoutRefused(batch, new Set(errorsByIndex.keys()));
    queue.retryLater(rest);
    this.#parts.counters.batchRetried(rest, error);
    this.#parts.events.batchRetried(rest, error);
    const inOrder = [...errorsByIndex.values()].sort((one, other) => one.batchIndex - other.batchIndex);
    const moved = inOrder.map((recordError, batchIndex) => ({ ...recordError, batchIndex }));
    this.#giveUp(queue, refused, error, moved);
  }

  /** baseOffset: -1 if it is not known. logAppendTimeMs: null where records keep their own. */
  acknowledged(
    queue: PartitionQueue,
    batch: MessageBatch,
    nodeId: number,
    baseOffset: bigint,
    logAppendTimeMs: number | null,
  ): void {
    queue.landed(batch);
    queue.provenLeaderId = nodeId;
    queue.lastError = null;
    if (batch.stamp !== null) queue.sequence.acknowledge(batch.stamp, batch.recordCount);
    this.#parts.counters.batchAcknowledged(batch);
    this.#parts.events.batchAcknowledged(batch, baseOffset);
    batch.succeed(baseOffset, logAppendTimeMs);
    batch.release({ isReusable: true });
    this.#goOn(queue);
  }

  /** The connection broke or stayed silent: what was in the request may or may not be in the log. */
  requestFailed(request: readonly BatchInRequest[], error: KafkaError): void {
    this.#parts.metadata.requestRefresh();
    for (const { queue, batch } of request) {
      batch.isOutcomeUnknown ||= error.persisted === "maybe";
      this.#failed(queue, batch, error);
    }
  }

  /**
   * The broker expected another sequence.
   *
   * What stands before this batch may still be under way: then it is only early. If nothing does, the broker has lost
   * what it knew or a batch before this one was given up; this batch is surely not in the log, and goes with a new epoch.
   */
  #sequenceRefused(queue: PartitionQueue, batch: MessageBatch, error: BrokerError): void {
    const { stamp } = batch;
    const isEarly =
      error.code === "OUT_OF_ORDER_SEQUENCE_NUMBER" &&
      [...queue.inFlight, ...queue.retries].some((other) => other.isBefore(batch));
    batch.isOutcomeUnknown = false;
    if (stamp !== null && !isEarly) {
      queue.sequence.requireNewEpoch({ isIdSpent: error.code === "INVALID_PRODUCER_EPOCH" });
    }
    this.#retryOrGiveUp(queue, batch, error);
  }

  #failed(queue: PartitionQueue, batch: MessageBatch, error: KafkaError): void {
    if (error.retriable) this.#retryOrGiveUp(queue, batch, error);
    else this.#giveUp(queue, batch, error);
  }

  #retryOrGiveUp(queue: PartitionQueue, batch: MessageBatch, error: KafkaError): void {
    const { clock, random, counters, events, wake } = this.#parts;
    const { retries, deliveryTimeoutMs, retryBackoffMs, retryBackoffMaxMs } = this.#options;
    batch.lastError = error;
    const nowMs = clock.nowMs();
    const elapsedMs = nowMs - batch.createdAtMs;
    if (batch.isSettled || this.#isClosed || batch.attemptCount > retries) {
      this.#giveUp(queue, batch, error);
      return;
    }
    if (elapsedMs >= deliveryTimeoutMs) {
      this.#giveUp(queue, batch, this.#deliveryTimeout(queue, batch, elapsedMs));
      return;
    }
    queue.landed(batch);
    queue.retryLater(batch);
    counters.batchRetried(batch, error);
    events.batchRetried(batch, error);
    const waitMs = backoffMs(batch.attemptCount - 1, random, { baseMs: retryBackoffMs, maxMs: retryBackoffMaxMs });
    queue.backoffUntilMs = Math.max(queue.backoffUntilMs, nowMs + waitMs);
    this.#parts.later(waitMs, () => wake(queue));
  }

  #giveUp(queue: PartitionQueue, batch: MessageBatch, error: KafkaError, recordErrors: RecordErrors = []): void {
    const wasInFlight = queue.inFlight.includes(batch);
    queue.landed(batch);
    if (batch.stamp !== null && queue.sequence.owns(batch.stamp)) queue.sequence.giveUp();
    const persisted = batch.isOutcomeUnknown ? "maybe" : "no";
    const shared = outcomeError(error, batch, persisted);
    if (!batch.isSettled) this.#countFailed(batch, error);
    batch.fail((index) => {
      const own = recordErrors.find((entry) => entry.batchIndex === index);
      if (own === undefined)
        return recordErrors.length === 0 ? shared : outcomeError(rejectedWithOthers(batch, error), batch, persisted);
      const message = `record for ${batch.topic}-${batch.partition}: ${own.batchIndexErrorMessage ?? error.message}`;
      return outcomeError(new KafkaError(error.code, message, { cause: error }), batch, persisted);
    });
    batch.release({ isReusable: !wasInFlight || !batch.isOutcomeUnknown });
    this.#goOn(queue);
  }

  /** The same records in smaller batches, in their old sequence and their old place. No attempt is charged. */
  #split(queue: PartitionQueue, batch: MessageBatch): void {
    queue.landed(batch);
    this.#parts.manager.distrustRatio(batch);
    const parts = splitBatch(batch, this.#options.batchSize);
    for (const part of parts) queue.retryLater(part);
    this.#parts.counters.batchSplit();
    this.#parts.events.batchSplit(batch);
    this.#goOn(queue);
  }

  #goOn(queue: PartitionQueue): void {
    if (queue.isEmpty) this.#parts.onIdle(queue);
    else this.#parts.wake(queue);
  }

  /** Fails what has waited for deliveryTimeoutMs, wherever it is. */
  expire(queue: PartitionQueue): void {
    const nowMs = this.#parts.clock.nowMs();
    const isExpired = (createdAtMs: number) => nowMs - createdAtMs >= this.#options.deliveryTimeoutMs;
    if (queue.open !== null && isExpired(queue.open.createdAtMs)) this.#parts.manager.sealOpen(queue);
    for (const batch of [...queue.batches()]) {
      if (!isExpired(batch.createdAtMs) || batch.isSettled) continue;
      const error = this.#deliveryTimeout(queue, batch, nowMs - batch.createdAtMs);
      this.#drop(queue, batch, error);
    }
    this.#goOn(queue);
  }

  /**
   * Fails everything that is not in flight; with `includeInFlight` that too, whose outcome is unknown then.
   *
   * Returns the number of records.
   */
  purge(queue: PartitionQueue, error: KafkaError, options: { readonly includeInFlight: boolean }): number {
    this.#parts.manager.sealOpen(queue);
    let recordCount = 0;
    for (const batch of [...queue.batches()]) {
      if (batch.isSettled || (!options.includeInFlight && queue.inFlight.includes(batch))) continue;
      recordCount += batch.recordCount;
      this.#drop(queue, batch, error);
    }
    this.#goOn(queue);
    return recordCount;
  }

  /** Ends a batch before its answer. One in flight stays there: its answer still counts for the sequence. */
  #drop(queue: PartitionQueue, batch: MessageBatch, error: KafkaError): void {
    if (queue.inFlight.includes(batch)) {
      batch.isOutcomeUnknown = true;
      this.#countFailed(batch, error);
      const shared = outcomeError(error, batch, "maybe");
      batch.fail(() => shared);
      return;
    }
    queue.remove(batch);
    this.#giveUp(queue, batch, error);
  }

  #countFailed(batch: MessageBatch, error: KafkaError): void {
    this.#parts.counters.batchFailed(batch, error);
    this.#parts.events.batchFailed(batch, error);
  }

  #deliveryTimeout(queue: PartitionQueue, batch: MessageBatch, elapsedMs: number): KafkaError {
    const cause = batch.lastError ?? queue.lastError;
    return new DeliveryTimeoutError(batch, batch.attemptCount, elapsedMs, {
      persisted: batch.isOutcomeUnknown ? "maybe" : "no",
      ...(cause === null ? {} : { cause }),
    });
  }

  /** From now on nothing is sent again. */
  close(): void {
    this.#isClosed = true;
  }
}

function findEntry(request: readonly BatchInRequest[], topic: string, partition: number): BatchInRequest | undefined {
  return request.find(({ queue }) => queue.partition === partition && queue.topic === topic);
}

/** The error that the records of a batch are rejected with: what went wrong, and whether they may be in the log all the same. */
function outcomeError(error: KafkaError, batch: MessageBatch, persisted: "no" | "maybe"): KafkaError {
  if (error instanceof DeliveryTimeoutError && error.persisted === persisted) return error;
  return new DeliveryError(batch, batch.attemptCount, error, persisted);
}

/** The records of an atomic batch that are not named did nothing wrong. */
function rejectedWithOthers(batch: MessageBatch, error: KafkaError): KafkaError {
  const message = `record for ${batch.topic}-${batch.partition} was in one batch with a record that was refused; it may be sent again`;
  return new KafkaError(error.code, message, { cause: error, retriable: true });
}
