/** `npm run bench -- SCENARIO`: clients take turns, each measurement in a process of its own; a table at the end. */

import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { describeMachine, measure, median, whole } from "./measure.mjs";
import { batches } from "./scenarios/batches.mjs";
import { runBroker } from "./scenarios/broker.mjs";
import { runHttp } from "./scenarios/http.mjs";
import { runMemory } from "./scenarios/memory.mjs";
import { singles } from "./scenarios/singles.mjs";
import { openTarget } from "./target.mjs";

const scenarios = { singles, batches };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    brokers: { type: "string", default: "embedded" },
    peers: { type: "string", default: "millrace,kafkajs" },
    callers: { type: "string", default: "1,100,1000" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "2.5" },
    warmup: { type: "string", default: "1" },
    partitions: { type: "string", default: "6" },
    json: { type: "string" },
    parts: { type: "string", default: "singles,paced,produce,consume,restart,topics" },
    "log-gib": { type: "string", default: "4.6" },
    only: { type: "string" },
    "gzip-level": { type: "string" },
    "push-seconds": { type: "string", default: "10" },
    rate: { type: "string", default: "2000" },
    "kafka-port": { type: "string", default: "29592" },
  },
});

const scenario = scenarios[positionals[0]];
if (positionals[0] === "broker") {
  await runBroker(values);
} else if (positionals[0] === "http") {
  await runHttp(values);
} else if (positionals[0] === "memory") {
  await runMemory(values);
} else if (scenario === undefined) {
  console.error(
    `bench: which scenario? one of: ${Object.keys(scenarios).join(", ")}, broker, http, memory (bench/README.md explains them)`,
  );
  process.exitCode = 2;
} else {
  await runScenario(scenario);
}

async function runScenario({ cases, run }) {
  const settings = {
    topic: "bench",
    partitions: Number(values.partitions),
    warmupMs: Number(values.warmup) * 1000,
    measuredMs: Number(values.seconds) * 1000,
    gzipLevel: values["gzip-level"] === undefined ? null : Number(values["gzip-level"]),
  };
  const peers = values.peers.split(",");
  const machine = describeMachine();
  console.log(`${positionals[0]} against ${values.brokers}; ${machine.cpu}, Node ${machine.node}, ${machine.os}\n`);

  const target = await openTarget(values.brokers, settings);
  const results = [];
  try {
    for (const specifics of cases(values)) {
      for (let round = 0; round < Number(values.rounds); round++) {
        for (const peer of peers) {
          const task = { ...settings, ...specifics, peer, brokers: target.address, run };
          const result = await measure(task, target);
          if (result !== null) results.push({ ...specifics, peer, round, ...result });
        }
      }
      showTable(specifics, peers, results);
    }
  } finally {
    await target.close();
  }
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify({ machine, settings: values, results }, null, 2)}\n`);
  }
}

function showTable(specifics, peers, results) {
  const shown = Object.entries(specifics).map(([name, value]) => `${name} ${value}`);
  console.log(`### ${shown.join(", ")}\n`);
  console.log("| client | records/s (lowest–highest) | CPU µs/record client, broker | p50 / p99 ms | RSS MB |");
  console.log("|---|---|---|---|---|");
  for (const peer of peers) {
    const rounds = results.filter(
      (result) => result.peer === peer && Object.entries(specifics).every(([name, value]) => result[name] === value),
    );
    if (rounds.length === 0) {
      console.log(`| ${peer} | cannot | | | |`);
      continue;
    }
    const of = (name) => rounds.map((round) => round[name]);
    const rates = of("recordsPerSecond");
    const brokerCpu = rounds[0].brokerCpuMicros === null ? "–" : median(of("brokerCpuMicros")).toFixed(2);
    const cells = [
      `${peer} ${rounds[0].version}`,
      `${whole(median(rates))} (${whole(Math.min(...rates))}–${whole(Math.max(...rates))})`,
      `${median(of("cpuMicros")).toFixed(2)}, ${brokerCpu}`,
      `${median(of("p50Ms")).toFixed(2)} / ${median(of("p99Ms")).toFixed(2)}`,
      whole(median(of("rssBytes")) / 1e6),
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
  console.log();
}
