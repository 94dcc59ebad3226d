/** How long it may take to check a value, as far as its schema's keywords tell. */

import type { AnySchema } from "ajv";

/**
 * linear: no longer than a few times as long as to read it. growing: with the square of its length or more. unbounded: for
 * ever, for practical purposes, even if it is short.
 */
export const schemaCosts = ["linear", "growing", "unbounded"] as const;
export type SchemaCost = (typeof schemaCosts)[number];

export function worstOf(costs: readonly SchemaCost[]): SchemaCost {
  return schemaCosts.findLast((cost) => costs.includes(cost)) ?? "linear";
}

/** Takes properties that are named as keywords for keywords, which errs on the side of caution. */
export function costOf(schema: AnySchema): SchemaCost {
  const costs: SchemaCost[] = [];
  visit(schema, (keyword, value) => costs.push(keywordCost(keyword, value)));
  if (isManifold(schema)) costs.push("unbounded");
  return worstOf(costs);
}

function keywordCost(keyword: string, value: unknown): SchemaCost {
  switch (keyword) {
    case "pattern":
      return typeof value === "string" ? patternCost(value) : "linear";
    case "patternProperties":
      return isObject(value) ? worstOf(Object.keys(value).map(patternCost)) : "linear";
    case "uniqueItems":
      return value === true ? "growing" : "linear";
    default:
      return "linear";
  }
}

/**
 * A group that can repeat without end, and has in itself what can match in more than one way, may try all combinations:
 * (a+)+, (a|ab)*. So may references back to a group.
 */
export function patternCost(pattern: string): SchemaCost {
  const plain = pattern
    .replace(/\\[1-9k]/g, "(a+)+")
    .replace(/\\./gs, "x")
    .replace(/\[[^\]]*\]/g, "x");
  const groups: boolean[] = [];
  let isChoice = false;
  for (let index = 0; index < plain.length; index++) {
    const rest = plain.slice(index, index + REPEAT_CHARACTERS);
    if (rest.startsWith("(")) {
      groups.push(isChoice);
      isChoice = false;
    } else if (rest.startsWith(")")) {
      if (isChoice && ENDLESS.test(rest.slice(1))) return "unbounded";
      isChoice = (groups.pop() ?? false) || isChoice;
    } else if (rest.startsWith("|") || ENDLESS.test(rest)) isChoice = true;
  }
  return "growing";
}

/** What repeats without end what stands before it; a long number of times is as good. */
const ENDLESS = /^(?:[*+]|\{\d+,\}|\{(?:\d+,)?\d{2,}\})/;
const REPEAT_CHARACTERS = 16;

/** Definitions that hold the next one twice each double how many there are to check. */
const PARTS_LIMIT = 1_000;

/**
 * Whether definitions may hold themselves, or each other very often; references that are not to definitions of the same
 * schema are taken to.
 */
function isManifold(schema: AnySchema): boolean {
  const targets = new Map<string, string[]>();
  for (const [name, part] of [["#", withoutDefinitions(schema)] as const, ...definitionsOf(schema)]) {
    const references: string[] = [];
    visit(part, (keyword, value) => {
      if (keyword === "$dynamicRef" || keyword === "$recursiveRef") references.push("#");
      if (keyword === "$ref" && typeof value === "string") references.push(value);
    });
    targets.set(name, references);
  }
  const done = new Map<string, number>();
  const partCount = (name: string, above: ReadonlySet<string>): number => {
    const next = targets.get(name);
    if (next === undefined || above.has(name)) return Number.POSITIVE_INFINITY;
    const known = done.get(name);
    if (known !== undefined) return known;
    const inside = new Set([...above, name]);
    const count = next.reduce((sum, target) => sum + partCount(target, inside), 1);
    done.set(name, count);
    return count;
  };
  return [...targets.keys()].some((name) => partCount(name, new Set()) > PARTS_LIMIT);
}

const DEFINITIONS = ["definitions", "$defs"] as const;

function definitionsOf(schema: AnySchema): [reference: string, schema: unknown][] {
  if (!isObject(schema)) return [];
  return DEFINITIONS.flatMap((place) => {
    const definitions = schema[place];
    if (!isObject(definitions)) return [];
    return Object.entries(definitions).map(([name, part]): [string, unknown] => [`#/${place}/${name}`, part]);
  });
}

function withoutDefinitions(schema: AnySchema): unknown {
  if (!isObject(schema)) return schema;
  return Object.fromEntries(Object.entries(schema).filter(([name]) => !DEFINITIONS.some((place) => place === name)));
}

function visit(part: unknown, onMember: (name: string, value: unknown) => void): void {
  if (Array.isArray(part)) for (const item of part) visit(item, onMember);
  if (!isObject(part)) return;
  for (const [name, value] of Object.entries(part)) {
    onMember(name, value);
    visit(value, onMember);
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
