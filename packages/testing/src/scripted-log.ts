/** A log for a scripted broker: takes record batches as Kafka does, sequences and all, and fails when a test says so. */

import type { Address } from "@millrace/base";
import {
  type CompressionType,
  type DecodedRecord,
  type ErrorCode,
  errorByCode,
  initProducerIdApi,
  produceApi,
  readBatchHeader,
  readRecords,
} from "@millrace/protocol";
import type { ScriptedBroker, ScriptedCall } from "./scripted-broker.ts";

/** What happens to the next produce request. */
export type Fault =
  /** Taken and answered, as without a fault. */
  | { readonly kind: "take" }
  /** Refused with this error; nothing is appended. */
  | { readonly kind: "refuse"; readonly code: ErrorCode }
  /** Refused, naming the broker that leads now (KIP-951). */
  | ({ readonly kind: "moved"; readonly leaderId: number; readonly leaderEpoch: number } & Address)
  /** Appended, then answered with an error all the same. */
  | { readonly kind: "takeAndFail"; readonly code: ErrorCode }
  /** Appended, but the connection is cut before the answer. */
  | { readonly kind: "loseAnswer" }
  /** The connection is cut before anything is appended. */
  | { readonly kind: "cut" }
  /** Appended; answered only when `release` is called. */
  | { readonly kind: "hold" };

interface ProducerEntry {
  epoch: number;
  readonly batches: { readonly first: number; readonly last: number; readonly baseOffset: bigint }[];
}

interface PartitionState {
  readonly records: DecodedRecord[];
  readonly codecs: CompressionType[];
  readonly producers: Map<bigint, ProducerEntry>;
  batchCount: number;
}

/** A broker remembers so many batches of a producer in each partition. */
const REMEMBERED_BATCHES = 5;

export class ScriptedLog {
  readonly #partitions = new Map<string, PartitionState>();
  readonly #faults: Fault[] = [];
  #held: (() => void)[] = [];
  #nextProducerId = 1000n;
  /** Records a request, oldest first: which batches came, as [partition, records]. */
  readonly requests: (readonly { readonly partition: string; readonly recordCount: number }[])[] = [];
  /** Batches with more bytes are refused with MESSAGE_TOO_LARGE. */
  maxBatchBytes = Number.POSITIVE_INFINITY;
  /** A batch with such records is refused with INVALID_RECORD, which names them (KIP-467). */
  isRefused: (record: DecodedRecord) => boolean = () => false;

