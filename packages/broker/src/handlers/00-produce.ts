/**
 * Produce: record batches into the logs of their partitions.
 *
 * v3–11. v0–2 are advertised and answered with UNSUPPORTED_VERSION, as Kafka 4 does: librdkafka before 2.11 takes a
 * higher minimum for a broker without compression (KAFKA-18659).
 */

import {
  ATTRIBUTES_AT,
  array,
  COMPRESSION_MASK,
  compressionId,
  defineApi,
  int16,
  int32,
  int64,
  KafkaError,
  produceApi,
  records,
  string,
  struct,
} from "@millrace/protocol";
import {
  defineHandler,
  errorMessageOf,
  errorNumberOf,
  type Handler,
  NO_ERROR,
  type RequestContext,
  type RequestOf,
  selectPartitions,
} from "../handler.ts";
import { RefusedRecordsError } from "../log/batch-validation.ts";
import type { AppendResult, PartitionLog } from "../log/partition-log.ts";
import type { Topic } from "../topics/topic.ts";

/** First version that may carry batches compressed with zstd (KIP-110). */
const ZSTD_SINCE_VERSION = 7;
const FIRST_SERVED_VERSION = 3;
const ZSTD = compressionId("zstd");

/** What became of one partition's batch before the disk had its say. */
type Appended =
  | { readonly kind: "appended"; readonly index: number; readonly log: PartitionLog; readonly result: AppendResult }
  | { readonly kind: "refused"; readonly index: number; readonly error: unknown };

const servedHandler = defineHandler({
  api: produceApi,
  versions: [FIRST_SERVED_VERSION, 11],
  isPipelined: true,
  // What acks asks for is done, so the batches were written, and copied for it.
  isDoneWithBytes: true,

  handle(request, context) {
    const { acks } = request;
    if (acks !== -1 && acks !== 0 && acks !== 1) {
      throw new KafkaError("INVALID_REQUIRED_ACKS", `acks is ${acks}; it must be -1, 0 or 1`);
    }
    // All appends happen here, before anything is awaited: offsets follow the order in which requests came.
    const topics = request.topicData.map(({ name, partitionData }) => {
      const topic = context.broker.topics.get(name);
      const partitions = partitionData.map(({ index, records }) =>
        append(topic, name, index, records, request.transactionalId, acks, context),
      );
      return { name, partitions };
    });
    const throttleTimeMs = context.quota.charge("producer_byte_rate", recordBytes(request));
    if (acks === 0) {
      const refused = topics.flatMap(({ partitions }) => partitions).find(({ kind }) => kind === "refused");
      if (refused?.kind === "refused") context.closeConnection(`produce with acks=0 failed: ${refused.error}`);
      return null;
    }
    return respond(topics, throttleTimeMs, context);
  },

  errorResponse(request, errorCode, context) {
    if (request.acks === 0) {
      context.closeConnection(`produce with acks=0 failed with error ${errorCode}`);
      return null;
    }
    return {
      responses: request.topicData.map(({ name, partitionData }) => ({
        name,
        partitionResponses: partitionData.map(({ index }) => ({ index, errorCode, baseOffset: -1n })),
      })),
    };
  },

  parted: {
    namesPartitions: true,
    select(request, keep) {
      const topicData = selectPartitions(
        request.topicData,
        {
          name: ({ name }) => name,
          partitions: ({ partitionData }) => partitionData,
          index: ({ index }) => index,
          withPartitions: (topic, partitionData) => ({ ...topic, partitionData }),
        },
        keep,
      );
      return topicData === null ? null : { ...request, topicData };
    },
    join: (first, second) => ({ ...first, responses: [...first.responses, ...second.responses] }),
  },
});

function append(
  topic: Topic | undefined,
  name: string,
  index: number,
  batch: Buffer | null,
  transactionalId: string | null,
  acks: number,
  context: RequestContext,
): Appended {
  try {
    context.access.expect("WRITE", "TOPIC", name);
    if (topic === undefined) throw new KafkaError("UNKNOWN_TOPIC_OR_PARTITION", `there is no topic ${name}`);
    if (topic.isInternal) throw new KafkaError("INVALID_TOPIC_EXCEPTION", `topic ${name} is the broker's own`);
    if (transactionalId !== null) throw new KafkaError("INVALID_TXN_STATE", "this broker has no transactions");
    if (batch === null || batch.length === 0) throw new KafkaError("INVALID_RECORD", "there is no record batch");
    checkCompression(batch, context.version);
    return { kind: "appended", index, log: topic.partition(index), result: topic.append(index, batch, { acks }) };
  } catch (error) {
    return { kind: "refused", index, error };
  }
}

