/** What the `millrace log` commands take. */

import { defineOptions, flag } from "@millrace/base";

export const logVerifyOptions = defineOptions({
  json: flag({ default: false, doc: "Prints the report as one JSON object on stdout, for programs." }),
});
