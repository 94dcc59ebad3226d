/** Forms of what JSON has a word for: null, true, false. */

import { type AvroForm, expected } from "./avro-form.ts";

export const nullForm: AvroForm = {
  name: "null",
  fits: (json) => json.kind === "null",
  write(json) {
    if (json.kind !== "null") throw expected(nullForm, json);
    json.skip();
  },
  read: () => "null",
};

export const booleanForm: AvroForm = {
  name: "boolean",
  fits: (json) => json.kind === "boolean",
  write(json, out) {
    if (json.kind !== "boolean") throw expected(booleanForm, json);
    out.byte(json.boolean() ? 1 : 0);
  },
  read: (bytes) => (bytes.boolean() ? "true" : "false"),
};
