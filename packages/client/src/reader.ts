/** Reads the records of one partition, from an offset on. */

import { choice, code, count, defineOptions, flag, millis, type OptionsOf, sizeBytes, text } from "@millrace/base";
import {
  type BatchHeader,
  BrokerError,
  type DecodedRecord,
  errorByCode,
  errorByNumber,
  fetchApi,
  isBatchCrcValid,
  isRetriable,
  KafkaError,
  loadCodec,
  NIL_UUID,
  readRecords,
  splitBatches,
} from "@millrace/protocol";
import { Cluster } from "./cluster/cluster.ts";
import { listOffsets } from "./cluster/list-offsets.ts";
import { retrying } from "./cluster/retrying.ts";
import type { PartitionMetadata, TopicMetadata } from "./cluster/topic-metadata.ts";
import { until } from "./cluster/until.ts";
import { type ConfigOf, commonOptions } from "./common-options.ts";
import { ClosedError } from "./errors.ts";

/** A Date: the first record at or after that time, or the end if there is none. */
export type StartPosition = bigint | "earliest" | "latest" | Date;

export const readerOptions = defineOptions(
  {
    ...commonOptions.entries,
    topic: text({ default: "", doc: "The topic to read. Must be given." }),
    partition: count({ default: 0, doc: "The partition to read." }),
    from: code<StartPosition>({
      default: "earliest",
      typeName: '"earliest", "latest", an offset (bigint) or a Date',
      accepts: (value) =>
        value === "earliest" ||
        value === "latest" ||
        (typeof value === "bigint" && value >= 0n) ||
        (value instanceof Date && !Number.isNaN(value.getTime())),
      doc: "Where to begin. A Date stands for the first record at or after that time, or the end if there is none.",
    }),
    maxWaitMs: millis({
      default: 500,
      kafka: "fetch.max.wait.ms",
      doc: "How long a read waits for a record before it gives an empty list.",
    }),
    minBytes: count({
      default: 1,
      kafka: "fetch.min.bytes",
      doc: "How much there must be, or maxWaitMs must have passed, before a broker answers.",
    }),
    maxBytes: sizeBytes({
      default: 1024 * 1024,
      min: 1,
      kafka: "max.partition.fetch.bytes",
      doc: "About how much one read asks for, as it is on the wire. A record batch that is larger comes whole all the same.",
    }),
    maxBatchBytes: sizeBytes({
      default: 64 * 1024 * 1024,
      min: 1,
      doc: "The most that a record batch may decompress to.",
    }),
    checkCrcs: flag({
      default: true,
      kafka: "check.crcs",
      doc: "Whether each record batch's checksum is compared.",
    }),
    isolationLevel: choice(["read_uncommitted", "read_committed"], {
      default: "read_uncommitted",
      kafka: "isolation.level",
      doc: "Whether records of transactions come that are open or were aborted.",
    }),
    apiTimeoutMs: millis({
      default: 60_000,
      min: 1,
      kafka: "default.api.timeout.ms",
      doc: "How long a read tries to reach the partition's leader.",
    }),
  },
  [{ option: "topic", rule: "must be given", isKept: (options) => options.topic !== "" }],
);

export type ReaderOptions = OptionsOf<typeof readerOptions.entries>;
export type ReaderConfig = ConfigOf<ReaderOptions> & { readonly topic: string };

/** One record as it is in the log. Key and value are views of the answer that it came in: copy what is to be kept for long. */
export interface ConsumedRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  /** Milliseconds since the epoch. */
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** In the order they were written; a name may come more than once. */
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[];
}

export interface ReadOptions {
  /** Ends the wait; the position stays where it was. */
  readonly signal?: AbortSignal;
}

/** The last Fetch version that names topics; later ones need their ids. */
const MAX_VERSION_WITH_NAMES = 12;
const CONSUMER_REPLICA_ID = -1;

/**
 * Reads run one after the other, each with one Fetch request. A Reader has connections of its own: a broker answers in
 * order, so that a fetch that waits for records would hold up all that is behind it.
 */
export class Reader {
  readonly #options: ReaderOptions;
  readonly #cluster: Cluster;
  /** Null until the start was found out. */
  #position: bigint | null = null;
  #highWatermark: bigint | null = null;
  #last: Promise<unknown> = Promise.resolve();
  readonly #closing = new AbortController();

