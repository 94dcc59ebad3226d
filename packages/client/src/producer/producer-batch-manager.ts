/** ProducerBatchManager: gathers records into batches, one open batch a partition, within a bound of memory. Kafka's term: RecordAccumulator. */

import { assert, type Clock, type Random } from "@millrace/base";
import {
  BATCH_HEADER_BYTES,
  compress,
  compressionById,
  compressionId,
  compressSync,
  KafkaError,
  RecordBatchBuilder,
  readBatchHeader,
  recordSizeLimitBytes,
} from "@millrace/protocol";
import { BufferExhaustedError, RecordTooLargeError } from "../errors.ts";
import { failRecord, type RecordCompletion } from "./completion.ts";
import { createMessageBatch, type MessageBatch } from "./message-batch.ts";
import { OpenBatch } from "./open-batch.ts";
import type { PartitionQueue } from "./partition-queue.ts";
import { type BoundPartitioner, STICKY, StickyPartition } from "./partitioners.ts";
import type { RecordRun, RunValues } from "./record-run.ts";
import type { SerializedRecord } from "./record-serializer.ts";
import { BatchMemory, SlabPool } from "./slab-pool.ts";
import { TopicQueues } from "./topic-queues.ts";
import { WaitingRecords } from "./waiting-records.ts";

/** The least that is set aside for a new batch; slabs grow from there to batchSize. */
const FIRST_SLAB_BYTES = 1024;
/** Above this a batch is compressed off the event loop: below, the way there and back costs more than it saves. */
const OFF_LOOP_COMPRESSION_BYTES = 64 * 1024;
/** However well a topic compresses, no batch holds more than this before compression. */
const UNCOMPRESSED_LIMIT_BYTES = 512 * 1024;
/** Nor more than this share of bufferMemory, so that several partitions have room. */
const BUFFER_SHARES = 16;
const NO_CODEC_ID = 0;
/** One batch as it stands; its records may still become more while it is open. */
export interface BatchPreview {
  readonly topic: string;
  readonly partition: number;
  readonly state: "open" | "sealed";
  readonly recordCount: number;
  readonly sizeBytes: number;
  readonly ageMs: number;
}

export interface BatchManagerOptions {
  readonly batchSize: number;
  readonly bufferMemory: number;
  readonly maxBlockMs: number;
  readonly maxRequestSize: number;
  readonly compressionLevel: number | null;
  readonly lingerMs: number;
  readonly partitionerAvailabilityTimeoutMs: number;
}

export interface BatchManagerParts {
  readonly options: BatchManagerOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly partitioner: BoundPartitioner;
  /** The queue has a new open batch, or, with isDue, a sealed one that can leave. */
  readonly onRecords: (queue: PartitionQueue, isDue: boolean) => void;
  /** The error that a record for this partition fails with at once, or null. */
  readonly refusalOf: (queue: PartitionQueue) => KafkaError | null;
  /** Records wait for memory: open batches must leave without lingering. */
  readonly onMemoryShort: () => void;
}

export class ProducerBatchManager {
  readonly #options: BatchManagerOptions;
  readonly #parts: BatchManagerParts;
  readonly #pool: SlabPool;
  readonly #topics = new Map<string, TopicQueues>();
  readonly #waiting: WaitingRecords;
  #sealedCount = 0;

  constructor(parts: BatchManagerParts) {
    this.#parts = parts;
    this.#options = parts.options;
    this.#pool = new SlabPool(parts.options.bufferMemory);
    this.#waiting = new WaitingRecords(parts.options, parts.clock);
  }

  /** Bytes set aside for batches, of bufferMemory. */
  get bufferBytes(): number {
    return this.#pool.usedBytes;
  }

  get waitingCount(): number {
    return this.#waiting.count;
  }

  /** Nothing can be appended at once: what is sent now waits, first come first served. */
  get isBlocked(): boolean {
    return this.#waiting.count > 0;
  }

  topic(name: string): TopicQueues | undefined {
    return this.#topics.get(name);
  }

