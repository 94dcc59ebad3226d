/** `--from`: where reading begins, in the four ways people think of it. */

import type { Option } from "@millrace/base";

export type StartPosition =
  | { readonly kind: "earliest" }
  | { readonly kind: "latest" }
  | { readonly kind: "offset"; readonly offset: bigint }
  /** So many records before the end. */
  | { readonly kind: "tail"; readonly recordCount: bigint }
  | { readonly kind: "time"; readonly timestampMs: number };

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** An option that keeps the text; parsePosition gives it its meaning. */
export function startPosition(spec: { readonly default: string; readonly doc: string }): Option<string> {
  return {
    ...spec,
    typeName: "earliest | latest | OFFSET | TIME",
    check(value) {
      const given = typeof value === "number" ? String(value) : value;
      if (typeof given === "string" && parsePosition(given, 0) !== null) return given;
      throw new Error(
        "must be earliest, latest, an offset (12), a time (2026-01-31T10:00Z, @1769853600000) or an age (10m)",
      );
    },
    parse: (given) => given,
  };
}

/** nowMs: what an age is counted back from, in ms since the epoch. Null if the text is none of the forms. */
export function parsePosition(text: string, nowMs: number): StartPosition | null {
  if (text === "earliest" || text === "latest") return { kind: text };
  if (/^\d{1,19}$/.test(text)) return { kind: "offset", offset: BigInt(text) };
  if (/^-\d{1,19}$/.test(text)) return { kind: "tail", recordCount: -BigInt(text) };
  if (/^@\d{1,15}$/.test(text)) return { kind: "time", timestampMs: Number(text.slice(1)) };
  const age = /^(\d{1,9})([smhd])$/.exec(text);
  if (age !== null) return { kind: "time", timestampMs: nowMs - Number(age[1]) * (UNIT_MS[age[2] ?? ""] ?? 0) };
  // Only ISO 8601: Date.parse alone would take "12 apples" for the year 2001.
  const timestampMs = /^\d{4}-\d{2}(-\d{2})?([T ]|$)/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(timestampMs) ? null : { kind: "time", timestampMs };
}