function recordBytes({ topicData }: RequestOf<typeof produceApi>): number {
  let sizeBytes = 0;
  for (const { partitionData } of topicData) {
    for (const { records } of partitionData) sizeBytes += records?.length ?? 0;
  }
  return sizeBytes;
}

function checkCompression(batch: Buffer, version: number): void {
  if (version >= ZSTD_SINCE_VERSION || batch.length < ATTRIBUTES_AT + 2) return;
  if ((batch.readInt16BE(ATTRIBUTES_AT) & COMPRESSION_MASK) !== ZSTD) return;
  throw new KafkaError("UNSUPPORTED_COMPRESSION_TYPE", `zstd needs Produce v${ZSTD_SINCE_VERSION} or newer`);
}

async function respond(
  topics: readonly { readonly name: string; readonly partitions: readonly Appended[] }[],
  throttleTimeMs: number,
  context: RequestContext,
) {
  const responses = [];
  for (const { name, partitions } of topics) {
    const partitionResponses = [];
    for (const appended of partitions) partitionResponses.push(await settle(name, appended, context));
    responses.push({ name, partitionResponses });
  }
  return { responses, throttleTimeMs };
}

async function settle(name: string, appended: Appended, context: RequestContext) {
  const { index } = appended;
  try {
    if (appended.kind === "refused") throw appended.error;
    const { log, result } = appended;
    await result.acknowledged;
    return {
      index,
      errorCode: NO_ERROR,
      baseOffset: result.baseOffset,
      logAppendTimeMs: result.logAppendTimeMs,
      logStartOffset: log.logStartOffset,
    };
  } catch (error) {
    const errorCode = errorNumberOf(error, `produce to ${name}-${index}`, context.broker.logger);
    const errorMessage = errorMessageOf(error);
    const refusedIndexes = error instanceof RefusedRecordsError ? error.indexes : [];
    const recordErrors = refusedIndexes.map((batchIndex) => ({ batchIndex, batchIndexErrorMessage: errorMessage }));
    return { index, errorCode, baseOffset: -1n, recordErrors, errorMessage };
  }
}

/** Of the versions that are only refused, as far as an answer needs them. */
const retiredProduceApi = defineApi({
  key: produceApi.key,
  name: produceApi.name,
  versions: [0, FIRST_SERVED_VERSION - 1],
  flexibleSince: "never",
  request: {
    acks: int16(),
    timeoutMs: int32(),
    topicData: array(
      struct({ name: string(), partitionData: array(struct({ index: int32(), records: records().nullable() })) }),
    ),
  },
  response: {
    responses: array(
      struct({
        name: string(),
        partitionResponses: array(
          struct({
            index: int32(),
            errorCode: int16(),
            baseOffset: int64().default(-1n),
            logAppendTimeMs: int64().since(2).default(-1n),
          }),
        ),
      }),
    ),
    throttleTimeMs: int32().since(1).default(0),
  },
});

const retiredHandler = defineHandler({
  api: retiredProduceApi,
  versions: [0, FIRST_SERVED_VERSION - 1],
  isPipelined: true,

  handle(_request, { version }) {
    throw new KafkaError("UNSUPPORTED_VERSION", `Produce v${version} is no longer served`);
  },

  errorResponse(request, errorCode, context) {
    if (request.acks === 0) {
      context.closeConnection(`produce with acks=0 failed with error ${errorCode}`);
      return null;
    }
    return {
      responses: request.topicData.map(({ name, partitionData }) => ({
        name,
        partitionResponses: partitionData.map(({ index }) => ({ index, errorCode })),
      })),
    };
  },
});

export const produceHandler: Handler = {
  ...servedHandler,
  versions: { min: retiredHandler.versions.min, max: servedHandler.versions.max },
  answer(reader, correlationId, context) {
    const handler = context.version < FIRST_SERVED_VERSION ? retiredHandler : servedHandler;
    return handler.answer(reader, correlationId, context);
  },
};
