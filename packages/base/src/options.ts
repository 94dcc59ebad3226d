/**
 * Options, declared once: from one entry come the type, the default, the check, the flag, the environment variable, the
 * key in the config file and the row in docs/CONFIG.md.
 */

/** A wrong option. Its message names the option, what it was, and the rule. */
export class OptionError extends Error {
  override readonly name = "OptionError";
  readonly code = "INVALID_CONFIG";
  readonly option: string;

  constructor(option: string, message: string) {
    super(message);
    this.option = option;
  }
}

/** One option. T is the type that a resolved table has for it. */
export interface Option<T> {
  readonly doc: string;
  readonly default: T;
  /** What a reader of the docs sees as the type: "milliseconds", "none | gzip". */
  readonly typeName: string;
  /** Kafka's name for it: "linger.ms". */
  readonly kafka?: string;
  /** Other names that are accepted for it. */
  readonly aliases?: readonly string[];
  /** A boolean's flag takes no value. */
  readonly isBoolean?: boolean;
  /** Not to be printed. */
  readonly isSecret?: boolean;
  /** Given in code only: has no flag and no environment variable. */
  readonly isCodeOnly?: boolean;
  /** Returns the value or throws a sentence that ends "… must be …". */
  check(value: unknown): T;
  /** Reads the text of a flag or variable; what it gives goes through check. */
  parse(text: string): unknown;
}

interface Common<T> {
  readonly default: T;
  readonly doc: string;
  readonly kafka?: string;
  readonly aliases?: readonly string[];
  readonly isSecret?: boolean;
}

interface NumberLimits {
  readonly min?: number;
  readonly max?: number;
}

function option<T>(
  common: Common<T>,
  rest: Pick<Option<T>, "typeName" | "check" | "parse"> & Partial<Option<T>>,
): Option<T> {
  return { ...common, ...rest };
}

function numberOption(typeName: string, isWhole: boolean, spec: Common<number> & NumberLimits): Option<number> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = spec;
  const bounds = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `from ${min} to ${max}`;
  return option(spec, {
    typeName,
    check(value) {
      if (typeof value === "number" && value >= min && value <= max && (!isWhole || Number.isInteger(value)))
        return value;
      throw new Error(`must be ${isWhole ? "a whole number" : "a number"}, ${bounds}`);
    },
    parse: (text) => (text.trim() === "" ? Number.NaN : Number(text)),
  });
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1024,
  kib: 1024,
  m: 1024 ** 2,
  mib: 1024 ** 2,
  g: 1024 ** 3,
  gib: 1024 ** 3,
};

/** A duration in milliseconds. */
export const millis = (spec: Common<number> & NumberLimits) => numberOption("milliseconds", false, spec);
/** A number of bytes; as text also "16MiB", "512k". */
export const sizeBytes = (spec: Common<number> & NumberLimits): Option<number> => ({
  ...numberOption("bytes", true, spec),
  parse(text) {
    const match = /^\s*(\d+)\s*([a-z]*)\s*$/i.exec(text);
    const unit = SIZE_UNITS[match?.[2]?.toLowerCase() ?? ""];
    return match === null || unit === undefined ? Number.NaN : Number(match[1]) * unit;
  },
});
/** A whole number. */
export const count = (spec: Common<number> & NumberLimits) => numberOption("number", true, spec);

export function flag(spec: Common<boolean>): Option<boolean> {
  return option(spec, {
    typeName: "true | false",
    isBoolean: true,
    check(value) {
      if (typeof value === "boolean") return value;
      throw new Error("must be true or false");
    },
    parse: (text) => (text === "true" || text === "1" ? true : text === "false" || text === "0" ? false : text),
  });
}

export function text<T extends string | null = string>(spec: Common<T> & { readonly typeName?: string }): Option<T> {
  return option(spec, {
    typeName: spec.typeName ?? "text",
    check(value) {
      if ((typeof value === "string" && value !== "") || value === spec.default) return value as T; // T is string, or string | null with null as its default
      throw new Error("must be a text that is not empty");
    },
    parse: (given) => given,
  });
}

export function choice<const Choices extends readonly string[]>(
  choices: Choices,
  spec: Common<Choices[number]>,
): Option<Choices[number]> {
  return option(spec, {
    typeName: choices.join(" | "),
    check(value) {
      const found = choices.find((candidate) => candidate === value);
      if (found !== undefined) return found;
      throw new Error(`must be one of ${choices.join(", ")}`);
    },
    parse: (given) => given,
  });
}

/** What each text of a list has to be. */
interface ItemRule {
  /** "must be …" */
  readonly rule: string;
  accepts(item: string): boolean;
}

