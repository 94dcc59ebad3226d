/** ProducerBatchExecutor: sends batches to the brokers that lead their partitions and settles each one once. Kafka's term: Sender. */

import { assert, type Clock, type Logger, type Random, type Timer } from "@millrace/base";
import { BrokerError, errorByNumber, KafkaError, NO_PRODUCER, produceApi } from "@millrace/protocol";
import type { Cluster } from "../cluster/cluster.ts";
import type { Connection } from "../cluster/connection.ts";
import { DeliveryError, DeliveryTimeoutError, toKafkaError } from "../errors.ts";
import { backoffMs } from "../retry.ts";
import { splitBatch, withoutRefused, withoutWithdrawn } from "./batch-splitter.ts";
import { CircuitBreaker, type CircuitBreakerConfig } from "./circuit-breaker.ts";
import type { ProducerEvents } from "./diagnostics.ts";
import type { MessageBatch } from "./message-batch.ts";
import type { ProducerCounters } from "./metrics.ts";
import type { PartitionQueue } from "./partition-queue.ts";
import type { ProducerBatchManager } from "./producer-batch-manager.ts";
import { ProducerIdentities } from "./producer-identities.ts";

/** What a broker remembers of a producer in each partition, so that a retry is no duplicate (KIP-98). */
const IDEMPOTENT_IN_FLIGHT_LIMIT = 5;
/** Produce 13 names topics by id, which a topic keeps only until it is deleted; names outlive that. */
const PRODUCE_MAX_VERSION = 12;
/** A request's own bytes beside those of its batches. */
const REQUEST_OVERHEAD_BYTES = 512;

export interface BatchExecutorOptions {
  readonly acks: -1 | 0 | 1;
  readonly enableIdempotence: boolean;
  readonly maxInFlight: number;
  readonly maxRequestSize: number;
  readonly batchSize: number;
  readonly retries: number;
  readonly retryBackoffMs: number;
  readonly retryBackoffMaxMs: number;
  readonly requestTimeoutMs: number;
  readonly deliveryTimeoutMs: number;
  readonly lingerMs: number;
  /** Null: sends wait for a broker that is away. */
  readonly circuitBreaker: CircuitBreakerConfig | null;
}

export interface BatchExecutorParts {
  readonly options: BatchExecutorOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly cluster: Cluster;
  readonly manager: ProducerBatchManager;
  readonly counters: ProducerCounters;
  readonly events: ProducerEvents;
  /** Those that hold records or wait for an answer. */
  readonly queues: () => Iterable<PartitionQueue>;
  /** Nothing of the queue is owed to anybody any more. */
  readonly onIdle: (queue: PartitionQueue) => void;
}

/** One broker: its connection, what it is asked, and which partitions have something for it. */
interface BrokerLink {
  readonly nodeId: number;
  connection: Connection | null;
  isConnecting: boolean;
  inFlightCount: number;
  /** Each queue once, marked by its isListed; served in turn. */
  listed: PartitionQueue[];
  /** Counts requests that found nobody or no answer. */
  readonly breaker: CircuitBreaker | null;
}

interface BatchInRequest {
  readonly queue: PartitionQueue;
  readonly batch: MessageBatch;
  isAnswered: boolean;
}

type ProduceTopicResponses = ReturnType<typeof produceApi.response.decode>["responses"];
type ProducePartitionResponse = ProduceTopicResponses[number]["partitionResponses"][number];
/** Which records of a batch are why it was refused, by their places (KIP-467). */
type RecordErrors = ProducePartitionResponse["recordErrors"];

/**
 * There is one pump. Whatever might let a batch leave, a record, an answer, a connection, new metadata, lists the queue
 * with its broker and asks for the pump, which runs once at the end of the event loop's turn. So all records that came
 * in one turn leave together, and while as many requests are in flight as may be, what comes in gathers: load makes the
 * batches, no timer does.
 */
