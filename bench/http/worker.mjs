/** One measurement over HTTP: the client's side, in a process of its own. Talks to scenarios/http.mjs over IPC. */

import { event } from "./event.mjs";
import { startLoad } from "./load.mjs";

process.once("message", async (task) => {
  const tally = new Tally();
  const request = requestBytes(task);
  const stop = startLoad({ ...task, request }, tally);
  await sleep(task.warmupMs);
  const told = new Promise((resolve) => process.once("message", resolve));
  process.send("warm");
  await told;

  const startedMs = performance.now();
  tally.latenciesMs = [];
  await sleep(task.measuredMs);
  const latenciesMs = Float64Array.from(tally.latenciesMs).sort();
  const elapsedMs = performance.now() - startedMs;
  tally.isRunning = false;
  stop();
  process.send({
    recordsPerSecond: (latenciesMs.length * task.batch * 1000) / elapsedMs,
    recordCount: latenciesMs.length * task.batch,
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
  });
  process.disconnect();
});

class Tally {
  isRunning = true;
  latenciesMs = [];

  add(latencyMs) {
    this.latenciesMs.push(latencyMs);
  }
}

function requestBytes({ address, batch, query, isLines }) {
  const records = Array.from({ length: batch }, (_, index) => `{"value":${event(index)}}`);
  const body = isLines ? `${records.join("\n")}\n` : `{"records":[${records.join(",")}]}`;
  const type = isLines ? "application/x-ndjson" : "application/json";
  const head = [
    `POST /api/topics/bench/produce${query} HTTP/1.1`,
    `host: ${address}`,
    `content-type: ${type}`,
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`);
}

function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