/** A list of texts; as text, or given as one text, separated by commas. */
export function list(spec: Common<readonly string[]> & { readonly items?: ItemRule }): Option<readonly string[]> {
  const { items, ...common } = spec;
  return option(common, {
    typeName: "list, separated by commas",
    check(value) {
      const texts = typeof value === "string" ? splitList(value) : value;
      if (!Array.isArray(texts) || !texts.every((item) => typeof item === "string")) {
        throw new Error("must be a list of texts, or one text separated by commas");
      }
      if (items !== undefined && !texts.every((item) => items.accepts(item))) throw new Error(items.rule);
      return texts;
    },
    parse: splitList,
  });
}

/** Anything else, given in code only: a function, an object. accepts tells whether a value will do. */
export function code<T>(
  spec: Common<T> & { readonly typeName: string; readonly accepts: (value: unknown) => boolean },
): Option<T> {
  return option(spec, {
    typeName: spec.typeName,
    isCodeOnly: true,
    check(value) {
      if (value === spec.default || spec.accepts(value)) return value as T; // accepts is the check that T stands for
      throw new Error(`must be ${spec.typeName}`);
    },
    parse: (given) => given,
  });
}

function splitList(given: string): string[] {
  return given
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

export type OptionEntries = { readonly [name: string]: Option<unknown> };
export type OptionsOf<E extends OptionEntries> = { readonly [K in keyof E]: E[K] extends Option<infer T> ? T : never };

/** A rule across options. isKept: false for values that contradict each other. */
export interface OptionRule<E extends OptionEntries> {
  readonly option: keyof E & string;
  readonly rule: string;
  isKept(values: OptionsOf<E>): boolean;
}

export interface OptionTable<E extends OptionEntries> {
  readonly entries: E;
  /**
   * Fills in the defaults, checks every value and every rule, and returns a frozen copy; the input is left as it was.
   *
   * Throws OptionError for an unknown name (with the nearest known one), a wrong value or a broken rule.
   */
  resolve(input: Readonly<Record<string, unknown>>): OptionsOf<E>;
}

export function defineOptions<const E extends OptionEntries>(
  entries: E,
  rules: readonly OptionRule<E>[] = [],
): OptionTable<E> {
  const nameOf = new Map<string, string>();
  for (const [name, entry] of Object.entries(entries)) {
    for (const known of [name, ...(entry.aliases ?? [])]) nameOf.set(known, name);
  }
  return {
    entries,
    resolve(input) {
      const values: Record<string, unknown> = {};
      for (const [name, entry] of Object.entries(entries)) values[name] = entry.default;
      for (const [given, value] of Object.entries(input)) {
        const name = nameOf.get(given);
        const entry = name === undefined ? undefined : entries[name];
        if (name === undefined || entry === undefined) throw unknownOption(given, [...nameOf.keys()]);
        if (value !== undefined) values[name] = checkValue(entry, given, value);
      }
      const resolved = values as OptionsOf<E>; // every name has its default or what its own check returned
      for (const rule of rules) {
        if (!rule.isKept(resolved)) throw new OptionError(rule.option, `option ${rule.option}: ${rule.rule}`);
      }
      return Object.freeze(resolved);
    },
  };
}

function checkValue(entry: Option<unknown>, name: string, value: unknown): unknown {
  try {
    return entry.check(value);
  } catch (error) {
    const shown = entry.isSecret === true ? "(hidden)" : (JSON.stringify(value) ?? String(value));
    throw new OptionError(
      name,
      `option ${name} is ${shown}; it ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

function unknownOption(given: string, known: readonly string[]): OptionError {
  const nearest = nearestName(given, known);
  const hint = nearest === null ? "" : `; did you mean ${nearest}?`;
  return new OptionError(given, `there is no option ${given}${hint}`);
}

/** The known name that takes the fewest edits to reach, if it takes no more than a third of the length. */
export function nearestName(given: string, known: readonly string[]): string | null {
  let nearest: string | null = null;
  let fewest = Math.ceil(given.length / 3) + 1;
  for (const candidate of known) {
    const edits = editDistance(given.toLowerCase(), candidate.toLowerCase());
    if (edits < fewest) {
      fewest = edits;
      nearest = candidate;
    }
  }
  return nearest;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** "lingerMs" → "--linger-ms". */
export function flagName(name: string): string {
  return `--${kebab(name)}`;
}

/** "lingerMs" → "MILLRACE_LINGER_MS". */
export function environmentName(name: string): string {
  return `MILLRACE_${kebab(name).replaceAll("-", "_").toUpperCase()}`;
}

function kebab(name: string): string {
  return name.replace(/[A-Z]+/g, (upper) => `-${upper.toLowerCase()}`);
}