export class ProducerBatchExecutor {
  readonly #parts: BatchExecutorParts;
  readonly #options: BatchExecutorOptions;
  readonly #links = new Map<number, BrokerLink>();
  /** Backoffs that run: none of them keeps a process alive after close(). */
  readonly #timers = new Set<Timer>();
  #isPumpQueued = false;
  #isClosed = false;
  /** Null where the producer is not idempotent. */
  readonly #identities: ProducerIdentities | null;

  constructor(parts: BatchExecutorParts) {
    this.#parts = parts;
    this.#options = parts.options;
    this.#identities = parts.options.enableIdempotence
      ? new ProducerIdentities({
          ...parts,
          onIdentity: () => this.#onIdentity(),
          onFailure: (error) => this.#onNoIdentity(error),
        })
      : null;
  }

  /** Gets what every batch needs, beside the metadata that its caller asks for; without it the first batch would wait. */
  prepare(): void {
    this.#identities?.prepare();
  }

  get inFlightRequestCount(): number {
    let count = 0;
    for (const link of this.#links.values()) count += link.inFlightCount;
    return count;
  }

  /** Why a record for this partition fails at once: its broker's circuit is open. Null: it does not. */
  refusalOf(queue: PartitionQueue): KafkaError | null {
    if (this.#options.circuitBreaker === null) return null;
    return this.#links.get(queue.leaderId)?.breaker?.refusal ?? null;
  }

  /** The queue has something that may leave now, or may leave once something else has come back. */
  wake(queue: PartitionQueue): void {
    if (this.#isClosed || queue.isListed) return;
    if (!queue.hasLeader) {
      queue.lastError = new KafkaError("LEADER_NOT_AVAILABLE", `${queue.topic}-${queue.partition} has no leader`);
      this.#parts.cluster.metadata.requestRefresh();
      return;
    }
    queue.isListed = true;
    this.#linkTo(queue.leaderId).listed.push(queue);
    this.#queuePump();
  }

  #onIdentity(): void {
    for (const queue of this.#parts.queues()) this.wake(queue);
    this.#queuePump();
  }

  /** Without a producer id nothing leaves. An error that a retry mends is noted, any other fails all that waits for an id. */
  #onNoIdentity(error: KafkaError): void {
    for (const queue of [...this.#parts.queues()]) {
      const { sequence } = queue;
      const needsId = this.#identities?.current === null || (sequence.isUnresolved && sequence.nextIdentity() === null);
      if (!needsId) continue;
      queue.lastError = error;
      if (error.retriable) continue;
      // Its next record asks for an id again, which a listed queue would not.
      this.#unlist(queue);
      this.purge(queue, error, { includeInFlight: false });
    }
  }

  /** Who leads the queue's partition: what it has to send is sent there from now on. */
  setLeader(queue: PartitionQueue, leaderId: number, leaderEpoch: number): void {
    const isNewer = leaderEpoch > queue.leaderEpoch;
    if (queue.leaderId !== leaderId && queue.isListed) this.#unlist(queue);
    queue.leaderId = leaderId;
    queue.leaderEpoch = leaderEpoch;
    // A newer leader is what a retry was waiting for (KIP-951).
    if (isNewer) queue.backoffUntilMs = 0;
    if (!queue.isEmpty) this.wake(queue);
  }

  #unlist(queue: PartitionQueue): void {
    const link = this.#links.get(queue.leaderId);
    if (link !== undefined) link.listed = link.listed.filter((other) => other !== queue);
    queue.isListed = false;
  }

  #linkTo(nodeId: number): BrokerLink {
    let link = this.#links.get(nodeId);
    if (link === undefined) {
      const { circuitBreaker } = this.#options;
      const { clock } = this.#parts;
      const breaker =
        circuitBreaker === null ? null : new CircuitBreaker({ clock, name: `broker ${nodeId}`, ...circuitBreaker });
      link = { nodeId, connection: null, isConnecting: false, inFlightCount: 0, listed: [], breaker };
      this.#links.set(nodeId, link);
    }
    return link;
  }

  #queuePump(): void {
    if (this.#isPumpQueued || this.#isClosed) return;
    this.#isPumpQueued = true;
    this.#parts.clock.defer(() => {
      this.#isPumpQueued = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#isClosed) return;
    if (this.#identities !== null && this.#identities.current === null) {
      this.#identities.prepare();
      return;
    }
    for (const link of this.#links.values()) {
      if (link.listed.length === 0) continue;
      const { connection } = link;
      if (connection?.isOpen === true) this.#drain(link, connection);
      else this.#connect(link);
    }
  }

  #connect(link: BrokerLink): void {
    if (link.isConnecting) return;
    link.isConnecting = true;
    this.#parts.cluster.connectionTo(link.nodeId).then(
      (connection) => {
        link.isConnecting = false;
        link.connection = connection;
        this.#queuePump();
      },
      (error: unknown) => {
        link.isConnecting = false;
        if (this.#isClosed) return;
        link.breaker?.failed();
        this.#parts.logger.debug({ err: error, nodeId: link.nodeId }, "cannot connect to broker");
        const reason = toKafkaError(error, "CONNECTION_FAILED", `broker ${link.nodeId}`);
        for (const queue of link.listed) queue.lastError = reason;
        // The partition may have found another leader meanwhile; if not, the cluster's own backoff paces the next try.
        this.#parts.cluster.metadata.requestRefresh();
        this.#later(this.#options.retryBackoffMs, () => this.#queuePump());
      },
    );
  }

