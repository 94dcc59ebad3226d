/**
 * How fast the gateway checks JSON and finds its records, beside JSON.parse: `node bench/json.mjs`
 *
 * A body of 1,000 records of 100 bytes. Each is measured in short slices, turn by turn, after bodies that break off have
 * been seen: a compiler that has met those makes slower code of many a scanner. Build first.
 */

import { isUtf8 } from "node:buffer";
import { lastQuoteOf, skipValue } from "../packages/gateway/dist/json/scanner.js";
import { scanEnvelope } from "../packages/gateway/dist/produce-body.js";
import { event } from "./http/event.mjs";
import { median } from "./measure.mjs";

const RECORD_COUNT = 1_000;
const ROUNDS = 60;
const SLICE_MS = 20;

const records = Array.from({ length: RECORD_COUNT }, (_, index) => `{"value":${event(index)}}`);
const body = Buffer.from(`{"records":[${records.join(",")}]}`);

const contestants = {
  "JSON.parse, of bytes": (bytes) => JSON.parse(bytes.toString("utf8")),
  "skipValue: checked": (bytes) => isUtf8(bytes) && skipValue(bytes, 0, lastQuoteOf(bytes)),
  "scanEnvelope: checked, and where each record's parts are": (bytes) => scanEnvelope(bytes, RECORD_COUNT),
};

for (const run of Object.values(contestants)) for (let end = 1; end < 300; end++) breakOff(run, end);

const rates = new Map(Object.keys(contestants).map((name) => [name, []]));
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, run] of Object.entries(contestants)) rates.get(name).push(measure(run));
}

console.log(`Node ${process.versions.node}\n`);
console.log("| | records/s | MB/s | of JSON.parse |");
console.log("|---|---|---|---|");
const [parseRate] = [...rates.values()].map(median);
for (const [name, of] of rates) {
  const rate = median(of);
  const megabytes = Math.round((rate * body.length) / RECORD_COUNT / 1e6);
  console.log(`| ${name} | ${(rate / 1e6).toFixed(2)} M | ${megabytes} | ${(rate / parseRate).toFixed(2)} |`);
}

function breakOff(run, end) {
  try {
    run(body.subarray(0, end));
  } catch {
    // As it should.
  }
}

/** Records a second. */
function measure(run) {
  const startedMs = performance.now();
  let count = 0;
  do {
    run(body);
    count += 1;
  } while (performance.now() - startedMs < SLICE_MS);
  return (count * RECORD_COUNT * 1000) / (performance.now() - startedMs);
}
