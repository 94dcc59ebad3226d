/** What a produce request asks for besides its records: the query, checked, with the defaults filled in. */

import { type CompressionType, compressionTypes } from "@millrace/protocol";
import type { Static } from "typebox";
import { RequestError } from "./errors.ts";
import { type Format, formats, isSchemaFormat } from "./formats.ts";
import { Type } from "./json-schema.ts";
import { choiceOf, flagOf, isSet, numberOf, positiveOf } from "./schemas.ts";
import { TIME_MEANING } from "./timestamps.ts";

export const partitioners = ["default", "key_hash", "round_robin", "sticky"] as const;
export type PartitionerName = (typeof partitioners)[number];

export const produceQuery = Type.Object({
  "key.format": Type.Optional(choiceOf(formats, "How each key becomes bytes. Default: json.")),
  "value.format": Type.Optional(choiceOf(formats, "How each value becomes bytes. Default: json.")),
  "key.schema": Type.Optional(
    Type.String({
      minLength: 1,
      description: "For keys in avro or jsonschema format: what value.schema is for values.",
    }),
  ),
  "value.schema": Type.Optional(
    Type.String({
      minLength: 1,
      description:
        "For values in avro or jsonschema format: a subject of the schema registry, whose newest schema is taken; a schema's id; or a schema itself, as JSON, which is registered as <topic>-value.",
    }),
  ),
  compression: Type.Optional(
    choiceOf(compressionTypes, "How the record batches are compressed, as Kafka does it. Default: none."),
  ),
  acks: Type.Optional(
    choiceOf(
      ["all", "1"],
      "Who must have a record before it counts as stored: all in-sync replicas, or the leader alone. Default: all.",
    ),
  ),
  timeout_ms: Type.Optional(
    positiveOf("Longest wait for acknowledgements; what is not acknowledged by then is answered as failed."),
  ),
  atomic: Type.Optional(
    flagOf("Store all records or none. Possible for records that fit one batch of one partition; else 422."),
  ),
  partitioner: Type.Optional(
    choiceOf(
      partitioners,
      "Where records go that name no partition. default: by the key's hash as Java has it, without a key all to one partition until its batch is full. key_hash: as that, but a record without a key fails. round_robin: one after the other. sticky: as without a key.",
    ),
  ),
  details: Type.Optional(flagOf("Tell index and sizes of every record, not only what differs from success.")),
  status: Type.Optional(
    choiceOf(["strict"], "Answer 207 if some records failed, and 413, 422 or 5xx if all did, instead of 200."),
  ),
  results: Type.Optional(
    choiceOf(
      ["each"],
      "For NDJSON: answer with a line for each record, in their order, while records still come. A client that leaves 1 MiB of them unread is cut off.",
    ),
  ),
  raw: Type.Optional(
    flagOf(
      "The body is the value of one record, whatever its content type. header.NAME=value gives the record a header, as the header Kafka-Header-NAME does.",
    ),
  ),
  key: Type.Optional(Type.String({ description: "Of a raw body's record; else the header Kafka-Key." })),
  partition: Type.Optional(numberOf("Of a raw body's record.")),
  timestamp: Type.Optional(Type.String({ description: `Of a raw body's record: ${TIME_MEANING}.` })),
  async: Type.Optional(
    flagOf("Answer 202 as soon as the request is on disk, with a requestId to ask for the result with."),
  ),
});

export type ProduceQuery = Static<typeof produceQuery>;

export interface ProduceSettings {
  readonly keyFormat: Format;
  readonly valueFormat: Format;
  /** A subject, an id or a schema, as it was given. */
  readonly keySchema: string | null;
  readonly valueSchema: string | null;
  readonly compression: CompressionType;
  readonly acks: "all" | "1";
  /** Null: as long as the gateway's deliveryTimeoutMs. */
  readonly timeoutMs: number | null;
  readonly isAtomic: boolean;
  readonly partitioner: PartitionerName;
  readonly isDetailed: boolean;
  readonly isStrict: boolean;
  readonly isAsync: boolean;
  /** Each record's result as a line. */
  readonly isEach: boolean;
}

const defaults: ProduceSettings = {
  keyFormat: "json",
  valueFormat: "json",
  keySchema: null,
  valueSchema: null,
  compression: "none",
  acks: "all",
  timeoutMs: null,
  isAtomic: false,
  partitioner: "default",
  isDetailed: false,
  isStrict: false,
  isAsync: false,
  isEach: false,
};

/** Throws RequestError INVALID_PARAMETER for a format that lacks its schema. */
export function readProduceSettings(query: ProduceQuery): ProduceSettings {
  for (const _ in query) return withQuery(query);
  return defaults;
}

function withQuery(query: ProduceQuery): ProduceSettings {
  checkSchemaGiven(query, "key");
  checkSchemaGiven(query, "value");
  return {
    keyFormat: query["key.format"] ?? defaults.keyFormat,
    valueFormat: query["value.format"] ?? defaults.valueFormat,
    keySchema: query["key.schema"] ?? defaults.keySchema,
    valueSchema: query["value.schema"] ?? defaults.valueSchema,
    compression: query.compression ?? defaults.compression,
    acks: query.acks ?? defaults.acks,
    timeoutMs: query.timeout_ms === undefined ? null : Number(query.timeout_ms),
    isAtomic: isSet(query.atomic),
    partitioner: query.partitioner ?? defaults.partitioner,
    isDetailed: isSet(query.details),
    isStrict: query.status === "strict",
    isAsync: isSet(query.async),
    isEach: query.results === "each",
  };
}

function checkSchemaGiven(query: ProduceQuery, part: "key" | "value"): void {
  const field = `${part}.schema` as const;
  const format = query[`${part}.format`];
  if (!isSchemaFormat(format) || query[field] !== undefined) return;
  // The text is the document's own.
  throw new RequestError("INVALID_PARAMETER", `${field} required when ${part}.format=${format}`, {
    details: [{ field, message: `is required when ${part}.format=${format}` }],
  });
}
