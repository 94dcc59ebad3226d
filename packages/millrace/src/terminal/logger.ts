/** Log lines of `serve`: pino's JSON, or on a terminal the same in words. */

import type { Logger } from "@millrace/base";
import { pino } from "pino";

export function createLogger(stderr: NodeJS.WriteStream, level: string): Logger {
  // Synchronous: the last line before a crash is the one that is needed.
  const destination = stderr.isTTY
    ? { write: (line: string) => stderr.write(readable(line)) }
    : pino.destination({ dest: 2, sync: true });
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
}

/** "10:00:00.123 warn  connection closed  reason=idle" */
function readable(line: string): string {
  const parsed: unknown = JSON.parse(line);
  if (typeof parsed !== "object" || parsed === null) return line;
  const { time, level, msg, ...fields } = parsed as Record<string, unknown>; // an object has keys of text
  const details = Object.entries(fields).map(
    ([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return `${[String(time).slice(11, 23), String(level).padEnd(5), msg, ...details].join(" ")}\n`;
}
