/** One measurement: connects a client, warms it up, and measures when it is told to. Talks to bench.mjs over IPC. */

import { peers } from "./peers/index.mjs";

const drivers = {
  singles: () => import("./scenarios/singles.mjs"),
  batches: () => import("./scenarios/batches.mjs"),
  paced: () => import("./scenarios/paced.mjs"),
};

process.once("message", async (task) => {
  const { connect } = await peers[task.peer]();
  const { drive } = await drivers[task.run]();
  const peer = await connect(task);
  if (peer === null) {
    process.send({ isUnable: true });
    process.disconnect();
    return;
  }
  const tally = new Tally();
  const driving = drive(peer, task, tally);

  await sleep(task.warmupMs);
  const told = new Promise((resolve) => process.once("message", resolve));
  process.send({ version: peer.version });
  await told;

  const cpuBefore = process.cpuUsage();
  const startedMs = performance.now();
  tally.restart();
  await sleep(task.measuredMs);
  const { recordCount, latenciesMs } = tally.stop();
  const elapsedMs = performance.now() - startedMs;
  const cpu = process.cpuUsage(cpuBefore);
  const rssBytes = process.memoryUsage.rss();

  await driving;
  await peer.close();
  process.send({
    recordCount,
    recordsPerSecond: (recordCount / elapsedMs) * 1000,
    cpuMicros: (cpu.user + cpu.system) / recordCount,
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
    rssBytes,
  });
  process.disconnect();
});

/** What the drivers count into. */
class Tally {
  isRunning = true;
  #recordCount = 0;
  #latenciesMs = [];

  add(recordCount) {
    this.#recordCount += recordCount;
  }

  addLatency(latencyMs) {
    this.#latenciesMs.push(latencyMs);
  }

  restart() {
    this.#recordCount = 0;
    this.#latenciesMs = [];
  }

  stop() {
    this.isRunning = false;
    return { recordCount: this.#recordCount, latenciesMs: Float64Array.from(this.#latenciesMs).sort() };
  }
}

function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
