/** The values of a measurement's records. */

import { readFileSync } from "node:fs";

const EVENTS_FILE = new URL("../examples/earthquakes.ndjson", import.meta.url);
const SINGLE_BYTES = 100;

/** One after the other, and from the first again: real events, no two alike, where the payload is "events"; else one value. */
export function recordValues(task) {
  if (task.payload !== "events") return [recordValue(task)];
  const lines = readFileSync(EVENTS_FILE, "utf8").split("\n").filter(Boolean);
  return lines.map((line) => Buffer.from(line));
}

export function recordValue({ valueBytes = SINGLE_BYTES, payload = "pattern" }) {
  if (payload === "json") return jsonValue(valueBytes);
  return Buffer.from("0123456789".repeat(Math.ceil(valueBytes / 10))).subarray(0, valueBytes);
}

/** A readable event, of the size asked for; compresses about as events do within a batch. */
function jsonValue(sizeBytes) {
  const readings = [];
  for (let index = 0; JSON.stringify({ readings }).length < sizeBytes - 40; index++) {
    readings.push({ sensor: `s-${(index * 7919) % 1000}`, celsius: ((index * 31) % 400) / 10 });
  }
  const text = JSON.stringify({ readings });
  return Buffer.from(text + " ".repeat(Math.max(0, sizeBytes - text.length)));
}
