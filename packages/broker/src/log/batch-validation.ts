/** What a produced batch must be before it gets an offset, in the order and with the codes of Kafka. */

import {
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_AT,
  BATCH_MAGIC,
  BATCH_PREFIX_BYTES,
  type BatchHeader,
  type DecodedRecord,
  type ErrorCode,
  isBatchCrcValid,
  KafkaError,
  MAGIC_AT,
  readBatchHeader,
  readRecords,
} from "@millrace/protocol";
import type { LogSettings } from "./log-settings.ts";

/** A record of nothing: a byte each for its size, attributes, time, offset, and the sizes of key, value and headers. */
const RECORD_MIN_BYTES = 7;

/** Why a batch was refused for some of its records, which are named by their places in it (KIP-467). */
export class RefusedRecordsError extends KafkaError {
  override readonly name = "RefusedRecordsError";
  readonly indexes: readonly number[];

  constructor(code: ErrorCode, message: string, indexes: readonly number[]) {
    super(code, message);
    this.indexes = indexes;
  }
}

/** Who writes: a client over the wire, or the broker itself, which may write control batches and continue offsets. */
export type AppendOrigin = "client" | "coordinator";

/**
 * Checks one batch and returns its header. where: "orders-3", for the messages.
 *
 * Throws KafkaError: INVALID_RECORD, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, CORRUPT_MESSAGE, INVALID_TIMESTAMP.
 * Source: Kafka, UnifiedLog.analyzeAndValidateRecords and LogValidator.
 */
export function validateBatch(
  batch: Buffer,
  settings: LogSettings,
  origin: AppendOrigin,
  nowMs: number,
  where: string,
): BatchHeader {
  const header = readOneHeader(batch, where);
  if (origin === "client" && header.baseOffset !== 0n) {
    throw invalid("INVALID_RECORD", where, `base offset of a new batch is ${header.baseOffset}; it must be 0`);
  }
  if (batch.length > settings.maxMessageBytes) {
    throw invalid(
      "MESSAGE_TOO_LARGE",
      where,
      `record batch of ${batch.length} bytes; max.message.bytes is ${settings.maxMessageBytes}`,
    );
  }
  if (batch.length > settings.segmentBytes) {
    throw invalid(
      "RECORD_LIST_TOO_LARGE",
      where,
      `record batch of ${batch.length} bytes; segment.bytes is ${settings.segmentBytes}`,
    );
  }
  if (!isBatchCrcValid(batch)) {
    throw invalid("CORRUPT_MESSAGE", where, "the batch's checksum is not that of its bytes");
  }
  checkFields(header, origin, where);
  if (settings.messageTimestampType === "CreateTime") checkTimestamps(batch, header, settings, nowMs, where);
  if (settings.cleanupPolicy !== "delete" && !header.isControl) checkKeys(batch, where);
  return header;
}

function readOneHeader(batch: Buffer, where: string): BatchHeader {
  if (batch.length < BATCH_HEADER_BYTES) {
    throw invalid("CORRUPT_MESSAGE", where, `expected a record batch, found ${batch.length} bytes`);
  }
  const magic = batch.readInt8(MAGIC_AT);
  if (magic !== BATCH_MAGIC) throw invalid("INVALID_RECORD", where, `record batch format ${magic}; only 2 is taken`);
  const sizeBytes = batch.readInt32BE(BATCH_LENGTH_AT) + BATCH_PREFIX_BYTES;
  if (sizeBytes < BATCH_HEADER_BYTES || sizeBytes > batch.length) {
    throw invalid(
      "CORRUPT_MESSAGE",
      where,
      `a batch that gives its size as ${sizeBytes} came with ${batch.length} bytes`,
    );
  }
  if (sizeBytes < batch.length) {
    throw invalid("INVALID_RECORD", where, `expected one batch of ${sizeBytes} bytes, found ${batch.length} bytes`);
  }
  try {
    return readBatchHeader(batch);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new KafkaError("INVALID_RECORD", `${where}: ${reason}`, { cause });
  }
}

