/** The answer to a produce request: its status, and its JSON written piece by piece, as a body may hold thousands of records. */

import { DeliveryError, DeliveryTimeoutError } from "@millrace/client";
import { errorByCode, KafkaError } from "@millrace/protocol";
import type { ProduceSettings } from "./produce-settings.ts";
import { type Failure, offsetAt, type RecordOutcomes, timestampAt } from "./record-outcomes.ts";
import type { ScannedRecords } from "./scanned-records.ts";
import { storedAnswer } from "./stored-answer.ts";

/** Records that stand one behind the other in a batch, so many on average, are quicker written as bytes than as text. */
const RUN_LENGTH = 16;

export interface ProduceAnswer {
  readonly status: number;
  readonly body: string | Buffer;
  /** None was stored, and the same request may work later. */
  readonly isRetriable: boolean;
}

export function produceAnswer(
  topic: string,
  settings: ProduceSettings,
  records: ScannedRecords,
  outcomes: RecordOutcomes,
): ProduceAnswer {
  const { failedCount, storedCount } = outcomes;
  if (failedCount === 0 && !settings.isDetailed) {
    const isInRuns = !records.haveIds && outcomes.runCount() * RUN_LENGTH <= records.length;
    const body = isInRuns ? storedAnswer(outcomes) : `{"offsets":[${storedEntries(records, outcomes)}]}`;
    return { status: 200, body, isRetriable: false };
  }
  const entries = Array.from({ length: records.length }, (_, slot) =>
    outcomeEntry(records, slot, outcomes, settings.isDetailed),
  );
  const counts = `"topic":${JSON.stringify(topic)},"succeeded":${storedCount},"failed":${failedCount}`;
  const body = `{${counts},"offsets":[${entries.join(",")}]}`;
  if (storedCount > 0) return { status: failedCount > 0 && settings.isStrict ? 207 : 200, body, isRetriable: false };
  return { ...failedStatus(outcomes, settings.isStrict), body };
}

/** Of records that are all stored. Records of one batch have all but their offsets in common, mostly. */
function storedEntries(records: ScannedRecords, outcomes: RecordOutcomes): string {
  let json = "";
  let receipt = outcomes.receipt(0);
  let head = "";
  let baseOffset = -1;
  let timestamp = -1;
  let tail = "";
  for (let index = 0; index < records.length; index++) {
    const current = outcomes.receipt(index);
    const place = outcomes.place(index);
    if (current === null) continue;
    if (current !== receipt || index === 0) {
      receipt = current;
      head = `{"partition":${current.partition},"offset":`;
      // Exact up to 2^53 - 1; a log that has grown beyond it is written the slow way.
      baseOffset = Number.isSafeInteger(Number(current.baseOffset) + place) ? Number(current.baseOffset) : -1;
    }
    const recordTimestamp = timestampAt(current, place);
    if (recordTimestamp !== timestamp || index === 0) {
      timestamp = recordTimestamp;
      tail = timestamp < 0 ? "}" : `,"timestamp":${timestamp}}`;
    }
    const id = records.idOf(index);
    if (index > 0) json += ",";
    json += head + (baseOffset < 0 ? offsetAt(current, place) : baseOffset + place);
    json += id === null ? tail : `${tail.slice(0, -1)},"id":${id}}`;
  }
  return json;
}

/** One record's entry, whatever became of it. firstIndex: of the first record that the outcomes are about. */
export function outcomeEntry(
  records: ScannedRecords,
  slot: number,
  outcomes: RecordOutcomes,
  isDetailed: boolean,
  firstIndex = 0,
): string {
  const index = firstIndex + slot;
  const failure = outcomes.failure(slot);
  if (failure !== null) return failedEntry(failure, records, slot, index);
  const receipt = outcomes.receipt(slot);
  if (receipt === null) return "null";
  const place = outcomes.place(slot);
  const timestamp = timestampAt(receipt, place);
  let entry = `{"partition":${receipt.partition},"offset":${offsetAt(receipt, place)}`;
  if (timestamp >= 0) entry += `,"timestamp":${timestamp}`;
  const id = records.idOf(slot);
  if (id !== null) entry += `,"id":${id}`;
  if (!isDetailed) return `${entry}}`;
  const [keySizeBytes, valueSizeBytes] = records.sizesOf(slot);
  return `${entry},"index":${index},"serializedKeySize":${keySizeBytes},"serializedValueSize":${valueSizeBytes}}`;
}

/** index: what the answer calls the record. */
export function failedEntry(failure: Failure, records: ScannedRecords, slot: number, index = slot): string {
  const isOnItsWay = failure instanceof KafkaError;
  const message = isOnItsWay ? `append to topic: ${failure.message}` : failure.message;
  const entry = {
    partition: records.partitionOf(slot) ?? partitionOf(failure) ?? -1,
    offset: -1,
    error: `record ${index}: ${message}`,
    code: failure.code,
    retriable: isOnItsWay && failure.retriable,
    persisted: isOnItsWay ? failure.persisted : "no",
    index,
  };
  const json = JSON.stringify(entry);
  const id = records.idOf(slot);
  return id === null ? json : `${json.slice(0, -1)},"id":${id}}`;
}

/** Of a failure that came once it was clear where the record goes. */
function partitionOf(failure: Failure): number | null {
  return failure instanceof DeliveryError || failure instanceof DeliveryTimeoutError ? failure.partition : null;
}

/** Codes by which a record fails for what it is: it will fail again, and others beside it need not. */
const contentCodes: ReadonlySet<string> = new Set([
  "SERIALIZATION_FAILED",
  "INVALID_PARTITIONS",
  "MESSAGE_TOO_LARGE",
  "RECORD_LIST_TOO_LARGE",
  "INVALID_RECORD",
  "INVALID_TIMESTAMP",
  "CORRUPT_MESSAGE",
]);

/** The failure that is not the records' own fault: of brokers, buffer or time. Null if there is none. */
export function causeOf(outcomes: RecordOutcomes): KafkaError | null {
  for (const failure of outcomes.failures()) {
    if (failure instanceof KafkaError && !contentCodes.has(failure.code)) return failure;
  }
  return null;
}

/** The status when no record was stored. */
export function failedStatus(
  outcomes: RecordOutcomes,
  isStrict: boolean,
): { readonly status: number; readonly isRetriable: boolean } {
  const cause = causeOf(outcomes);
  if (cause === null) {
    const isTooLarge = [...outcomes.failures()].every(({ code }) => code === "MESSAGE_TOO_LARGE");
    return { status: !isStrict ? 200 : isTooLarge ? 413 : 422, isRetriable: false };
  }
  const { httpStatus } = errorByCode(cause.code);
  const status = httpStatus >= 500 || httpStatus === 403 || httpStatus === 429 ? httpStatus : 503;
  return { status, isRetriable: status === 503 || status === 504 || status === 429 };
}