  topics(): Iterable<TopicQueues> {
    return this.#topics.values();
  }

  addTopic(name: string): TopicQueues {
    const { batchSize, lingerMs, partitionerAvailabilityTimeoutMs } = this.#options;
    const { clock, random } = this.#parts;
    const timeoutMs = lingerMs + partitionerAvailabilityTimeoutMs;
    const availability = partitionerAvailabilityTimeoutMs > 0 ? { clock, timeoutMs } : null;
    const topic = new TopicQueues(name, new StickyPartition(batchSize, random, availability));
    this.#topics.set(name, topic);
    return topic;
  }

  /** Records that are buffered and not on their way; the documents' name. */
  getBufferSize(): number {
    let recordCount = this.#waiting.count;
    for (const topic of this.#topics.values()) {
      for (const queue of topic.allQueues) {
        recordCount += queue.open?.builder.recordCount ?? 0;
        for (const batch of queue.sealed) recordCount += batch.recordCount;
      }
    }
    return recordCount;
  }

  /**
   * Encodes the record into the open batch of its partition, or lets it wait for memory.
   *
   * A record that can never be sent is failed here: the completion is told before this returns.
   */
  addMessage(topic: TopicQueues, record: SerializedRecord): void {
    topic.isUsed = true;
    if (!this.isBlocked && this.#append(topic, record)) return;
    const wasBlocked = this.isBlocked;
    this.#waiting.join(topic, record);
    if (!wasBlocked && this.isBlocked) this.#parts.onMemoryShort();
  }

  /**
   * As addMessage, for the values of a run from the one at `from` on, but only for those that go where the last ones went
   * and surely fit there. Returns how many were appended; the next one is addMessage's.
   */
  addValues(topic: TopicQueues, run: RecordRun, values: RunValues, from: number, codecId: number): number {
    const partitioner = run.partitioner ?? this.#parts.partitioner;
    if (this.isBlocked || !partitioner.isSticky) return 0;
    const queue = topic.queues[topic.sticky.current(topic.queues)];
    const open = queue?.open ?? null;
    if (queue === undefined || open === null || open.codecId !== codecId) return 0;
    if (this.#parts.refusalOf(queue) !== null) return 0;
    const before = open.builder.sizeBytes;
    const count = open.appendValues(run.completion, values, from, topic.sticky.roomBytes);
    topic.sticky.produced(open.builder.sizeBytes - before);
    return count;
  }

  /** True if the record is dealt with: appended, or failed for good. False: there is no memory for it now. */
  #append(topic: TopicQueues, record: SerializedRecord): boolean {
    const queue = this.#choosePartition(topic, record);
    if (queue === null) return true;
    const { open } = queue;
    if (open !== null && open.codecId === record.codecId) {
      const before = open.builder.sizeBytes;
      if (open.append(record)) {
        if (record.partition === null) topic.sticky.produced(open.builder.sizeBytes - before);
        return true;
      }
    }
    return this.#appendWithRoom(topic, queue, record);
  }

  #choosePartition(topic: TopicQueues, record: SerializedRecord): PartitionQueue | null {
    let partition = record.partition;
    if (partition === null) {
      try {
        partition = this.#partitionOf(topic, record);
      } catch (error) {
        const message = `partitioner, topic ${topic.name}: ${error instanceof Error ? error.message : String(error)}`;
        failRecord(record.completion, new KafkaError("INVALID_PARTITIONS", message, { cause: error }), record.slot);
        return null;
      }
      if (partition === STICKY) partition = topic.sticky.current(topic.queues);
    }
    const queue = topic.queues[partition];
    if (queue !== undefined) {
      const refusal = this.#parts.refusalOf(queue);
      if (refusal === null) return queue;
      failRecord(record.completion, refusal, record.slot);
      return null;
    }
    const message = `topic ${topic.name} has partitions 0 to ${topic.partitionCount - 1}; a record names ${partition}`;
    failRecord(
      record.completion,
      new KafkaError("UNKNOWN_TOPIC_OR_PARTITION", message, { retriable: false }),
      record.slot,
    );
    return null;
  }

