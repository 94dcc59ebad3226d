/** Delimiters and separators: texts in which \n, \r, \t, \0 and \\ stand for what a shell cannot type well. */

import type { Option } from "@millrace/base";

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", "0": "\0", "\\": "\\" };

export function delimiter(spec: { readonly default: string; readonly doc: string }): Option<string> {
  return {
    ...spec,
    typeName: "text",
    check(value) {
      if (typeof value === "string" && value !== "") return value;
      throw new Error("must be a text that is not empty");
    },
    parse: unescapeText,
  };
}

function unescapeText(text: string): string {
  return text.replace(/\\([nrt0\\])/g, (_, letter: string) => ESCAPES[letter] ?? "");
}
