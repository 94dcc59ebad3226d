/**
 * How small each codec makes record batches of real records, and how fast: `node bench/compression.mjs FILE…`
 *
 * A record is a line of the file (.gz is unpacked first); no keys. Megabytes are of what goes in, for a second of
 * processor time. Build first.
 */

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";
import { compressionTypes, compressSync, decompress, loadCodec, RecordBatchBuilder } from "@millrace/protocol";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    "batch-bytes": { type: "string", default: "16384,65536,262144" },
    seconds: { type: "string", default: "0.5" },
  },
});
const measuredMs = Number(values.seconds) * 1000;
const LIMIT_BYTES = 64 * 1024 * 1024;

if (positionals.length === 0) {
  console.error("compression: which file? node bench/compression.mjs examples/earthquakes.ndjson");
  process.exitCode = 2;
}
for (const path of positionals) await measureFile(path);

async function measureFile(path) {
  const bytes = readFileSync(path);
  const lines = (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString().split("\n").filter(Boolean);
  const meanBytes = Math.round(Buffer.byteLength(lines.join("")) / lines.length);
  console.log(
    `### ${basename(path)}: ${lines.length} records of ${meanBytes} B on average; Node ${process.versions.node}\n`,
  );
  console.log("| codec | batch | makes 100 B into | compress MB/s | decompress MB/s |");
  console.log("|---|---|---|---|---|");
  for (const type of compressionTypes) {
    if (type === "none") continue;
    await loadCodec(type);
    for (const batchBytes of values["batch-bytes"].split(",").map(Number)) measureCodec(type, lines, batchBytes);
  }
  console.log();
}

function measureCodec(type, lines, batchBytes) {
  const batches = batchesOf(lines, batchBytes);
  const compressed = batches.map((batch) => compressSync(type, batch));
  const share = sum(compressed) / sum(batches);
  const compressSpeed = speedOf(batches, (batch) => compressSync(type, batch), batches);
  const decompressSpeed = speedOf(compressed, (batch) => decompress(type, batch, LIMIT_BYTES), batches);
  console.log(
    `| ${type} | ${batchBytes / 1024} KiB | ${(100 * share).toFixed(0)} B | ${compressSpeed} | ${decompressSpeed} |`,
  );
}

/** The records' part of batches, as it is compressed. */
function batchesOf(lines, batchBytes) {
  const batches = [];
  let builder = new RecordBatchBuilder(Buffer.alloc(batchBytes));
  for (const line of lines) {
    if (builder.append(1_500_000_000_000, null, 0, line, null)) continue;
    batches.push(Buffer.from(builder.records));
    builder = new RecordBatchBuilder(Buffer.alloc(Math.max(batchBytes, 2 * line.length + 200)));
    builder.append(1_500_000_000_000, null, 0, line, null);
  }
  batches.push(Buffer.from(builder.records));
  return batches;
}

/** Megabytes of `counted` for a second of processor time, which what else the machine does disturbs less than the clock. */
function speedOf(batches, run, counted) {
  for (const batch of batches) run(batch);
  const before = process.cpuUsage();
  let cpuMicros = 0;
  let rounds = 0;
  for (; cpuMicros < measuredMs * 1000; rounds++) {
    for (const batch of batches) run(batch);
    const { user, system } = process.cpuUsage(before);
    cpuMicros = user + system;
  }
  return Math.round((rounds * sum(counted)) / cpuMicros);
}

function sum(buffers) {
  return buffers.reduce((bytes, buffer) => bytes + buffer.length, 0);
}