  constructor(config: ReaderConfig) {
    this.#options = readerOptions.resolve(config);
    this.#cluster = new Cluster(this.#options);
    if (typeof this.#options.from === "bigint") this.#position = this.#options.from;
  }

  /** The offset of the next record to read; before the first read it is known only if it was given. */
  get position(): bigint | null {
    return this.#position;
  }

  /** The offset behind the last record that readers may see, as of the last read; null before it. */
  get highWatermark(): bigint | null {
    return this.#highWatermark;
  }

  /** Goes on from another offset. */
  seek(offset: bigint): void {
    this.#position = offset;
  }

  /**
   * The next records; empty if there were none within maxWaitMs.
   *
   * Rejects with BrokerError (OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION, TOPIC_AUTHORIZATION_FAILED, …),
   * KafkaError CORRUPT_MESSAGE, or, after apiTimeoutMs of trying, with what stood in the way. A failed read leaves the
   * position as it was.
   */
  read(options: ReadOptions = {}): Promise<ConsumedRecord[]> {
    const next = this.#last.then(() => this.#read(options.signal));
    this.#last = next.catch(() => {});
    return next;
  }

  /** Every record from the position on, for ever: ends when the reader is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ConsumedRecord, void, undefined> {
    while (!this.#closing.signal.aborted) {
      let records: ConsumedRecord[];
      try {
        records = await this.read();
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        throw error;
      }
      yield* records;
    }
  }

  /** Ends a read that waits at once, with ClosedError. May be called twice. */
  async close(): Promise<void> {
    const { topic, partition } = this.#options;
    this.#closing.abort(new ClosedError(`read of ${topic}-${partition}`));
    await this.#cluster.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #read(signal: AbortSignal | undefined): Promise<ConsumedRecord[]> {
    const { clock, apiTimeoutMs } = this.#options;
    const closing = this.#closing.signal;
    closing.throwIfAborted();
    const deadlineMs = clock.nowMs() + apiTimeoutMs;
    const ending = signal === undefined ? closing : AbortSignal.any([signal, closing]);
    const fetched = retrying(this.#options, { deadlineMs, signal: ending }, () => this.#fetch(deadlineMs));
    const { records, nextOffset, highWatermark } = await until(fetched, ending);
    this.#position = nextOffset;
    this.#highWatermark = highWatermark;
    return records;
  }

  /** One try. What it learns becomes the reader's state only if nobody gave up on it meanwhile. */
  async #fetch(deadlineMs: number): Promise<Fetched> {
    const { metadata } = this.#cluster;
    const { topic } = this.#options;
    try {
      const known =
        metadata.topic(topic) ?? (await metadata.fetchTopic(topic, { allowAutoTopicCreation: false, deadlineMs }));
      const partition = this.#partitionOf(known);
      const position = this.#position ?? (await this.#findStart(partition));
      return await this.#fetchFrom(known, partition, position);
    } catch (error) {
      // The leader may have moved: the next try asks who leads.
      if (isRetriable(error)) await this.#refreshLeader(deadlineMs);
      throw error;
    }
  }

  #partitionOf(topic: TopicMetadata): PartitionMetadata {
    const { partition } = this.#options;
    const found = topic.partitions[partition];
    if (found === undefined) {
      const message = `it has ${topic.partitions.length} partitions`;
      throw new BrokerError(errorByCode("UNKNOWN_TOPIC_OR_PARTITION"), `read of ${topic.name}-${partition}`, message, {
        retriable: false,
      });
    }
    if (found.leaderId >= 0) return found;
    throw new BrokerError(errorByCode("LEADER_NOT_AVAILABLE"), `read of ${topic.name}-${partition}`);
  }

