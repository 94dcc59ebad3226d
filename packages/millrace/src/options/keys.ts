/** What the `millrace keys` commands take. */

import { type Clock, DAY_MS, defineOptions, flag, HOUR_MS, list, MINUTE_MS, SECOND_MS, text } from "@millrace/base";
import { scopes } from "@millrace/gateway";
import { ownVariable, sharedVariable } from "../command/arguments.ts";

const dataDir = text({
  default: "./millrace-data",
  typeName: "folder",
  doc: "The data dir of the server, which may be running or not.",
});
const config = text<string | null>({
  default: null,
  typeName: "file",
  doc: "A JSON file with these options in camelCase as keys.",
});
const json = flag({ default: false, doc: "Prints JSON, for programs." });

export const keysCreateOptions = defineOptions({
  dataDir,
  scope: scopeList(),
  topicPrefix: list({
    default: [],
    doc: "What the topics begin with that the key may use, as orders.; without it, all topics. May be given several times.",
  }),
  name: text<string | null>({ default: null, doc: "For people: who uses it." }),
  expires: text<string | null>({
    default: null,
    typeName: "time",
    doc: "When it stops working: after a while, as 90d, 12h, 30m or 45s, or at a time, as 2027-01-31T00:00:00Z. Without it: never.",
  }),
  json,
  config,
});

export const keysListOptions = defineOptions({ dataDir, json, config });
export const keysRevokeOptions = defineOptions({ dataDir, config });

export function keysVariable(command: string): (option: string) => string {
  return (option) => (option === "dataDir" ? sharedVariable(option) : ownVariable(command, option));
}

const UNITS: Readonly<Record<string, number>> = { s: SECOND_MS, m: MINUTE_MS, h: HOUR_MS, d: DAY_MS };

/** Milliseconds since 1970; null if the text is neither a while nor a time to come. */
export function readExpiry(given: string, clock: Clock): number | null {
  const nowMs = clock.timestampMs();
  const match = /^(\d{1,6})([smhd])$/.exec(given);
  const atMs = match === null ? Date.parse(given) : nowMs + Number(match[1]) * (UNITS[match[2] ?? ""] ?? 0);
  return Number.isNaN(atMs) || atMs <= nowMs ? null : atMs;
}

function scopeList() {
  const option = list({
    default: ["produce"],
    doc: `What the key may do: ${scopes.join(", ")}. May be given several times.`,
  });
  return {
    ...option,
    typeName: scopes.join(" | "),
    check(value: unknown) {
      const given = option.check(value);
      const isKnown = given.every((scope) => scopes.some((known) => known === scope));
      if (isKnown && given.length > 0) return given;
      throw new Error(`must be one or more of ${scopes.join(", ")}`);
    },
  };
}
