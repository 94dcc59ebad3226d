/** Producer: sends records to Kafka. The orchestrator that wires the parts; the AIOProducer document calls it AIOProducer. */

import type { Writable } from "node:stream";
import { assert, createDeferred, SECOND_MS } from "@millrace/base";
import { type CompressionType, compressionId, KafkaError, loadCodec } from "@millrace/protocol";
import { Cluster } from "../cluster/cluster.ts";
import type { TopicMetadata } from "../cluster/topic-metadata.ts";
import { BufferExhaustedError, ClosedError, FlushTimeoutError, toKafkaError } from "../errors.ts";
import { BufferTimeoutManager } from "./buffer-timeout-manager.ts";
import { CallbackManager, type CallbackStats, type UserCallbacks } from "./callback-manager.ts";
import { BatchCompletion, type Completion, Delivery, failRecord, type RecordCompletion } from "./completion.ts";
import { ProducerEvents } from "./diagnostics.ts";
import { ProducerCounters, type ProducerMetrics } from "./metrics.ts";
import { type ProducerConfig, type ProducerOptions, resolveProducerOptions } from "./options.ts";
import type { PartitionQueue } from "./partition-queue.ts";
import { bindPartitioner } from "./partitioners.ts";
import { type PreparingRecord, PreparingTopics } from "./preparing-topics.ts";
import { ProducerBatchExecutor } from "./producer-batch-executor.ts";
import { type BatchPreview, ProducerBatchManager } from "./producer-batch-manager.ts";
import { type ProducerRecord, RecordMetadata } from "./record.ts";
import { type RecordRun, RunRecord } from "./record-run.ts";
import { RecordSerializer, type SerializedRecord, withOwnKey } from "./record-serializer.ts";
import { createRecordWritable } from "./record-writable.ts";
import { SerializingRecords } from "./serializing-records.ts";
import type { TopicQueues } from "./topic-queues.ts";

export interface ProduceOptions {
  /** Takes the record back, as long as it is not on its way; it then fails with ABORTED. */
  readonly signal?: AbortSignal | undefined;
}

export interface SendOptions extends ProduceOptions, UserCallbacks {}

export interface SendBatchOptions {
  /** Instead of the producer's own. */
  readonly compressionType?: CompressionType;
}

export interface TimeoutOptions {
  /** Longest wait; for ever (bounded by deliveryTimeoutMs) where it is left out. */
  readonly timeoutMs?: number;
}

export interface FlushOptions extends TimeoutOptions {
  /** Ends the wait; what is under way goes on. */
  readonly signal?: AbortSignal | undefined;
}

/** Of a partition that the topic had before it was deleted and created again. */
/** A partition that is not there is asked for once in so long. */
const ASK_IF_GROWN_MS = SECOND_MS;
const NO_LEADER = { leaderId: -1, leaderEpoch: -1 };

/**
 * Sends a run, for siblings only. Never rejects: each record's fate goes to the run's completion. Resolves, or returns,
 * once all were handed to the accumulator.
 */
export let sendRun: (producer: Producer, run: RecordRun) => void | Promise<void>;

/**
 * Sends a run as one batch of one partition, which is stored whole or not at all. Resolves with null, or with why that
 * cannot be: then nothing was sent and no completion told.
 */
export let sendWholeRun: (producer: Producer, run: RecordRun) => Promise<string | null>;

/**
 * A producer of records; one for a whole process is right. `send` may be called at any time, without waiting for
 * anything first; connections are made when the first record needs them.
 *
 *     send ─► RecordSerializer ─► ProducerBatchManager ─► ProducerBatchExecutor ─► brokers
 *                                        ▲                        │
 *                                BufferTimeoutManager     CallbackManager, promises
 */
export class Producer {
  static {
    sendRun = (producer, run) => producer.#sendRun(run);
    sendWholeRun = (producer, run) => producer.#sendWholeRun(run);
  }