  /** Answers Produce and InitProducerId of this broker from this log. Several brokers may share it. */
  serve(broker: ScriptedBroker): this {
    broker.on(initProducerIdApi, () => ({ errorCode: 0, producerId: this.#nextProducerId++, producerEpoch: 0 }));
    broker.on(produceApi, (request, call) => this.#produce(request, call), [3, 12]);
    return this;
  }

  /** The fates of the next produce requests, in order; those after them are taken. */
  plan(...faults: readonly Fault[]): void {
    this.#faults.push(...faults);
  }

  /** Lets the answers go that were held back. */
  release(): void {
    for (const answer of this.#held.splice(0)) answer();
  }

  get heldCount(): number {
    return this.#held.length;
  }

  /** The values in a partition, "orders-0", as text. */
  values(partition: string): string[] {
    return this.records(partition).map((record) => record.value?.toString() ?? "null");
  }

  records(partition: string): readonly DecodedRecord[] {
    return this.#partitions.get(partition)?.records ?? [];
  }

  /** How each batch in a partition is compressed. */
  codecs(partition: string): readonly CompressionType[] {
    return this.#partitions.get(partition)?.codecs ?? [];
  }

  /** Forgets all producers, as a broker does whose state is lost. */
  forgetProducers(): void {
    for (const state of this.#partitions.values()) state.producers.clear();
  }

  async #produce(request: ProduceRequest, call: ScriptedCall) {
    this.requests.push(
      request.topicData.flatMap((topic) =>
        topic.partitionData.map(({ index, records }) => ({
          partition: `${topic.name}-${index}`,
          recordCount: records === null ? 0 : readBatchHeader(records).recordCount,
        })),
      ),
    );
    const fault = this.#faults.shift() ?? { kind: "take" };
    if (fault.kind === "cut") {
      call.cut();
      return null;
    }
    const responses = request.topicData.map((topic) => ({
      name: topic.name,
      partitionResponses: topic.partitionData.map(({ index, records }) => {
        if (fault.kind === "refuse") return answer(index, fault.code, -1n);
        if (fault.kind === "moved") {
          const { leaderId, leaderEpoch } = fault;
          return { ...answer(index, "NOT_LEADER_OR_FOLLOWER", -1n), currentLeader: { leaderId, leaderEpoch } };
        }
        const recordErrors = records === null ? [] : this.#refusedRecords(records);
        if (recordErrors.length > 0) return { ...answer(index, "INVALID_RECORD", -1n), recordErrors };
        const taken = records === null ? refused("INVALID_RECORD") : this.#append(`${topic.name}-${index}`, records);
        const code = fault.kind === "takeAndFail" ? fault.code : taken.code;
        return answer(index, code, taken.baseOffset);
      }),
    }));
    if (fault.kind === "hold") await new Promise<void>((resolve) => this.#held.push(resolve));
    if (fault.kind === "loseAnswer") {
      call.cut();
      return null;
    }
    const nodeEndpoints =
      fault.kind === "moved" ? [{ nodeId: fault.leaderId, host: fault.host, port: fault.port }] : [];
    return { responses, nodeEndpoints };
  }

  #refusedRecords(batch: Buffer) {
    return readRecords(batch).flatMap((record, batchIndex) =>
      this.isRefused(record) ? [{ batchIndex, batchIndexErrorMessage: `${record.value} is not wanted` }] : [],
    );
  }

  #append(partition: string, batch: Buffer): { readonly code: ErrorCode; readonly baseOffset: bigint } {
    if (batch.length > this.maxBatchBytes) return refused("MESSAGE_TOO_LARGE");
    let state = this.#partitions.get(partition);
    if (state === undefined) {
      state = { records: [], codecs: [], producers: new Map(), batchCount: 0 };
      this.#partitions.set(partition, state);
    }
    const header = readBatchHeader(batch);
    const baseOffset = BigInt(state.records.length);
    const { producerId, producerEpoch, baseSequence, recordCount } = header;
    if (producerId >= 0n) {
      const last = baseSequence + recordCount - 1;
      const known = state.producers.get(producerId);
      if (known !== undefined) {
        const duplicate = known.batches.find((other) => other.first === baseSequence && other.last === last);
        if (producerEpoch === known.epoch && duplicate !== undefined) {
          return { code: "NONE", baseOffset: duplicate.baseOffset };
        }
        if (producerEpoch < known.epoch) return refused("INVALID_PRODUCER_EPOCH");
        const expected = producerEpoch > known.epoch ? 0 : (known.batches.at(-1)?.last ?? -1) + 1;
        if (baseSequence !== expected) return refused("OUT_OF_ORDER_SEQUENCE_NUMBER");
      }
      // A producer that is not known may begin anywhere, as with Kafka.
      const entry = known?.epoch === producerEpoch ? known : { epoch: producerEpoch, batches: [] };
      entry.batches.push({ first: baseSequence, last, baseOffset });
      if (entry.batches.length > REMEMBERED_BATCHES) entry.batches.shift();
      state.producers.set(producerId, entry);
    }
    state.records.push(...readRecords(batch));
    state.codecs.push(header.compression);
    state.batchCount += 1;
    return { code: "NONE", baseOffset };
  }
}

type ProduceRequest = ReturnType<typeof produceApi.request.decode>;

function refused(code: ErrorCode): { readonly code: ErrorCode; readonly baseOffset: bigint } {
  return { code, baseOffset: -1n };
}

function answer(index: number, code: ErrorCode, baseOffset: bigint) {
  return { index, errorCode: errorByCode(code).number, baseOffset, logAppendTimeMs: -1n, logStartOffset: 0n };
}
