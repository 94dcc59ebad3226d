/** ProducerBatchExecutor: sends batches to the brokers that lead their partitions. Kafka's term: Sender. */

import { assert, type Clock, type Logger, type Random, type Timer } from "@millrace/base";
import { KafkaError, NO_PRODUCER, produceApi } from "@millrace/protocol";
import type { Cluster } from "../cluster/cluster.ts";
import type { Connection } from "../cluster/connection.ts";
import { toKafkaError } from "../errors.ts";
import { type BatchInRequest, BatchSettler, type BatchSettlerOptions } from "./batch-settler.ts";
import { withoutWithdrawn } from "./batch-splitter.ts";
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

export interface BatchExecutorOptions extends BatchSettlerOptions {
  readonly acks: -1 | 0 | 1;
  readonly enableIdempotence: boolean;
  readonly maxInFlight: number;
  readonly maxRequestSize: number;
  readonly requestTimeoutMs: number;
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

/**
 * There is one pump. Whatever might let a batch leave, a record, an answer, a connection, new metadata, lists the queue
 * with its broker and asks for the pump, which runs once at the end of the event loop's turn. So all records that came
 * in one turn leave together, and while as many requests are in flight as may be, what comes in gathers: load makes the
 * batches, no timer does.
 */
export class ProducerBatchExecutor {
  readonly #parts: BatchExecutorParts;
  readonly #options: BatchExecutorOptions;
  readonly #settler: BatchSettler;
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
    this.#settler = new BatchSettler({
      ...parts,
      metadata: parts.cluster.metadata,
      wake: (queue) => this.wake(queue),
      later: (delayMs, callback) => this.#later(delayMs, callback),
    });
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
      this.#settler.requestFailed(request, error);
    };
    if (acks === 0) {
      connection.request(produceApi, body, { maxVersion: PRODUCE_MAX_VERSION, expectsResponse: false }).then(() => {
        back();
        events.requestEnded(told);
        for (const { queue, batch } of request) this.#settler.acknowledged(queue, batch, link.nodeId, -1n, null);
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
      this.#settler.answered(link.nodeId, request, response.responses);
    }, failed);
  }

  #later(delayMs: number, callback: () => void): void {
    if (this.#isClosed) return;
    const timer = this.#parts.clock.schedule(delayMs, () => {
      this.#timers.delete(timer);
      callback();
    });
    this.#timers.add(timer);
  }

  /** Fails what has waited for deliveryTimeoutMs, wherever it is. */
  expire(queue: PartitionQueue): void {
    this.#settler.expire(queue);
  }

  /** As BatchSettler.purge. */
  purge(queue: PartitionQueue, error: KafkaError, options: { readonly includeInFlight: boolean }): number {
    return this.#settler.purge(queue, error, options);
  }

  /** Sends nothing more; what is still owed is the caller's to purge first. */
  close(): void {
    this.#isClosed = true;
    this.#settler.close();
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
