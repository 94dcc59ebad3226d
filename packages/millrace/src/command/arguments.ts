/** Words, environment and config file, read into checked options: flag > environment > config file > default. */

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import {
  environmentName,
  flagName,
  nearestName,
  type Option,
  type OptionEntries,
  OptionError,
  type OptionsOf,
} from "@millrace/base";
import { CommandError, UsageError } from "./errors.ts";
import type { CommandSpec } from "./spec.ts";

export interface Arguments<E extends OptionEntries> {
  readonly wantsHelp: boolean;
  readonly operands: readonly string[];
  /** Reads and checks all sources. Throws UsageError, or CommandError for the config file. */
  options(): OptionsOf<E>;
}

/**
 * Sorts the words of a command line into flags and operands.
 *
 * Throws UsageError for an unknown flag (naming the nearest), a flag without its value, and too few or many operands;
 * none of these where `--help` is among the words.
 */
export function readArguments<E extends OptionEntries>(
  spec: CommandSpec<E>,
  words: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Arguments<E> {
  const { tokens } = parseArgs({
    args: [...words],
    options: parseArgsOptions(spec.options.entries),
    // Not strict, because parseArgs' own errors name neither the command nor the nearest flag.
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  if (tokens.some((token) => token.kind === "option" && token.name === "help")) {
    return { wantsHelp: true, operands: [], options: () => resolveOptions(spec, new Map(), environment) };
  }

  const flags = new Map<string, unknown>();
  const operands: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") operands.push(token.value);
    if (token.kind === "option") readFlag(spec, token, flags);
  }
  checkOperands(spec, operands);
  return { wantsHelp: false, operands, options: () => resolveOptions(spec, flags, environment) };
}

function parseArgsOptions(entries: OptionEntries): Record<string, { type: "string" | "boolean"; short?: string }> {
  const options: Record<string, { type: "string" | "boolean"; short?: string }> = {
    help: { type: "boolean", short: "h" },
  };
  for (const [name, entry] of flagsOf(entries)) {
    options[name] = { type: entry.entry.isBoolean === true ? "boolean" : "string" };
  }
  return options;
}

interface FlagEntry {
  readonly option: string;
  readonly entry: Option<unknown>;
}

/** Flag names without their dashes, aliases included, to the options they set. */
function flagsOf(entries: OptionEntries): Map<string, FlagEntry> {
  const flags = new Map<string, FlagEntry>();
  for (const [option, entry] of Object.entries(entries)) {
    if (entry.isCodeOnly === true) continue;
    for (const name of [option, ...(entry.aliases ?? [])]) flags.set(flagName(name).slice(2), { option, entry });
  }
  return flags;
}

interface OptionToken {
  readonly name: string;
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

function readFlag(spec: CommandSpec<OptionEntries>, token: OptionToken, flags: Map<string, unknown>): void {
  const known = flagsOf(spec.options.entries);
  const flag = known.get(token.name);
  if (flag === undefined) {
    const negated = token.name.startsWith("no-") ? known.get(token.name.slice(3)) : undefined;
    if (negated?.entry.isBoolean === true && token.value === undefined) {
      flags.set(negated.option, false);
      return;
    }
    throw unknownFlag(spec, token, [...known.keys()]);
  }
  const value = flag.entry.isBoolean === true ? (token.value ?? "true") : token.value;
  // A word with a dash in front is more likely the next flag than a value; "-1" and "-10m" are values.
  if (value === undefined || (token.inlineValue !== true && /^-[^\d]/.test(value))) {
    throw new UsageError(`${token.rawName} needs a value (${flag.entry.typeName}), as in ${token.rawName}=…`);
  }
  const checked = checkText(flag.entry, token.rawName, value);
  const earlier = flags.get(flag.option);
  const isRepeatedList = Array.isArray(earlier) && Array.isArray(checked);
  flags.set(flag.option, isRepeatedList ? [...earlier, ...checked] : checked);
}

function unknownFlag(spec: CommandSpec<OptionEntries>, token: OptionToken, known: readonly string[]): UsageError {
  const nearest = token.rawName.startsWith("--") ? nearestName(token.name, [...known, "help"]) : null;
  const hint = nearest === null ? `millrace ${spec.name} --help lists them` : `did you mean --${nearest}?`;
  return new UsageError(`there is no option ${token.rawName}; ${hint}`);
}

function checkOperands(spec: CommandSpec<OptionEntries>, operands: readonly string[]): void {
  const required = spec.operands.filter((operand) => operand.isOptional !== true);
  const missing = required[operands.length];
  if (missing !== undefined) {
    const example = spec.examples[0]?.command ?? `millrace ${spec.name}`;
    throw new UsageError(`${missing.name} is missing, as in: ${example}`);
  }
  const extra = operands[spec.operands.length];
  if (extra !== undefined && spec.operands.at(-1)?.isMany !== true) {
    throw new UsageError(`there is a word too many: ${extra}; millrace ${spec.name} --help shows what it takes`);
  }
}

function resolveOptions<E extends OptionEntries>(
  spec: CommandSpec<E>,
  flags: ReadonlyMap<string, unknown>,
  environment: Readonly<Record<string, string | undefined>>,
): OptionsOf<E> {
  const values: Record<string, unknown> = {};
  const sources = new Map<string, string>();
  const variables = readVariables(spec, environment);

  const configPath = flags.get("config") ?? variables.get("config");
  if (typeof configPath === "string") {
    for (const [name, value] of readConfigFile(spec, configPath)) {
      values[name] = value;
      sources.set(name, `${name} in ${configPath}`);
    }
  }
  for (const [name, value] of variables) {
    values[name] = value;
    sources.set(name, spec.variableOf(name));
  }
  for (const [name, value] of flags) {
    values[name] = value;
    sources.set(name, flagName(name));
  }

  try {
    return spec.options.resolve(values);
  } catch (error) {
    // Each value passed its own check above; what is left are the rules between options.
    if (!(error instanceof OptionError)) throw error;
    const rule = error.message.replace(`option ${error.option}`, sources.get(error.option) ?? flagName(error.option));
    throw new UsageError(rule);
  }
}

function readVariables(
  spec: CommandSpec<OptionEntries>,
  environment: Readonly<Record<string, string | undefined>>,
): Map<string, unknown> {
  const values = new Map<string, unknown>();
  for (const [name, entry] of Object.entries(spec.options.entries)) {
    if (entry.isCodeOnly === true) continue;
    const variable = spec.variableOf(name);
    const text = environment[variable];
    // An empty variable is how a shell or a container file says "not set".
    if (text !== undefined && text !== "") values.set(name, checkText(entry, variable, text));
  }
  return values;
}

/** The options in a JSON file. Throws CommandError, naming the file and the key. */
function readConfigFile(spec: CommandSpec<OptionEntries>, path: string): Map<string, unknown> {
  let given: unknown;
  try {
    given = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    // Kafka's own tool for topics takes settings by this name.
    if (path.includes("=") && "set" in spec.options.entries) {
      throw new UsageError(`--config is a file of options; a topic's settings are given with --set ${path}`);
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`the config file ${path} cannot be read: ${reason}`);
  }
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new CommandError(`the config file ${path} must hold one JSON object with option names as keys`);
  }
  const values = new Map<string, unknown>();
  const entries = Object.entries(spec.options.entries).filter(
    ([name, entry]) => !entry.isCodeOnly && name !== "config",
  );
  for (const [key, value] of Object.entries(given)) {
    const found = entries.find(([name, entry]) => name === key || entry.aliases?.includes(key) === true);
    if (found === undefined) {
      const nearest = nearestName(
        key,
        entries.map(([name]) => name),
      );
      const hint = nearest === null ? `millrace ${spec.name} --help lists them` : `did you mean ${nearest}?`;
      throw new CommandError(`the config file ${path} has the key ${key}, which is no option; ${hint}`);
    }
    const [name, entry] = found;
    values.set(name, checkGiven(entry, `${key} in the config file ${path}`, value, CommandError));
  }
  return values;
}

function checkText(entry: Option<unknown>, source: string, text: string): unknown {
  return checkGiven(entry, source, entry.parse(text), UsageError, text);
}

function checkGiven(
  entry: Option<unknown>,
  source: string,
  value: unknown,
  Failure: typeof CommandError,
  text: string = JSON.stringify(value),
): unknown {
  try {
    return entry.check(value);
  } catch (error) {
    const rule = error instanceof Error ? error.message : String(error);
    throw new Failure(`${source} is ${entry.isSecret === true ? "(hidden)" : text}; it ${rule}`);
  }
}

/** MILLRACE_ and the option's name: for options that mean the same wherever they are taken. */
export function sharedVariable(option: string): string {
  return environmentName(option);
}

/** MILLRACE_, the command's name and the option's: so that `format` of produce is not `format` of consume. */
export function ownVariable(command: string, option: string): string {
  const words = [...command.split(" "), option];
  return environmentName(words.map((word, index) => (index === 0 ? word : capitalized(word))).join(""));
}

function capitalized(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
