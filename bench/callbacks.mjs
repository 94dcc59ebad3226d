/**
 * What the pool of callback objects is worth: `node bench/callbacks.mjs`
 *
 * Sends with onSuccess against the null broker, with and without `poolCallbacks`, in turn, each round in a process of its
 * own. Beside them the same sends without a callback. Build first.
 */

import { fork } from "node:child_process";
import { parseArgs } from "node:util";
import { Producer } from "@millrace/client";
import { openTarget } from "./target.mjs";

const TOPIC = "bench";
const CALLERS = 1_000;
const WARMUP_MS = 1_000;
const VARIANTS = ["pool", "no pool", "no callback"];

if (process.send === undefined) await compare();
else {
  process.once("message", async (task) => {
    process.send(await measure(task));
    process.disconnect();
  });
}

async function compare() {
  const { values } = parseArgs({
    options: { rounds: { type: "string", default: "5" }, seconds: { type: "string", default: "2.5" } },
  });
  const target = await openTarget("null", { topic: TOPIC, partitions: 6 });
  const results = new Map(VARIANTS.map((variant) => [variant, []]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const variant of VARIANTS) {
      const child = fork(new URL(import.meta.url), []);
      child.send({ variant, brokers: target.address, measuredMs: Number(values.seconds) * 1000 });
      results.get(variant).push(await new Promise((resolve) => child.once("message", resolve)));
      await new Promise((resolve) => child.once("exit", resolve));
    }
  }
  await target.close();
  console.log(`${CALLERS} callers, Node ${process.versions.node}; median (lowest–highest)\n`);
  console.log("| | records/s | CPU µs/record | collecting garbage, % of the time |\n|---|---|---|---|");
  for (const [variant, rounds] of results) {
    const cells = ["recordsPerSecond", "cpuMicros", "garbagePercent"].map((name) =>
      shown(rounds.map((round) => round[name])),
    );
    console.log(`| ${variant} | ${cells.join(" | ")} |`);
  }
}

async function measure({ variant, brokers, measuredMs }) {
  const producer = new Producer({ bootstrapServers: brokers, poolCallbacks: variant === "pool" });
  const record = { topic: TOPIC, value: Buffer.alloc(100, "v") };
  let recordCount = 0;
  let isDone = false;
  let garbageMs = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) garbageMs += entry.duration;
  }).observe({ entryTypes: ["gc"] });
  const onSuccess = () => {
    recordCount += 1;
  };
  const caller = async () => {
    while (!isDone) {
      if (variant === "no callback") await producer.send(record).then(onSuccess);
      else await producer.send(record, { onSuccess });
    }
  };
  const callers = Promise.all(Array.from({ length: CALLERS }, caller));
  await sleep(WARMUP_MS);
  recordCount = 0;
  garbageMs = 0;
  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  await sleep(measuredMs);
  const elapsedMs = performance.now() - startMs;
  const { user, system } = process.cpuUsage(cpuBefore);
  const result = {
    recordsPerSecond: Math.round((recordCount / elapsedMs) * 1000),
    cpuMicros: (user + system) / recordCount,
    garbagePercent: (100 * garbageMs) / elapsedMs,
  };
  isDone = true;
  await callers;
  await producer.close();
  return result;
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function shown(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const text = (number) => number.toLocaleString("en-US", { maximumFractionDigits: number < 100 ? 2 : 0 });
  return `${text(sorted[Math.floor(sorted.length / 2)])} (${text(sorted[0])}–${text(sorted.at(-1))})`;
}
