/** What the `millrace log` commands take. */

import { defineOptions, flag } from "@millrace/base";

export const logVerifyOptions = defineOptions({
  records: flag({
    default: false,
    doc: "Decompresses and decodes every record too, which takes longer: a checksum says that a batch is as it was sent, not that it was sent in order.",
  }),
  json: flag({ default: false, doc: "Prints the report as one JSON object on stdout, for programs." }),
});
