/** The answer to a produce request: its status, and its JSON written piece by piece, as a body may hold thousands of records. */

import { RecordMetadata } from "@millrace/client";
import { errorByCode, type KafkaError } from "@millrace/protocol";
import { RecordFailure } from "./formats.ts";
import type { ScannedRecord } from "./produce-body.ts";
import type { ProduceSettings } from "./produce-settings.ts";
import type { RecordOutcome } from "./producer-context.ts";

export interface ProduceAnswer {
  readonly status: number;
  readonly body: string;
  readonly failedCount: number;
  /** None was stored, and the same request may work later. */
  readonly isRetriable: boolean;
}

export function produceAnswer(
  topic: string,
  settings: ProduceSettings,
  records: readonly ScannedRecord[],
  outcomes: readonly RecordOutcome[],
): ProduceAnswer {
  let failedCount = 0;
  let json = "";
  for (let index = 0; index < outcomes.length; index++) {
    const outcome = outcomes[index];
    const record = records[index];
    if (outcome === undefined || record === undefined) continue;
    if (index > 0) json += ",";
    if (outcome instanceof RecordMetadata) json += storedEntry(outcome, record, settings.isDetailed ? index : null);
    else {
      failedCount += 1;
      json += failedEntry(outcome, record, index);
    }
  }
  if (failedCount === 0 && !settings.isDetailed) {
    return { status: 200, body: `{"offsets":[${json}]}`, failedCount, isRetriable: false };
  }
  const counts = `"topic":${JSON.stringify(topic)},"succeeded":${outcomes.length - failedCount},"failed":${failedCount}`;
  const body = `{${counts},"offsets":[${json}]}`;
  if (failedCount < outcomes.length) {
    return { status: failedCount > 0 && settings.isStrict ? 207 : 200, body, failedCount, isRetriable: false };
  }
  return { ...failedStatus(outcomes, settings.isStrict), body, failedCount };
}

/** index: of a record whose details are wanted, else null. */
function storedEntry(metadata: RecordMetadata, record: ScannedRecord, index: number | null): string {
  const { partition, offset, timestamp } = metadata;
  let entry = `{"partition":${partition},"offset":${offset}`;
  if (timestamp >= 0) entry += `,"timestamp":${timestamp}`;
  if (record.id !== null) entry += `,"id":${record.id}`;
  if (index === null) return `${entry}}`;
  return `${entry},"index":${index},"serializedKeySize":${record.keySizeBytes},"serializedValueSize":${record.valueSizeBytes}}`;
}

function failedEntry(outcome: RecordFailure | KafkaError, record: ScannedRecord, index: number): string {
  const isContent = outcome instanceof RecordFailure;
  const message = isContent ? outcome.message : `append to topic: ${outcome.message}`;
  const entry = {
    partition: record.partition ?? -1,
    offset: -1,
    error: `record ${index}: ${message}`,
    code: outcome.code,
    retriable: isContent ? false : outcome.retriable,
    persisted: isContent ? "no" : outcome.persisted,
    index,
  };
  const json = JSON.stringify(entry);
  return record.id === null ? json : `${json.slice(0, -1)},"id":${record.id}}`;
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

function isContentFailure(outcome: RecordOutcome): boolean {
  return !(outcome instanceof RecordMetadata) && contentCodes.has(outcome.code);
}

/** The status when no record was stored. */
function failedStatus(
  outcomes: readonly RecordOutcome[],
  isStrict: boolean,
): { readonly status: number; readonly isRetriable: boolean } {
  const cause = outcomes.find((outcome): outcome is KafkaError => !isContentFailure(outcome) && "retriable" in outcome);
  if (cause === undefined) {
    const isTooLarge = outcomes.every((outcome) => "code" in outcome && outcome.code === "MESSAGE_TOO_LARGE");
    return { status: !isStrict ? 200 : isTooLarge ? 413 : 422, isRetriable: false };
  }
  const { httpStatus } = errorByCode(cause.code);
  const status = httpStatus >= 500 || httpStatus === 403 || httpStatus === 429 ? httpStatus : 503;
  return { status, isRetriable: status === 503 || status === 504 || status === 429 };
}
