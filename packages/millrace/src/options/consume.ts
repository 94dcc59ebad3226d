/** What `millrace consume` takes. */

import { choice, count, defineOptions, flag } from "@millrace/base";
import { connectionEntries, connectionRules } from "./connection.ts";
import { delimiter } from "./delimiter.ts";
import { optional } from "./optional.ts";
import { startPosition } from "./start-position.ts";

export const consumeOptions = defineOptions(
  {
    ...connectionEntries,
    from: startPosition({
      default: "earliest",
      doc: "Where to begin in each partition. OFFSET: a number; -100: a hundred records before the end. TIME: the first record of that time or later, as 2026-01-31, 2026-01-31T10:00:00Z, @1769853600000 (ms since 1970), or 10m, 2h, 3d for as long ago.",
    }),
    partition: optional(count({ default: 0, max: 2 ** 31 - 1, doc: "Only this partition; all of them without it." })),
    limit: optional(count({ default: 1, min: 1, doc: "Ends after so many records." })),
    follow: flag({ default: false, doc: "Goes on at the end, and waits for new records." }),
    format: choice(["text", "raw", "json"], {
      default: "text",
      doc: "text: the value, and on a terminal without control characters. raw: the value byte for byte, always. json: the whole record, a line each, as `produce --format ndjson` reads it.",
    }),
    delimiter: delimiter({ default: "\n", doc: "What follows each record in formats text and raw. \\0 for xargs -0." }),
    keySeparator: optional(
      delimiter({ default: ":", doc: "With format text: prints the key and this before each value." }),
    ),
  },
  connectionRules,
);
