/** Help texts, written from the same tables that read the flags: an example first, then what can be set. */

import { flagName, type Option } from "@millrace/base";
import type { CommandGroup, CommandSpec, Example, OptionSection } from "./spec.ts";

const DEFAULT_COLUMNS = 100;
const MAX_COLUMNS = 120;
const MIN_COLUMNS = 60;
const INDENT = "  ";
const DEEP_INDENT = "        ";

export function renderHelp(spec: CommandSpec, columns?: number): string {
  const width = textWidth(columns);
  const lines = [
    ...renderExamples(spec.examples),
    "",
    ...wrapped(spec.summary, "", width),
    "",
    `Usage: ${usage(spec)}`,
    "",
  ];
  for (const operand of spec.operands) {
    lines.push(`${INDENT}${operand.name}${operand.isMany === true ? "…" : ""}`);
    lines.push(...wrapped(operand.doc, DEEP_INDENT, width));
  }
  if (spec.operands.length > 0) lines.push("");
  for (const section of sectionsOf(spec)) lines.push(...renderSection(spec, section, width), "");
  for (const note of spec.notes ?? []) lines.push(...wrapped(note, "", width), "");
  return lines.join("\n");
}

export function renderGroupHelp(group: CommandGroup, columns?: number): string {
  const width = textWidth(columns);
  const name = group.name === "" ? "millrace" : `millrace ${group.name}`;
  const names = Object.keys(group.commands);
  const nameWidth = Math.max(...names.map((command) => command.length));
  const lines = [
    ...renderExamples(group.examples),
    "",
    ...wrapped(group.summary, "", width),
    "",
    `Usage: ${name} COMMAND [options]`,
    "",
    "Commands:",
  ];
  for (const [command, entry] of Object.entries(group.commands)) {
    lines.push(`${INDENT}${command.padEnd(nameWidth)}  ${entry.summary}`);
  }
  lines.push("", `${name} COMMAND --help shows what a command takes.`, "");
  for (const note of group.notes ?? []) lines.push(...wrapped(note, "", width), "");
  return lines.join("\n");
}

function renderExamples(examples: readonly Example[]): string[] {
  const commandWidth = Math.max(...examples.map((example) => example.command.length));
  return [
    examples.length === 1 ? "Example:" : "Examples:",
    ...examples.map(({ command, meaning }) => `${INDENT}${command.padEnd(commandWidth)}   # ${meaning}`),
  ];
}

function usage(spec: CommandSpec): string {
  const operands = spec.operands.map((operand) => {
    const name = operand.isMany === true ? `${operand.name}…` : operand.name;
    return operand.isOptional === true ? `[${name}]` : name;
  });
  return ["millrace", spec.name, ...operands, "[options]"].join(" ");
}

function sectionsOf(spec: CommandSpec): OptionSection[] {
  const given = spec.sections ?? [];
  const placed = new Set(given.flatMap((section) => section.options));
  const rest = Object.keys(spec.options.entries).filter((name) => !placed.has(name));
  return [{ title: "Options", options: rest }, ...given].filter((section) => section.options.length > 0);
}

function renderSection(spec: CommandSpec, section: OptionSection, width: number): string[] {
  const lines = [`${section.title}:`];
  for (const name of section.options) {
    const entry = spec.options.entries[name];
    if (entry === undefined || entry.isCodeOnly === true) continue;
    lines.push(`${INDENT}${flagName(name)}${entry.isBoolean === true ? "" : ` ${valueName(entry)}`}`);
    lines.push(...wrapped(entry.doc, DEEP_INDENT, width));
    const facts = [defaultOf(entry), `variable ${spec.variableOf(name)}`].filter((fact) => fact !== null);
    lines.push(`${DEEP_INDENT}[${facts.join(", ")}]`);
  }
  return lines;
}

function valueName(entry: Option<unknown>): string {
  if (entry.typeName.includes(" | ")) return entry.typeName.replaceAll(" | ", "|");
  return `<${entry.typeName}>`;
}

function defaultOf(entry: Option<unknown>): string | null {
  const value = entry.default;
  if (value === null || (Array.isArray(value) && value.length === 0)) return null;
  if (entry.isBoolean === true) return value === true ? "on; --no-… turns it off" : null;
  if (Array.isArray(value)) return `default ${value.join(",")}`;
  return `default ${typeof value === "string" ? shownText(value) : String(value)}`;
}

/** A newline shows as \n, as it is typed. */
function shownText(value: string): string {
  return JSON.stringify(value).slice(1, -1);
}

function textWidth(columns: number = DEFAULT_COLUMNS): number {
  return Math.min(Math.max(columns, MIN_COLUMNS), MAX_COLUMNS);
}

function wrapped(text: string, indent: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    if (line !== "" && indent.length + line.length + 1 + word.length > width) {
      lines.push(indent + line);
      line = "";
    }
    line = line === "" ? word : `${line} ${word}`;
  }
  return line === "" ? lines : [...lines, indent + line];
}