function checkFields(header: BatchHeader, origin: AppendOrigin, where: string): void {
  const { recordCount, lastOffsetDelta, producerId, producerEpoch, baseSequence } = header;
  if (recordCount <= 0 || recordCount !== lastOffsetDelta + 1) {
    throw invalid("INVALID_RECORD", where, `${recordCount} records with a last offset delta of ${lastOffsetDelta}`);
  }
  if (header.compression === "none" && recordCount * RECORD_MIN_BYTES > header.sizeBytes - BATCH_HEADER_BYTES) {
    const bytes = header.sizeBytes - BATCH_HEADER_BYTES;
    throw invalid("INVALID_RECORD", where, `${recordCount} records are said to be in ${bytes} bytes`);
  }
  if (origin === "coordinator") return;
  if (header.isControl) throw invalid("INVALID_RECORD", where, "clients may not write control batches");
  if (producerId >= 0n && (baseSequence < 0 || producerEpoch < 0)) {
    throw invalid(
      "INVALID_RECORD",
      where,
      `producer ${producerId} sent epoch ${producerEpoch} and sequence ${baseSequence}`,
    );
  }
  if (header.isTransactional) {
    throw invalid("INVALID_TXN_STATE", where, "the batch belongs to a transaction, and none was begun here");
  }
}

function checkTimestamps(
  batch: Buffer,
  header: BatchHeader,
  settings: LogSettings,
  nowMs: number,
  where: string,
): void {
  const { messageTimestampAfterMaxMs, messageTimestampBeforeMaxMs } = settings;
  const latestMs = messageTimestampAfterMaxMs >= 0 ? nowMs + messageTimestampAfterMaxMs : Number.POSITIVE_INFINITY;
  const earliestMs = messageTimestampBeforeMaxMs >= 0 ? nowMs - messageTimestampBeforeMaxMs : Number.NEGATIVE_INFINITY;
  const isAhead = (timestamp: bigint) => Number(timestamp) > latestMs;
  const isBehind = (timestamp: bigint) => timestamp >= 0n && Number(timestamp) < earliestMs;
  if (isAhead(header.maxTimestamp)) {
    throw new RefusedRecordsError(
      "INVALID_TIMESTAMP",
      `${where}: timestamp ${header.maxTimestamp} is more than ${messageTimestampAfterMaxMs} ms ahead of the broker's ${nowMs}`,
      indexesWhere(batch, where, ({ timestamp }) => isAhead(timestamp) || isBehind(timestamp)),
    );
  }
  if (isBehind(header.baseTimestamp)) {
    throw new RefusedRecordsError(
      "INVALID_TIMESTAMP",
      `${where}: timestamp ${header.baseTimestamp} is more than ${messageTimestampBeforeMaxMs} ms behind the broker's ${nowMs}`,
      indexesWhere(batch, where, ({ timestamp }) => isBehind(timestamp)),
    );
  }
}

/** Compaction keeps the last record of each key: a record without one could never go. */
function checkKeys(batch: Buffer, where: string): void {
  const indexes = indexesWhere(batch, where, ({ key }) => key === null);
  if (indexes.length === 0) return;
  const message = `${where}: every record of a compacted topic needs a key`;
  throw new RefusedRecordsError("INVALID_RECORD", message, indexes);
}

function indexesWhere(batch: Buffer, where: string, isRefused: (record: DecodedRecord) => boolean): number[] {
  try {
    return readRecords(batch).flatMap((record, index) => (isRefused(record) ? [index] : []));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new KafkaError("INVALID_RECORD", `${where}: ${reason}`, { cause });
  }
}

function invalid(code: ErrorCode, where: string, message: string): KafkaError {
  return new KafkaError(code, `${where}: ${message}`);
}