  readonly #options: ProducerOptions;
  readonly #cluster: Cluster;
  readonly #serializer: RecordSerializer;
  readonly #manager: ProducerBatchManager;
  readonly #executor: ProducerBatchExecutor;
  readonly #timeouts: BufferTimeoutManager;
  readonly #callbacks: CallbackManager;
  readonly #counters: ProducerCounters;
  readonly #preparing: PreparingTopics;
  readonly #serializing = new SerializingRecords();
  readonly #codecId: number;
  /** Codecs whose code is loaded; "none" needs none. */
  readonly #loadedCodecs = new Set<number>([compressionId("none")]);
  readonly #unsubscribe: () => void;
  #closing: Promise<void> | null = null;

  /** Throws OptionError for an unknown option or a wrong value. Opens no connection yet. */
  constructor(config: ProducerConfig = {}) {
    const options = resolveProducerOptions(config);
    const { clock, random, logger } = options;
    this.#options = options;
    this.#codecId = compressionId(options.compressionType);
    this.#cluster = new Cluster(options);
    this.#serializer = new RecordSerializer(options);
    this.#callbacks = new CallbackManager(logger, { isPooled: options.poolCallbacks });
    this.#counters = new ProducerCounters(clock);
    this.#manager = new ProducerBatchManager({
      options,
      clock,
      random,
      partitioner: bindPartitioner(options.partitionerType, random),
      onRecords: (queue, isDue) => this.#onRecords(queue, isDue),
      refusalOf: (queue) => this.#executor.refusalOf(queue),
      onMemoryShort: () => this.#hurryAll(),
    });
    this.#executor = new ProducerBatchExecutor({
      options,
      clock,
      random,
      logger,
      cluster: this.#cluster,
      manager: this.#manager,
      counters: this.#counters,
      events: new ProducerEvents(options.clientId),
      queues: () => this.#timeouts.watched,
      onIdle: (queue) => this.#timeouts.markIdle(queue),
    });
    this.#timeouts = new BufferTimeoutManager({
      options,
      clock,
      onLingered: (queue) => this.#hurry(queue),
      onDeadline: (queue) => this.#executor.expire(queue),
    });
    this.#preparing = new PreparingTopics({
      prepare: (name) => this.#prepare(name, this.#codecId, options.compressionType),
      onPrepared: (topic, records) => this.#onPrepared(topic, records),
    });
    this.#timeouts.startMonitoring();
    this.#unsubscribe = this.#cluster.metadata.onUpdate(() => this.#onMetadata());
  }

  /**
   * Sends one record. Resolves once it is acknowledged; rejects with a KafkaError, whose `persisted` tells whether it may
   * be in the log all the same.
   *
   * Waits, up to maxBlockMs, while bufferMemory is full. With `onError` given a rejection that nobody handles is no
   * unhandledRejection.
   */
  send(record: ProducerRecord, options?: SendOptions): Promise<RecordMetadata> {
    if (options !== undefined) return this.#sendWith(record, options);
    const promise = new Promise<RecordMetadata>(captureResolve);
    assert(capturedResolve !== null, "a promise calls its executor at once");
    this.#accept(record, capturedResolve, 0, this.#codecId, null);
    return promise;
  }

  #sendWith(record: ProducerRecord, options: SendOptions): Promise<RecordMetadata> {
    const { signal } = options;
    const { promise, resolve, reject } = createDeferred<RecordMetadata>();
    if (options.onError !== undefined) promise.catch(() => {});
    const completion = this.#callbacks.getCallback(options, (outcome) => {
      unwatch();
      if (outcome instanceof RecordMetadata) resolve(outcome);
      else reject(outcome);
    });
    const unwatch = this.#watch(signal, record, completion);
    this.#acceptUnlessAborted(signal, record, completion, null);
    return promise;
  }

  #acceptUnlessAborted(
    signal: AbortSignal | undefined,
    record: ProducerRecord,
    completion: Completion,
    onBuffered: (() => void) | null,
  ): void {
    if (signal?.aborted === true) completion.fail(abortedError(record, signal), 0);
    else this.#accept(record, completion, 0, this.#codecId, onBuffered);
  }

  /** Takes the record back once the signal says so, if it is not on its way by then. Returns what ends the watch. */
  #watch(signal: AbortSignal | undefined, record: ProducerRecord, completion: Completion): () => void {
    if (signal === undefined) return noop;
    const onAbort = () => {
      if (this.#withdraw(record.topic, completion)) completion.fail(abortedError(record, signal), 0);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    return () => signal.removeEventListener("abort", onAbort);
  }

  #withdraw(topic: string, completion: Completion): boolean {
    return (
      this.#preparing.withdraw(topic, completion) ||
      this.#serializing.withdraw(completion) ||
      this.#manager.withdraw(completion)
    );
  }

  /**
   * Buffers one record. Resolves, once it is buffered, with a Delivery that tells its fate; rejects if it never will be.
   */
  produce(record: ProducerRecord, { signal }: ProduceOptions = {}): Promise<Delivery> {
    return new Promise((resolve, reject) => {
      const delivery = new Delivery();
      let isBuffered = false;
      const completion: Completion = {
        succeed(receipt, index) {
          unwatch();
          delivery.succeed(receipt, index);
        },
        fail(error) {
          unwatch();
          if (isBuffered) delivery.fail(error);
          else reject(error);
        },
      };
      const unwatch = this.#watch(signal, record, completion);
      const onBuffered = () => {
        isBuffered = true;
        resolve(delivery);
      };
      this.#acceptUnlessAborted(signal, record, completion, onBuffered);
    });
  }

  /** As `send`, but null instead of waiting when the buffer is full. */
  trySend(record: ProducerRecord, options?: SendOptions): Promise<RecordMetadata> | null {
    if (this.#manager.isBlocked || this.#manager.bufferBytes + this.#options.batchSize > this.#options.bufferMemory) {
      return null;
    }
    return this.send(record, options);
  }

  /**
   * Sends several records, with one promise for all: metadata per record, in order. Rejects with SendBatchError, which
   * has the fate of each, if any of them failed.
   */
  async sendBatch(records: readonly ProducerRecord[], options: SendBatchOptions = {}): Promise<RecordMetadata[]> {
    const { compressionType = this.#options.compressionType } = options;
    const codecId = compressionId(compressionType);
    if (!this.#loadedCodecs.has(codecId)) await this.#loadCodec(codecId, compressionType);
    const completion = new BatchCompletion(records.length);
    for (let slot = 0; slot < records.length; slot++) {
      const record = records[slot];
      assert(record !== undefined, "sendBatch: the list of records has no holes");
      this.#accept(record, completion, slot, codecId, null);
    }
    return completion.promise;
  }

  #sendRun(run: RecordRun): void | Promise<void> {
    const codecId = compressionId(run.compressionType);
    const topic = this.#manager.topic(run.topic);
    if (topic?.isKnown !== true || run.partitionCount > topic.partitionCount || !this.#loadedCodecs.has(codecId)) {
      return this.#prepareRun(run, codecId).then((ready) => {
        if (ready !== null) this.#appendRun(ready, run, codecId);
      });
    }
    this.#appendRun(topic, run, codecId);
  }

  #appendRun(topic: TopicQueues, run: RecordRun, codecId: number): void {
    if (this.#closing !== null) {
      failRun(run, new ClosedError("send"));
      return;
    }
    const { values } = run;
    const record = new RunRecord(run, codecId);
    for (let index = 0; index < run.recordCount; index++) {
      if (values !== null) index += this.#manager.addValues(topic, run, values, index, codecId);
      if (index === run.recordCount) return;
      record.slot = index;
      if (run.fill(index, record)) this.#manager.addMessage(topic, record);
    }
  }

  async #sendWholeRun(run: RecordRun): Promise<string | null> {
    const codecId = compressionId(run.compressionType);
    const topic = await this.#prepareRun(run, codecId);
    if (topic === null) return null;
    const records: RunRecord[] = [];
    for (let index = 0; index < run.recordCount; index++) {
      const record = new RunRecord(run, codecId);
      record.slot = index;
      if (run.fill(index, record)) records.push(record);
    }
    return this.#manager.addWhole(topic, records);
  }

  /** What the run needs to be appended; null if that cannot be had: its records have failed then. */
  async #prepareRun(run: RecordRun, codecId: number): Promise<TopicQueues | null> {
    try {
      if (this.#closing !== null) throw new ClosedError("send");
      const known = this.#manager.topic(run.topic);
      if (known !== undefined) this.#askIfGrown(known, run.partitionCount);
      const topic = await this.#prepare(run.topic, codecId, run.compressionType);
      topic.isKnown = true;
      return topic;
    } catch (error) {
      failRun(run, toKafkaError(error, "METADATA_TIMEOUT", `topic ${run.topic}`));
      return null;
    }
  }

  /**
   * The one way in. Never throws: what is wrong with a record fails that record alone.
   *
   * What belongs to the record is passed in a row down to the serializer, which makes one object of it.
   */
  #accept(
    record: ProducerRecord,
    completion: RecordCompletion,
    slot: number,
    codecId: number,
    onBuffered: (() => void) | null,
  ): void {
    if (this.#closing !== null) {
      failRecord(completion, new ClosedError("send"), slot);
      return;
    }
    const topic = this.#manager.topic(record.topic);
    if (topic !== undefined && record.partition !== undefined) this.#askIfGrown(topic, record.partition + 1);
    if (topic?.isKnown === true) this.#append(topic, record, completion, slot, codecId, onBuffered);
    else this.#waitForTopic({ record, completion, slot, codecId, onBuffered });
  }

  #append(
    topic: TopicQueues,
    record: ProducerRecord,
    completion: RecordCompletion,
    slot: number,
    codecId: number,
    onBuffered: (() => void) | null,
  ): void {
    let serialized: SerializedRecord | Promise<SerializedRecord>;
    try {
      serialized = this.#serializer.serialize(record, completion, slot, codecId, onBuffered);
    } catch (error) {
      failRecord(completion, toKafkaError(error, "SERIALIZATION_FAILED", "serializer"), slot);
      return;
    }
    if (serialized instanceof Promise) this.#appendInTurn(topic, serialized, completion, slot);
    else if (this.#serializing.count === 0) this.#manager.addMessage(topic, serialized);
    else this.#appendInTurn(topic, Promise.resolve(withOwnKey(serialized)), completion, slot);
  }

  #appendInTurn(
    topic: TopicQueues,
    serialized: Promise<SerializedRecord>,
    completion: RecordCompletion,
    slot: number,
  ): void {
    if (this.#serializing.isFull) {
      serialized.catch(() => {});
      failRecord(completion, new BufferExhaustedError(0, this.#options.bufferMemory), slot);
      return;
    }
    this.#serializing.add(serialized, completion, slot, (record) => this.#manager.addMessage(topic, record));
  }

  /**
   * A topic that is to have more partitions than we know of counts as not known until brokers were asked again, so that
   * what is sent meanwhile waits in its order; but not over and over for a partition that is not there.
   */
  #askIfGrown(topic: TopicQueues, partitionCount: number): void {
    if (!(partitionCount > topic.partitionCount) || !topic.isKnown) return;
    const nowMs = this.#options.clock.nowMs();
    if (partitionCount <= topic.askedPartitionCount && nowMs - topic.askedIfGrownAtMs < ASK_IF_GROWN_MS) return;
    topic.askedPartitionCount = partitionCount;
    topic.askedIfGrownAtMs = nowMs;
    topic.isKnown = false;
  }

  #waitForTopic(waiting: PreparingRecord): void {
    const { record, completion, slot } = waiting;
    if (typeof record.topic !== "string" || record.topic === "") {
      failRecord(completion, new KafkaError("INVALID_TOPIC_EXCEPTION", "a record needs a topic"), slot);
      return;
    }
    if (this.#preparing.isFull) {
      failRecord(completion, new BufferExhaustedError(0, this.#options.bufferMemory), slot);
      return;
    }
    this.#preparing.add(waiting);
  }

  /** What is needed to append records of a topic. Rejects with what cannot be had. */
  async #prepare(name: string, codecId: number, compressionType: CompressionType): Promise<TopicQueues> {
    const { clock, maxBlockMs, allowAutoTopicCreation } = this.#options;
    const deadlineMs = clock.nowMs() + maxBlockMs;
    this.#executor.prepare();
    if (!this.#loadedCodecs.has(codecId)) await this.#loadCodec(codecId, compressionType);
    const known = this.#manager.topic(name);
    if (known?.isKnown === true) return known;
    const { metadata } = this.#cluster;
    const found = await metadata.fetchTopic(name, { allowAutoTopicCreation, deadlineMs }).catch((error: unknown) => {
      // It was only asked whether it has grown.
      const old = known === undefined ? undefined : metadata.peek(name);
      if (old === undefined) throw error;
      return old;
    });
    const topic = this.#manager.topic(name) ?? this.#manager.addTopic(name);
    this.#update(topic, found);
    return topic;
  }

  /** In one step: a record that is sent after these must not find the topic known before they are appended. */
  #onPrepared(topic: TopicQueues, records: readonly PreparingRecord[]): void {
    topic.isKnown = true;
    for (const { record, completion, slot, codecId, onBuffered } of records) {
      this.#append(topic, record, completion, slot, codecId, onBuffered);
    }
  }

  async #loadCodec(codecId: number, type: CompressionType): Promise<void> {
    await loadCodec(type);
    this.#loadedCodecs.add(codecId);
  }

  #onRecords(queue: PartitionQueue, isDue: boolean): void {
    this.#timeouts.markActivity(queue);
    if (isDue || this.#options.lingerMs === 0 || this.#manager.isBlocked) this.#executor.wake(queue);
  }

  /** The queue's open batch leaves without lingering on. */
  #hurry(queue: PartitionQueue): void {
    queue.isDue = true;
    this.#executor.wake(queue);
  }

  #hurryAll(): void {
    for (const queue of this.#timeouts.watched) this.#hurry(queue);
  }

  #onMetadata(): void {
    for (const topic of this.#manager.topics()) {
      // Only peeked at while it is not used, so that the metadata can forget it; the next send asks for it anew.
      const { metadata } = this.#cluster;
      const known = topic.isUsed || !topic.isIdle ? metadata.topic(topic.name) : metadata.peek(topic.name);
      topic.isUsed = false;
      topic.isKnown &&= known !== undefined;
      if (known !== undefined) this.#update(topic, known);
      // It was deleted, and holds records for when it comes back or is created.
      else if (!topic.isIdle) this.#preparing.ask(topic.name);
    }
  }

  #update(topic: TopicQueues, metadata: TopicMetadata): void {
    topic.resizeTo(metadata.partitions.length);
    for (const queue of topic.allQueues) {
      const { leaderId, leaderEpoch } = metadata.partitions[queue.partition] ?? NO_LEADER;
      this.#executor.setLeader(queue, leaderId, leaderEpoch);
    }
  }

  /**
   * Sends all that is buffered without lingering; resolves once everything sent before has its fate, good or bad.
   *
   * Rejects with FlushTimeoutError after timeoutMs, and with ABORTED once the signal says so; what is under way goes on.
   */
  async flush({ timeoutMs, signal }: FlushOptions = {}): Promise<void> {
    if (await this.#within(this.#settleAll(), timeoutMs, signal)) return;
    const recordCount = this.pendingCount;
    throw new FlushTimeoutError(`flush: ${recordCount} records are still pending after ${timeoutMs} ms`, recordCount);
  }

  async #settleAll(): Promise<void> {
    await this.#preparing.settled();
    await this.#serializing.settled();
    this.#hurryAll();
    const batches = await this.#manager.flushBuffer();
    for (const queue of [...this.#timeouts.watched]) this.#executor.wake(queue);
    await Promise.all(batches.map((batch) => new Promise<void>((resolve) => batch.onSettled(resolve))));
  }

  /** True if the promise resolved in time; false after timeoutMs. Rejects with ABORTED if the signal comes first. */
  async #within(promise: Promise<void>, timeoutMs: number | undefined, signal?: AbortSignal): Promise<boolean> {
    const { promise: outcome, resolve, reject } = createDeferred<boolean>();
    const onAbort = () =>
      reject(
        new KafkaError("ABORTED", "flush: its caller waits no longer", { cause: signal?.reason, persisted: "maybe" }),
      );
    const timer = timeoutMs === undefined ? null : this.#options.clock.schedule(timeoutMs, () => resolve(false));
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
    promise.then(() => resolve(true), reject);
    try {
      return await outcome;
    } finally {
      timer?.cancel();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Throws away what was accepted and is not on its way: those sends reject with PURGED, surely not in the log unless an
   * earlier attempt is in doubt. Returns how many records that were.
   */
  purge(): number {
    return this.#purge(new KafkaError("PURGED", "thrown away by purge()"), { includeInFlight: false });
  }

  #purge(error: KafkaError, options: { readonly includeInFlight: boolean }): number {
    const early = [...this.#preparing.takeAll(), ...this.#serializing.takeAll()];
    let recordCount = early.length + this.#manager.failWaiting(error);
    for (const { completion, slot } of early) failRecord(completion, error, slot);
    for (const queue of [...this.#timeouts.watched]) recordCount += this.#executor.purge(queue, error, options);
    return recordCount;
  }

  /**
   * Refuses new records, sends what is buffered, then closes all connections. A second call gives the same promise.
   *
   * After timeoutMs what has no fate yet is given up: those sends reject with CLOSED, and close with FlushTimeoutError,
   * which says how many they were. Without timeoutMs, deliveryTimeoutMs bounds the wait.
   */
  close(options: TimeoutOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs);
    return this.#closing;
  }

  async #close(timeoutMs: number | undefined): Promise<void> {
    const isFlushed = await this.#within(this.#settleAll(), timeoutMs);
    const givenUpCount = this.#purge(new ClosedError("send"), { includeInFlight: true });
    this.#executor.close();
    this.#manager.close();
    this.#timeouts.stopMonitoring();
    this.#unsubscribe();
    await this.#cluster.close();
    if (isFlushed) return;
    const message = `close: ${givenUpCount} records had no answer after ${timeoutMs} ms and were given up`;
    throw new FlushTimeoutError(message, givenUpCount);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Records that were accepted and have no fate yet. */
  get pendingCount(): number {
    let recordCount = this.#preparing.recordCount + this.#serializing.count + this.#manager.getBufferSize();
    for (const queue of this.#timeouts.watched) {
      for (const batch of queue.inFlight) if (!batch.isSettled) recordCount += batch.recordCount;
      for (const batch of queue.retries) recordCount += batch.recordCount;
    }
    return recordCount;
  }

  /** All topics of the cluster but Kafka's own. */
  async listTopics(): Promise<TopicMetadata[]> {
    const topics = await this.#cluster.metadata.allTopics();
    return topics.filter((topic) => !topic.isInternal);
  }

  metrics(): ProducerMetrics {
    let pendingBatches = 0;
    for (const queue of this.#timeouts.watched) {
      pendingBatches += queue.sealed.length + queue.retries.length + (queue.open === null ? 0 : 1);
    }
    return this.#counters.snapshot({
      pendingRecords: this.pendingCount,
      pendingBatches,
      inFlightRequests: this.#executor.inFlightRequestCount,
      bufferBytes: this.#manager.bufferBytes,
      waitingRecords: this.#manager.waitingCount,
    });
  }

  getCallbackStats(): CallbackStats {
    return this.#callbacks.getStats();
  }

  /** The batches as they are now, without sealing them. */
  createBatchesPreview(): BatchPreview[] {
    return this.#manager.createBatchesPreview();
  }

  /** A stream that sends what is written to it, with as many batches in flight as bufferMemory has room for. */
  writable(): Writable {
    return createRecordWritable(this);
  }
}

function failRun(run: RecordRun, error: KafkaError): void {
  for (let index = 0; index < run.recordCount; index++) run.completion.fail(error, index);
}

function noop(): void {}

function abortedError(record: ProducerRecord, signal: AbortSignal | undefined): KafkaError {
  const options = { cause: signal?.reason };
  return new KafkaError("ABORTED", `record for ${record.topic} was taken back by its sender`, options);
}

let capturedResolve: ((outcome: RecordMetadata | Promise<never>) => void) | null = null;

/** One executor for all promises: a closure a record would cost as much as the promise itself. */
function captureResolve(resolve: (outcome: RecordMetadata | Promise<never>) => void): void {
  capturedResolve = resolve;
}