  #drain(link: BrokerLink, connection: Connection): void {
    // What goes to a broker that has failed is to find out whether it is back: one request tells.
    const isDoubtful = link.breaker !== null && link.breaker.state !== "closed";
    const inFlightLimit = isDoubtful ? 1 : this.#options.maxInFlight;
    while (link.inFlightCount < inFlightLimit && link.listed.length > 0) {
      const request = this.#collect(link);
      if (request.length === 0) return;
      this.#executeBatch(link, connection, request);
    }
  }

  /** One batch of each partition that has one, as far as they fit one request. */
  #collect(link: BrokerLink): BatchInRequest[] {
    const request: BatchInRequest[] = [];
    const nowMs = this.#parts.clock.nowMs();
    const again: PartitionQueue[] = [];
    let sizeBytes = REQUEST_OVERHEAD_BYTES;
    const { listed } = link;
    let taken = 0;
    for (; taken < listed.length; taken++) {
      const queue = listed[taken];
      assert(queue !== undefined, "a listed queue is there");
      const batch = this.#nextBatch(queue, nowMs);
      if (batch === null) {
        queue.isListed = false;
        // All that it held may have been taken back.
        if (queue.isEmpty) this.#parts.onIdle(queue);
        continue;
      }
      const batchBytes = batch.payload?.length ?? 0;
      if (request.length > 0 && sizeBytes + batchBytes > this.#options.maxRequestSize) break;
      sizeBytes += batchBytes;
      this.#take(queue, batch, link.nodeId);
      request.push({ queue, batch, isAnswered: false });
      if (queue.hasUnsent) again.push(queue);
      else queue.isListed = false;
    }
    // Those that were served stand behind those that were not.
    link.listed = [...listed.slice(taken), ...again];
    return request;
  }

  /** The batch that may leave next, or null: there is none, or something has to come back first. It stays in its place. */
  #nextBatch(queue: PartitionQueue, nowMs: number): MessageBatch | null {
    const { inFlight, retries, sequence } = queue;
    const isIdempotent = this.#identities !== null;
    // A new leader gets nothing while the old one may still answer: two batches would race.
    if (inFlight.length > 0 && queue.inFlightLeaderId !== queue.leaderId) return null;
    if (retries.length > 0 || sequence.isUnresolved) {
      if (inFlight.length > 0 || nowMs < queue.backoffUntilMs) return null;
      if (isIdempotent && !this.#resolveSequence(queue)) return null;
      const retry = retries[0];
      if (retry !== undefined) return retry;
    }
    if (isIdempotent) {
      if (inFlight.length >= IDEMPOTENT_IN_FLIGHT_LIMIT) return null;
      // A broker that knows nothing of us takes any first sequence: if the first batch fails and the second lands, the
      // order is broken for good. So it gets one at a time until it has acknowledged one (KAFKA-14359).
      if (inFlight.length > 0 && queue.provenLeaderId !== queue.leaderId) return null;
    }
    if (queue.sealed.length === 0 && this.#mayLeaveOpen(queue)) this.#parts.manager.sealOpen(queue);
    for (let batch = queue.sealed.peek(); batch !== undefined && batch.payload !== null; batch = queue.sealed.peek()) {
      if (batch.withdrawn.size === 0) return batch;
      queue.sealed.shift();
      const rest = withoutWithdrawn(batch);
      if (rest !== null) queue.sealed.unshift(rest);
    }
    return null;
  }

  #mayLeaveOpen(queue: PartitionQueue): boolean {
    return this.#options.lingerMs === 0 || queue.isDue || this.#parts.manager.isBlocked;
  }

  /** False while a new producer id is on its way. */
  #resolveSequence(queue: PartitionQueue): boolean {
    const { sequence, retries } = queue;
    if (!sequence.isUnresolved) return true;
    const first = retries[0];
    const retry = first?.stamp == null ? null : { stamp: first.stamp, isOutcomeUnknown: first.isOutcomeUnknown };
    switch (sequence.resolve(retry)) {
      case "resume":
      case "ask":
        return true;
      case "raise": {
        const next = sequence.nextIdentity() ?? this.#identities?.other(sequence.identity) ?? null;
        if (next === null) return false;
        sequence.begin(next);
        for (const batch of retries) batch.stampWith(sequence.take(batch.recordCount));
        return true;
      }
    }
  }

  #take(queue: PartitionQueue, batch: MessageBatch, nodeId: number): void {
    if (queue.retries[0] === batch) queue.retries.shift();
    else queue.sealed.shift();
    queue.inFlight.push(batch);
    queue.inFlightLeaderId = nodeId;
    batch.attemptCount += 1;
    if (batch.stamp !== null) return;
    const identity = this.#identities?.current ?? null;
    if (identity === null) {
      batch.stampWith(NO_PRODUCER);
      return;
    }
    if (queue.sequence.identity === null) queue.sequence.begin(identity);
    batch.stampWith(queue.sequence.take(batch.recordCount));
  }

  /** One request with a batch of each partition; the documents' name. */
  #executeBatch(link: BrokerLink, connection: Connection, request: readonly BatchInRequest[]): void {
    const { acks, requestTimeoutMs } = this.#options;
    const { counters, events, clock } = this.#parts;
    link.inFlightCount += 1;
    const sentAtMs = clock.nowMs();
    for (const { batch } of request) counters.batchSent(batch);
    const told = events.requestStarted(link.nodeId, request);
    const body = { transactionalId: null, acks, timeoutMs: requestTimeoutMs, topicData: groupByTopic(request) };
    const back = () => {
      link.inFlightCount -= 1;
      this.#queuePump();
    };
    const failed = (reason: unknown) => {
      link.breaker?.failed();
      back();
      const error = toKafkaError(reason, "NETWORK_EXCEPTION", `produce to broker ${link.nodeId}`);
      events.requestFailed(told, error);
      this.#requestFailed(request, error);
    };
    if (acks === 0) {
      connection.request(produceApi, body, { maxVersion: PRODUCE_MAX_VERSION, expectsResponse: false }).then(() => {
        back();
        events.requestEnded(told);
        for (const { queue, batch } of request) this.#acknowledged(queue, batch, link, -1n, null);
      }, failed);
      return;
    }
    connection.request(produceApi, body, { maxVersion: PRODUCE_MAX_VERSION }).then((response) => {
      counters.requestAnswered(clock.nowMs() - sentAtMs);
      link.breaker?.succeeded();
      back();
      events.requestEnded(told);
      // Who leads now is told with the refusal (KIP-951): the brokers first, so that they can be connected to.
      this.#parts.cluster.updateNodes(response.nodeEndpoints);
      this.#answered(link, request, response.responses);
    }, failed);
  }

  #answered(link: BrokerLink, request: readonly BatchInRequest[], topics: ProduceTopicResponses): void {
    for (const topic of topics) {
      for (const partition of topic.partitionResponses) {
        const entry = findEntry(request, topic.name, partition.index);
        if (entry === undefined || entry.isAnswered) continue;
        entry.isAnswered = true;
        this.#partitionAnswered(link, entry, partition);
      }
    }
    for (const { queue, batch, isAnswered } of request) {
      if (isAnswered) continue;
      batch.isOutcomeUnknown = true;
      const message = `produce to ${queue.topic}-${queue.partition}: the broker's answer does not name the partition`;
      this.#failed(queue, batch, new KafkaError("NETWORK_EXCEPTION", message));
    }
  }

  #partitionAnswered(link: BrokerLink, { queue, batch }: BatchInRequest, answer: ProducePartitionResponse): void {
    const where = `produce to ${queue.topic}-${queue.partition}`;
    const entry = errorByNumber(answer.errorCode);
    if (entry.code === "NONE" || entry.code === "DUPLICATE_SEQUENCE_NUMBER") {
      // A duplicate is in the log: it was written by an earlier attempt whose answer was lost.
      const logAppendTimeMs = answer.logAppendTimeMs < 0n ? null : Number(answer.logAppendTimeMs);
      this.#acknowledged(queue, batch, link, entry.code === "NONE" ? answer.baseOffset : -1n, logAppendTimeMs);
      return;
    }
    const { topic, partition } = queue;
    this.#parts.cluster.metadata.updateLeader({ topic, partition, ...answer.currentLeader });
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
    if (entry.refreshMetadata) this.#parts.cluster.metadata.requestRefresh();
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

  #acknowledged(
    queue: PartitionQueue,
    batch: MessageBatch,
    link: BrokerLink,
    baseOffset: bigint,
    logAppendTimeMs: number | null,
  ): void {
    queue.landed(batch);
    queue.provenLeaderId = link.nodeId;
    queue.lastError = null;
    if (batch.stamp !== null) queue.sequence.acknowledge(batch.stamp, batch.recordCount);
    this.#parts.counters.batchAcknowledged(batch);
    this.#parts.events.batchAcknowledged(batch, baseOffset);
    batch.succeed(baseOffset, logAppendTimeMs);
    batch.release({ isReusable: true });
    this.#goOn(queue);
  }

  /** The connection broke or stayed silent: what was in the request may or may not be in the log. */
  #requestFailed(request: readonly BatchInRequest[], error: KafkaError): void {
    this.#parts.cluster.metadata.requestRefresh();
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
    const { clock, random, counters, events } = this.#parts;
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
    this.#later(waitMs, () => this.wake(queue));
  }

  #later(delayMs: number, callback: () => void): void {
    if (this.#isClosed) return;
    const timer = this.#parts.clock.schedule(delayMs, () => {
      this.#timers.delete(timer);
      callback();
    });
    this.#timers.add(timer);
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
    else this.wake(queue);
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

  /** Sends nothing more; what is still owed is the caller's to purge first. */
  close(): void {
    this.#isClosed = true;
    this.#identities?.close();
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    this.#links.clear();
  }
}

function groupByTopic(request: readonly BatchInRequest[]) {
  const topicData: { name: string; partitionData: { index: number; records: readonly Uint8Array[] }[] }[] = [];
  const topics = new Map<string, (typeof topicData)[number]>();
  for (const { queue, batch } of request) {
    assert(batch.payload !== null, "a batch in a request has its bytes");
    let topic = topics.get(queue.topic);
    if (topic === undefined) {
      topic = { name: queue.topic, partitionData: [] };
      topics.set(queue.topic, topic);
      topicData.push(topic);
    }
    topic.partitionData.push({ index: queue.partition, records: [batch.payload] });
  }
  return topicData;
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
