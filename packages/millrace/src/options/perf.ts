/** What the `millrace perf` commands take. */

import { choice, count, defineOptions, flag, millis, sizeBytes } from "@millrace/base";
import { producerOptions } from "@millrace/client/internal";
import { connectionEntries, connectionRules } from "./connection.ts";
import { optional } from "./optional.ts";

const json = flag({ default: false, doc: "Prints the result as one JSON object on stdout, for programs." });

export const perfProduceOptions = defineOptions(
  {
    ...connectionEntries,
    records: count({ default: 100_000, min: 1, doc: "How many records are written." }),
    recordSize: sizeBytes({ default: 100, max: 64 * 1024 * 1024, doc: "Bytes of each value." }),
    concurrency: count({
      default: 1000,
      min: 1,
      max: 1_000_000,
      doc: "How many callers write, each waiting for one record's acknowledgement before it sends its next.",
    }),
    rate: optional(
      count({
        default: 1,
        min: 1,
        doc: "Records a second, sent when they are due whether or not earlier ones are acknowledged; the latency counts from when a record was due. At most --concurrency wait at a time.",
      }),
    ),
    compression: choice(["none", "gzip", "snappy", "lz4", "zstd"], {
      default: "none",
      kafka: "compression.type",
      doc: "How batches are compressed. The values are random letters: what real data gains has to be tried with real data.",
    }),
    acks: choice(["all", "1", "0"], { default: "all", kafka: "acks", doc: "What an acknowledgement means." }),
    lingerMs: millis({
      default: 0,
      kafka: "linger.ms",
      doc: "How long a record may wait for others to share its batch.",
    }),
    batchSize: producerOptions.entries.batchSize,
    json,
  },
  connectionRules,
);

export const perfConsumeOptions = defineOptions(
  {
    ...connectionEntries,
    records: optional(
      count({ default: 1, min: 1, doc: "Ends after so many records; without it, at the topic's end." }),
    ),
    json,
  },
  connectionRules,
);
