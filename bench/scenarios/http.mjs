/** The HTTP API, on disk before it answers, beside servers that do nothing with what they get. */

import { fork } from "node:child_process";

const servers = ["millrace", "fastify", "node-http"];

const cases = [
  { title: "singles, 64 connections", connections: 64, batch: 1, query: "" },
  { title: "singles, one connection", connections: 1, batch: 1, query: "" },
  { title: "singles, 2,000 a second on a schedule", connections: 64, batch: 1, query: "", requestsPerSecond: 2_000 },
  { title: "batches of 100, 4 connections", connections: 4, batch: 100, query: "" },
  { title: "batches of 1,000, 4 connections", connections: 4, batch: 1_000, query: "" },
  { title: "NDJSON of 1,000 lines, 4 connections", connections: 4, batch: 1_000, query: "", isLines: true },
  { title: "async batches of 1,000, 4 connections", connections: 4, batch: 1_000, query: "?async=true" },
];

/** Prints a table a case. Servers take turns, round by round; each measurement has a server and a client of its own. */
export async function runHttp({ rounds, seconds, warmup, only }) {
  const results = [];
  for (const specifics of cases.filter(({ title }) => only === undefined || title.includes(only))) {
    for (let round = 0; round < Number(rounds); round++) {
      for (const server of servers) {
        const times = { warmupMs: Number(warmup) * 1000, measuredMs: Number(seconds) * 1000 };
        results.push({ ...specifics, server, round, ...(await measure({ ...specifics, ...times }, server)) });
      }
    }
    showTable(specifics, results);
  }
  return results;
}

async function measure(task, name) {
  const server = fork(new URL(`../http/${name}.mjs`, import.meta.url));
  const { address } = await nextMessage(server);
  const worker = fork(new URL("../http/worker.mjs", import.meta.url));
  worker.send({ ...task, address });
  await nextMessage(worker);
  const before = await ask(server, "cpu");
  const result = await ask(worker, "measure");
  const after = await ask(server, "cpu");
  server.send("close");
  await new Promise((resolve) => server.once("exit", resolve));
  const cpuMicros = (after.cpuMicros - before.cpuMicros) / result.recordCount;
  return { ...result, cpuMicros, rssBytes: after.rssBytes };
}

function ask(child, message) {
  const answer = nextMessage(child);
  child.send(message);
  return answer;
}

function nextMessage(child) {
  return new Promise((resolve, reject) => {
    const onExit = (code) => reject(new Error(`a process of the bench ended with exit code ${code}`));
    child.once("exit", onExit);
    child.once("message", (message) => {
      child.off("exit", onExit);
      resolve(message);
    });
  });
}

function showTable({ title }, results) {
  console.log(`### ${title}\n`);
  console.log("| server | records/s (lowest–highest) | of Fastify | server CPU µs/record | p50 / p99 ms | RSS MB |");
  console.log("|---|---|---|---|---|---|");
  const rateOf = (name) => median(of(name, "recordsPerSecond"));
  const of = (name, field) =>
    results.filter((result) => result.title === title && result.server === name).map((result) => result[field]);
  for (const name of servers) {
    const rates = of(name, "recordsPerSecond");
    const cells = [
      name,
      `${whole(median(rates))} (${whole(Math.min(...rates))}–${whole(Math.max(...rates))})`,
      `${Math.round((100 * rateOf(name)) / rateOf("fastify"))} %`,
      median(of(name, "cpuMicros")).toFixed(2),
      `${median(of(name, "p50Ms")).toFixed(2)} / ${median(of(name, "p99Ms")).toFixed(2)}`,
      whole(median(of(name, "rssBytes")) / 1e6),
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
  console.log();
}

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function whole(number) {
  return Math.round(number).toLocaleString("en-US");
}