  async #refreshLeader(deadlineMs: number): Promise<void> {
    try {
      await this.#cluster.metadata.fetchTopic(this.#options.topic, { allowAutoTopicCreation: false, deadlineMs });
    } catch {
      // The error that led here tells more.
    }
  }

  async #findStart(partition: PartitionMetadata): Promise<bigint> {
    const { from, isolationLevel } = this.#options;
    if (typeof from === "bigint") return from;
    const found = await this.#listOffset(partition, from instanceof Date ? from.getTime() : from);
    return found >= 0n ? found : this.#listOffset(partition, "latest", isolationLevel === "read_committed");
  }

  async #listOffset(
    partition: PartitionMetadata,
    spec: "earliest" | "latest" | number,
    isCommittedOnly = false,
  ): Promise<bigint> {
    const connection = await this.#cluster.connectionTo(partition.leaderId);
    const offsets = await listOffsets(connection, this.#options.topic, [partition], spec, isCommittedOnly);
    return offsets.get(partition.partition)?.offset ?? -1n;
  }

  async #fetchFrom(topic: TopicMetadata, partition: PartitionMetadata, position: bigint): Promise<Fetched> {
    const options = this.#options;
    const connection = await this.#cluster.connectionTo(partition.leaderId);
    const response = await connection.request(
      fetchApi,
      {
        replicaId: CONSUMER_REPLICA_ID,
        maxWaitMs: Math.ceil(options.maxWaitMs),
        minBytes: options.minBytes,
        maxBytes: options.maxBytes,
        isolationLevel: options.isolationLevel === "read_committed" ? 1 : 0,
        topics: [
          {
            topic: topic.name,
            topicId: topic.topicId,
            partitions: [
              {
                partition: partition.partition,
                currentLeaderEpoch: partition.leaderEpoch,
                fetchOffset: position,
                partitionMaxBytes: options.maxBytes,
              },
            ],
          },
        ],
      },
      {
        timeoutMs: options.requestTimeoutMs + options.maxWaitMs,
        ...(topic.topicId === NIL_UUID ? { maxVersion: MAX_VERSION_WITH_NAMES } : {}),
      },
    );
    const where = `read of ${topic.name}-${partition.partition}`;
    if (response.errorCode !== 0) throw BrokerError.fromNumber(response.errorCode, where);
    const answer = response.responses[0]?.partitions[0];
    if (answer === undefined) throw new BrokerError(errorByCode("UNKNOWN_SERVER_ERROR"), where, "not in the answer");
    const error = errorByNumber(answer.errorCode);
    if (error.code === "OFFSET_OUT_OF_RANGE") throw await this.#outOfRange(partition, position, where);
    if (error.code !== "NONE") throw new BrokerError(error, where);
    const isCommittedOnly = options.isolationLevel === "read_committed";
    const aborted = new AbortedTransactions(isCommittedOnly ? (answer.abortedTransactions ?? []) : []);
    return this.#decode(answer.records ?? EMPTY, position, aborted, answer.highWatermark);
  }

  async #decode(
    bytes: Buffer,
    position: bigint,
    aborted: AbortedTransactions,
    highWatermark: bigint,
  ): Promise<Fetched> {
    const { topic, partition, checkCrcs, maxBatchBytes } = this.#options;
    const records: ConsumedRecord[] = [];
    let nextOffset = position;
    for (const { header, bytes: batch } of splitBatches(bytes)) {
      const afterBatch = header.baseOffset + BigInt(header.lastOffsetDelta) + 1n;
      if (afterBatch <= nextOffset) continue;
      if (checkCrcs && !isBatchCrcValid(batch)) {
        throw new KafkaError(
          "CORRUPT_MESSAGE",
          `${topic}-${partition}: checksum of the record batch at offset ${header.baseOffset} does not match`,
          { retriable: false },
        );
      }
      await loadCodec(header.compression);
      if (aborted.isVisible(header, batch, maxBatchBytes)) {
        for (const record of readRecords(batch, maxBatchBytes)) {
          if (record.offset >= nextOffset) records.push(consumed(record, topic, partition));
        }
      }
      // Beyond the last record, which compaction may have removed: else the same batch would come again for ever.
      nextOffset = afterBatch;
    }
    if (nextOffset === position && bytes.length > 0) {
      throw new KafkaError(
        "MESSAGE_TOO_LARGE",
        `${topic}-${partition}: ${bytes.length} bytes from offset ${position} hold no whole record batch; raise maxBytes`,
      );
    }
    return { records, nextOffset, highWatermark };
  }

  async #outOfRange(partition: PartitionMetadata, position: bigint, where: string): Promise<KafkaError> {
    const earliest = await this.#listOffset(partition, "earliest");
    const latest = await this.#listOffset(partition, "latest");
    const message = `offset ${position} is not in the log, which has ${earliest} up to ${latest}`;
    return new BrokerError(errorByCode("OFFSET_OUT_OF_RANGE"), where, message);
  }
}

const EMPTY = Buffer.alloc(0);

interface Fetched {
  readonly records: ConsumedRecord[];
  readonly nextOffset: bigint;
  readonly highWatermark: bigint;
}

function consumed(record: DecodedRecord, topic: string, partition: number): ConsumedRecord {
  const { offset, timestamp, key, value, headers } = record;
  return { topic, partition, offset, timestamp: Number(timestamp), key, value, headers };
}

/** Type of an end of transaction marker, in the key of a control record behind its version. */
const ABORT_MARKER = 0;
const MARKER_TYPE_AT = 2;

/**
 * Which batches a reader of committed records may see.
 *
 * The broker lists the aborted transactions of what it sends, each from its first offset on; a marker in the log ends
 * each of them. Source: Kafka protocol guide, "Fetch", KIP-98.
 */
class AbortedTransactions {
  readonly #upcoming: { readonly producerId: bigint; readonly firstOffset: bigint }[];
  readonly #current = new Set<bigint>();

  constructor(listed: readonly { readonly producerId: bigint; readonly firstOffset: bigint }[]) {
    this.#upcoming = [...listed].sort((a, b) => (a.firstOffset < b.firstOffset ? -1 : 1));
  }

  /** To be asked for each batch once, in order. Control batches are never visible. */
  isVisible(header: BatchHeader, batch: Buffer, limitBytes: number): boolean {
    const lastOffset = header.baseOffset + BigInt(header.lastOffsetDelta);
    for (let next = this.#upcoming[0]; next !== undefined && next.firstOffset <= lastOffset; next = this.#upcoming[0]) {
      this.#current.add(next.producerId);
      this.#upcoming.shift();
    }
    if (header.isControl) {
      const [marker] = this.#current.has(header.producerId) ? readRecords(batch, limitBytes) : [];
      if (marker?.key?.readInt16BE(MARKER_TYPE_AT) === ABORT_MARKER) this.#current.delete(header.producerId);
      return false;
    }
    return !(header.isTransactional && this.#current.has(header.producerId));
  }
}
