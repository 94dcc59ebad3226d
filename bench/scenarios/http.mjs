/**
 * The HTTP API, on disk before it answers, beside servers that do nothing with what they get; and, where there is a
 * Kafka, beside what is written by hand over it.
 */

import { fork } from "node:child_process";
import { createTopic } from "../target.mjs";

/** Script and arguments of each. */
const ceilings = { millrace: ["millrace"], fastify: ["fastify"], "node-http": ["node-http"] };

const cases = [
  { title: "singles, 64 connections", connections: 64, batch: 1, query: "" },
  { title: "singles, one connection", connections: 1, batch: 1, query: "" },
  { title: "singles on a schedule", connections: 64, batch: 1, query: "", isPaced: true },
  { title: "batches of 100, 4 connections", connections: 4, batch: 100, query: "" },
  { title: "batches of 1,000, 4 connections", connections: 4, batch: 1_000, query: "" },
  { title: "NDJSON of 1,000 lines, 4 connections", connections: 4, batch: 1_000, query: "", isLines: true },
  { title: "async batches of 1,000, 4 connections", connections: 4, batch: 1_000, query: "?async=true" },
];

/** Prints a table a case. Servers take turns, round by round; each measurement has a server and a client of its own. */
export async function runHttp({ rounds, seconds, warmup, only, rate, brokers, partitions }) {
  const servers = { ...ceilings, ...(brokers === "embedded" ? {} : await serversByHand(brokers, Number(partitions))) };
  const results = [];
  for (const { isPaced, ...specifics } of cases.filter(({ title }) => only === undefined || title.includes(only))) {
    const task = {
      ...specifics,
      ...(isPaced ? { requestsPerSecond: Number(rate), title: `${specifics.title}: ${rate} a second` } : {}),
      warmupMs: Number(warmup) * 1000,
      measuredMs: Number(seconds) * 1000,
    };
    for (let round = 0; round < Number(rounds); round++) {
      for (const [server, script] of Object.entries(servers)) {
        // They answer an async request when it is stored, as any other.
        if (script.length > 1 && specifics.query !== "") continue;
        results.push({ ...task, server, round, ...(await measure(task, script)) });
      }
    }
    showTable(task, Object.keys(servers), results);
  }
  return results;
}

async function serversByHand(brokers, partitions) {
  await createTopic(brokers, "bench", partitions);
  return { "fastify + kafkajs": ["fastify-client", "kafkajs", brokers] };
}

async function measure(task, [script, ...args]) {
  const server = fork(new URL(`../http/${script}.mjs`, import.meta.url), args, {
    // kafkajs sets timers with negative delays, which newer Nodes warn about.
    env: { ...process.env, NODE_NO_WARNINGS: "1", KAFKAJS_NO_PARTITIONER_WARNING: "1" },
  });
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

function showTable({ title }, servers, results) {
  console.log(`### ${title}\n`);
  console.log("| server | records/s (lowest–highest) | of Fastify | server CPU µs/record | p50 / p99 ms | RSS MB |");
  console.log("|---|---|---|---|---|---|");
  const rateOf = (name) => median(of(name, "recordsPerSecond"));
  const of = (name, field) =>
    results.filter((result) => result.title === title && result.server === name).map((result) => result[field]);
  for (const name of servers) {
    if (of(name, "server").length === 0) continue;
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
