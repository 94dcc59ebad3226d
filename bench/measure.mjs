/** One measurement in a process of its own, and what all tables need. */

import { fork } from "node:child_process";
import { cpus, platform, release, totalmem } from "node:os";
import * as franzGo from "./peers/franz-go.mjs";

/** Peers that are no Node clients: programs that measure themselves. */
const programs = { "franz-go": franzGo };

/** One measurement in a process of its own; its CPU and memory are nobody else's. Null for what the client cannot do. */
export async function measure(task, target) {
  const program = programs[task.peer];
  if (program !== undefined) return { ...(await program.measure(task)), brokerCpuMicros: null };
  const worker = fork(new URL("worker.mjs", import.meta.url), {
    // kafkajs sets timers with negative delays, which newer Nodes warn about.
    env: { ...process.env, NODE_NO_WARNINGS: "1", KAFKAJS_NO_PARTITIONER_WARNING: "1" },
  });
  const ended = new Promise((resolve) => worker.once("exit", resolve));
  const next = () =>
    new Promise((resolve, reject) => {
      worker.once("message", resolve);
      void ended.then((code) => reject(new Error(`${task.peer} ended with exit code ${code}`)));
    });
  worker.send(task);
  const { version, isUnable } = await next(); // warm
  if (isUnable) return null;
  const brokerBefore = await target.cpuMicros();
  worker.send("measure");
  const result = await next();
  const brokerAfter = await target.cpuMicros();
  await ended;
  const brokerCpuMicros = brokerBefore === null ? null : (brokerAfter - brokerBefore) / result.recordCount;
  return { version, ...result, brokerCpuMicros };
}

/** Of an even number of them what lies between the two in the middle: the higher one would flatter. */
export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const above = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[above] : (sorted[above - 1] + sorted[above]) / 2;
}

export function whole(number) {
  return Math.round(number).toLocaleString("en-US");
}

export function describeMachine() {
  const processors = cpus();
  return {
    cpu: `${processors.length} × ${processors[0]?.model.trim()}`,
    memoryBytes: totalmem(),
    os: `${platform()} ${release()}`,
    node: process.versions.node,
  };
}
