/** What the `millrace topics` commands take. */

import { count, defineOptions, flag, list } from "@millrace/base";
import { connectionEntries, connectionRules } from "./connection.ts";
import { optional } from "./optional.ts";

const json = flag({ default: false, doc: "Prints JSON, for programs." });
const settings = {
  set: list({
    default: [],
    doc: "A setting of the topic, as retention.ms=86400000. May be given several times.",
  }),
};

export const topicsListOptions = defineOptions(
  {
    ...connectionEntries,
    internal: flag({ default: false, doc: "Shows topics that brokers keep for themselves too." }),
    json,
  },
  connectionRules,
);

export const topicsCreateOptions = defineOptions(
  {
    ...connectionEntries,
    partitions: optional(
      count({ default: 6, min: 1, doc: "How many partitions; without it, as many as the broker gives." }),
    ),
    replicationFactor: optional(
      count({
        default: 1,
        min: 1,
        max: 32_767,
        doc: "On how many brokers each record is kept; without it, the broker's default.",
      }),
    ),
    ...settings,
    ifNotExists: flag({ default: false, doc: "A topic that is there already is no error." }),
  },
  connectionRules,
);

export const topicsDescribeOptions = defineOptions({ ...connectionEntries, json }, connectionRules);

export const topicsAlterOptions = defineOptions(
  {
    ...connectionEntries,
    ...settings,
    unset: list({
      default: [],
      doc: "A setting that goes back to the broker's default, as retention.ms. May be given several times.",
    }),
    partitions: optional(
      count({ default: 1, min: 1, doc: "More partitions than there are. Keys move to other partitions by it." }),
    ),
  },
  connectionRules,
);

export const topicsDeleteOptions = defineOptions(
  {
    ...connectionEntries,
    ifExists: flag({ default: false, doc: "A topic that is not there is no error." }),
  },
  connectionRules,
);