  #partitionOf(topic: TopicQueues, record: SerializedRecord): number {
    const partitioner = record.partitioner ?? this.#parts.partitioner;
    return partitioner.partition(topic, record.key, record.keySizeBytes, record.value);
  }

  /**
   * Puts all records into one batch of one partition, which no broker stores in part and nobody splits.
   *
   * Returns why that cannot be, with nothing appended and no completion told; null if they are on their way or have
   * failed together. They do not wait for memory: where there is none they fail with BUFFER_EXHAUSTED.
   */
  addWhole(topic: TopicQueues, records: readonly SerializedRecord[]): string | null {
    topic.isUsed = true;
    let partition: number | null = null;
    let neededBytes = BATCH_HEADER_BYTES;
    for (const record of records) {
      const chosen = record.partition ?? this.#partitionOf(topic, record);
      if (chosen !== STICKY && partition !== null && chosen !== partition) {
        return `its records belong to partitions ${partition} and ${chosen}`;
      }
      if (chosen !== STICKY) partition = chosen;
      neededBytes += recordSizeLimitBytes(record.keySizeBytes, record.value, record.headers);
    }
    const limitBytes = Math.min(this.#options.maxRequestSize, this.#options.bufferMemory);
    if (neededBytes > limitBytes) return `its records take up to ${neededBytes} bytes; a batch holds ${limitBytes}`;
    const queue = topic.queues[partition ?? topic.sticky.current(topic.queues)];
    if (queue === undefined) return `there is no partition ${partition}; ${topic.name} has ${topic.partitionCount}`;
    const failure = this.#appendWhole(topic, queue, records, neededBytes);
    if (failure !== null) for (const { completion, slot } of records) failRecord(completion, failure, slot);
    return null;
  }

  #appendWhole(
    topic: TopicQueues,
    queue: PartitionQueue,
    records: readonly SerializedRecord[],
    neededBytes: number,
  ): KafkaError | null {
    const refusal = this.#parts.refusalOf(queue);
    if (refusal !== null) return refusal;
    const slab = this.isBlocked ? null : this.#pool.acquire(neededBytes);
    if (slab === null) return new BufferExhaustedError(0, this.#options.bufferMemory);
    if (queue.open !== null) this.#seal(topic, queue, queue.open);
    const open = new OpenBatch({
      builder: new RecordBatchBuilder(slab, neededBytes),
      codecId: records[0]?.codecId ?? NO_CODEC_ID,
      limitBytes: neededBytes,
      isWhole: true,
      createdAtMs: this.#parts.clock.nowMs(),
    });
    for (const record of records) open.append(record);
    this.#seal(topic, queue, open);
    this.#parts.onRecords(queue, true);
    return null;
  }

  /** Makes room, in a larger slab or in a new batch, and appends. */
  #appendWithRoom(topic: TopicQueues, queue: PartitionQueue, record: SerializedRecord): boolean {
    const recordBytes = recordSizeLimitBytes(record.keySizeBytes, record.value, record.headers);
    const tooLarge = this.#checkSize(topic, record, recordBytes);
    if (tooLarge !== null) {
      failRecord(record.completion, tooLarge, record.slot);
      return true;
    }
    const { open } = queue;
    if (open !== null) {
      const isSameCodec = open.codecId === record.codecId;
      const neededBytes = open.builder.sizeBytes + recordBytes;
      // Without memory for a larger slab it leaves as it is, and the record may still find room for a small one.
      if (isSameCodec && neededBytes <= open.limitBytes && this.#grow(open, neededBytes)) {
        const before = open.builder.sizeBytes;
        open.append(record);
        if (record.partition === null) topic.sticky.produced(open.builder.sizeBytes - before);
        return true;
      }
      this.#seal(topic, queue, open);
      this.#parts.onRecords(queue, true);
      if (isSameCodec && record.partition === null && topic.sticky.isDone) {
        // The batch is full and the topic has given this partition its share: the record starts a batch elsewhere.
        topic.sticky.leave();
        return this.#append(topic, record);
      }
    }
    return this.#appendToNew(topic, queue, record, recordBytes);
  }

  #appendToNew(topic: TopicQueues, queue: PartitionQueue, record: SerializedRecord, recordBytes: number): boolean {
    const neededBytes = BATCH_HEADER_BYTES + recordBytes;
    const limitBytes = Math.max(this.#batchLimitBytes(topic, record.codecId), neededBytes);
    const wantedBytes = Math.max(neededBytes, Math.min(queue.slabHintBytes, limitBytes), FIRST_SLAB_BYTES);
    const slab = this.#pool.acquire(wantedBytes) ?? this.#pool.acquire(neededBytes);
    if (slab === null) return false;
    const open = new OpenBatch({
      builder: new RecordBatchBuilder(slab, limitBytes),
      codecId: record.codecId,
      limitBytes,
      isWhole: false,
      createdAtMs: this.#parts.clock.nowMs(),
    });
    open.append(record);
    queue.open = open;
    if (record.partition === null) topic.sticky.produced(open.builder.sizeBytes);
    this.#parts.onRecords(queue, false);
    return true;
  }

  /** What fills batchSize once it is compressed, as far as the topic's batches so far tell. */
  #batchLimitBytes(topic: TopicQueues, codecId: number): number {
    const { batchSize, bufferMemory } = this.#options;
    if (codecId === NO_CODEC_ID) return batchSize;
    const limitBytes = Math.max(batchSize, Math.min(UNCOMPRESSED_LIMIT_BYTES, bufferMemory / BUFFER_SHARES));
    return Math.min(batchSize / topic.ratios.ratioOf(codecId), limitBytes);
  }

  #grow(open: OpenBatch, neededBytes: number): boolean {
    const old = open.builder.slab;
    const slab = this.#pool.acquire(Math.min(Math.max(neededBytes, old.length * 2), open.limitBytes));
    if (slab === null) return false;
    open.builder.moveTo(slab, open.limitBytes);
    this.#pool.release(old, { isReusable: true });
    return true;
  }

  /** The limit is what the record may take at most; only a record near it is worth being measured exactly. */
  #checkSize(topic: TopicQueues, record: SerializedRecord, recordBytes: number): KafkaError | null {
    const limitBytes = Math.min(this.#options.maxRequestSize, this.#options.bufferMemory);
    if (BATCH_HEADER_BYTES + recordBytes <= limitBytes) return null;
    const value = typeof record.value === "string" ? Buffer.from(record.value) : record.value;
    const exactBytes = BATCH_HEADER_BYTES + recordSizeLimitBytes(record.keySizeBytes, value, record.headers);
    if (exactBytes <= limitBytes) return null;
    const limitName = limitBytes === this.#options.maxRequestSize ? "maxRequestSize" : "bufferMemory";
    return new RecordTooLargeError(topic.name, exactBytes, limitBytes, limitName);
  }

  /** Seals what is open in the queue: it joins the sealed batches, behind those that are there. */
  sealOpen(queue: PartitionQueue): void {
    const topic = this.#topics.get(queue.topic);
    assert(topic !== undefined, "a queue has its topic");
    if (queue.open !== null) this.#seal(topic, queue, queue.open);
  }

  /** The broker would not take a batch of this topic: the next ones are filled for the worst case. */
  distrustRatio(batch: MessageBatch): void {
    if (batch.payload === null) return;
    const codecId = compressionId(readBatchHeader(batch.payload).compression);
    this.#topics.get(batch.topic)?.ratios.distrust(codecId);
  }

  /** Seals every open batch. All batches without a fate, oldest first in each partition; the documents' name. */
  createBatches(): MessageBatch[] {
    const batches: MessageBatch[] = [];
    for (const topic of this.#topics.values()) {
      for (const queue of topic.allQueues) {
        this.sealOpen(queue);
        batches.push(...queue.batches());
      }
    }
    return batches;
  }

  /** `createBatches`, once all that wait for memory now have been let in or have failed; the documents' name. */
  async flushBuffer(): Promise<MessageBatch[]> {
    await this.#waiting.whenAdmitted();
    return this.createBatches();
  }

  #seal(topic: TopicQueues, queue: PartitionQueue, open: OpenBatch): void {
    queue.open = null;
    queue.isDue = false;
    const { builder } = open;
    const memory = new BatchMemory(this.#pool, builder.slab);
    queue.slabHintBytes = builder.sizeBytes;
    const payload = this.#encodePayload(topic, open, memory);
    const batch = createMessageBatch({
      topic: queue.topic,
      partition: queue.partition,
      records: open.records,
      payload,
      createdAtMs: open.createdAtMs,
      ordinal: this.#sealedCount++,
      sizeBytes: builder.sizeBytes,
      isWhole: open.isWhole,
      release: (options) => {
        memory.release(options);
        this.#waiting.admit((topic, record) => this.#append(topic, record));
      },
    });
    assert(queue.sealed.push(batch), "bufferMemory holds fewer batches than a queue takes");
    if (!Buffer.isBuffer(payload)) {
      void payload.then((compressed) => {
        batch.compressed(compressed);
        this.#parts.onRecords(queue, true);
      });
    }
  }

  /** Compressed where that makes it smaller; what does not shrink goes as it is and saves its readers the work. */
  #encodePayload(topic: TopicQueues, open: OpenBatch, memory: BatchMemory): Buffer | Promise<Buffer> {
    const { builder, codecId } = open;
    const type = compressionById(codecId) ?? "none";
    if (type === "none") return builder.seal(null);
    const { records } = builder;
    const level = this.#options.compressionLevel ?? undefined;
    const sealWith = (compressed: Buffer) => {
      topic.ratios.observe(codecId, compressed.length, records.length);
      if (compressed.length >= records.length) return builder.seal(null);
      const payload = builder.seal({ records: compressed, codecId });
      memory.moveOut(payload.length);
      return payload;
    };
    if (records.length < OFF_LOOP_COMPRESSION_BYTES) return sealWith(compressSync(type, records, level));
    return compress(type, records, level).then(sealWith, () => builder.seal(null));
  }

  /** What is buffered, by partition, without sealing it; the documents' name. */
  createBatchesPreview(): BatchPreview[] {
    const nowMs = this.#parts.clock.nowMs();
    const previews: BatchPreview[] = [];
    for (const topic of this.#topics.values()) {
      for (const queue of topic.allQueues) {
        const at = { topic: topic.name, partition: queue.partition };
        for (const { recordCount, sizeBytes, createdAtMs } of queue.sealed) {
          previews.push({ ...at, state: "sealed", recordCount, sizeBytes, ageMs: nowMs - createdAtMs });
        }
        if (queue.open === null) continue;
        const { recordCount, sizeBytes } = queue.open.builder;
        previews.push({ ...at, state: "open", recordCount, sizeBytes, ageMs: nowMs - queue.open.createdAtMs });
      }
    }
    return previews;
  }

  /** Fails all that wait for memory. Returns how many. */
  failWaiting(error: KafkaError): number {
    return this.#waiting.failAll(error);
  }

  /**
   * Takes back a record whose batch is not on its way. False if it is, or was: its outcome will be told as it is.
   *
   * Looks through all that is buffered: it is asked for once a cancelled record, not once a record.
   */
  withdraw(completion: RecordCompletion): boolean {
    if (this.#waiting.withdraw(completion)) return true;
    for (const topic of this.#topics.values()) {
      for (const queue of topic.allQueues) {
        if (queue.open?.isAwaitedBy(completion) === true) {
          this.sealOpen(queue);
          // What is sealed does not linger: its neighbours would wait for a timer that looks at open batches alone.
          this.#parts.onRecords(queue, true);
        }
        for (const batch of queue.sealed) if (batch.withdraw(completion)) return true;
      }
    }
    return false;
  }

  close(): void {
    this.#waiting.close();
  }
}
