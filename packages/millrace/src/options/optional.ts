/** Options that may be left out. */

import { type Option, text } from "@millrace/base";

/** The same option with null as its default, for what has no value unless it is given. */
export function optional<T>(option: Option<T>): Option<T | null> {
  return { ...option, default: null, check: (value) => (value === null ? null : option.check(value)) };
}

/** The path of a file. */
export function file(doc: string, kafka?: string): Option<string | null> {
  return text<string | null>({ default: null, typeName: "file", doc, ...(kafka === undefined ? {} : { kafka }) });
}
