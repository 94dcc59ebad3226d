/** What `millrace produce` takes. */

import { choice, count, defineOptions, flag, list, millis, sizeBytes, text } from "@millrace/base";
import { connectionEntries, connectionRules } from "./connection.ts";
import { delimiter } from "./delimiter.ts";
import { optional } from "./optional.ts";

const valueFormats = ["json", "string", "binary"] as const;

export const produceOptions = defineOptions(
  {
    ...connectionEntries,
    format: choice(["lines", "ndjson", "raw"], {
      default: "lines",
      doc: "lines: each line is a value, byte for byte. ndjson: each line is a record as JSON. raw: each file is one value.",
    }),
    delimiter: delimiter({
      default: "\n",
      doc: "What ends a line, and is not part of the value. \\r\\n for files from Windows (otherwise the \\r is kept), \\0 for find -print0.",
    }),
    keySeparator: optional(
      delimiter({ default: ":", doc: "With lines: what stands before its first occurrence in a line is the key." }),
    ),
    key: text<string | null>({ default: null, doc: "The key of every record." }),
    headers: list({
      default: [],
      doc: "Headers of every record, as name=value; a name alone has a null value. May be given several times.",
    }),
    partition: optional(count({ default: 0, max: 2 ** 31 - 1, doc: "The partition of every record." })),
    keyFormat: choice(valueFormats, {
      default: "json",
      doc: "With ndjson: what key means where the record has no keyFormat. json: the JSON text itself; string: a text's bytes; binary: base64.",
    }),
    valueFormat: choice(valueFormats, {
      default: "json",
      doc: "With ndjson: what value means where the record has no valueFormat.",
    }),
    compression: choice(["none", "gzip", "snappy", "lz4", "zstd"], {
      default: "none",
      kafka: "compression.type",
      doc: "How batches are compressed.",
    }),
    acks: choice(["all", "1", "0"], {
      default: "all",
      kafka: "acks",
      doc: "all: acknowledged once it is safe. 1: once the leader has it. 0: not at all; what is lost is not noticed.",
    }),
    lingerMs: millis({
      default: 0,
      kafka: "linger.ms",
      doc: "How long a record may wait for others to share its batch.",
    }),
    maxRequestSize: sizeBytes({
      default: 1024 * 1024,
      min: 1,
      kafka: "max.request.size",
      doc: "Largest record that is sent. The broker has a limit of its own (message.max.bytes).",
    }),
    deliveryTimeoutMs: millis({
      default: 120_000,
      min: 1000,
      kafka: "delivery.timeout.ms",
      doc: "How long a record is tried before it counts as failed.",
    }),
    quiet: flag({ default: false, doc: "No progress bar and no counts; errors are still told." }),
  },
  [
    ...connectionRules,
    {
      option: "keySeparator",
      rule: "belongs to format lines, and goes with no key",
      isKept: (options) => options.keySeparator === null || (options.format === "lines" && options.key === null),
    },
  ],
);
