/**
 * Clients that mean no good, one kind after the other, against a server of its own each: what they are answered, what an
 * honest client beside them is answered meanwhile, and how much memory the server takes at most. Exit code 1 if that is
 * more than it may be, or a scenario found what it should not.
 *
 *     node bench/hostile/run.mjs [NAME…]
 */

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Neighbour } from "./neighbour.mjs";
import { scenarios } from "./scenarios.mjs";

const COMMAND = fileURLToPath(new URL("../../packages/millrace/bin/millrace.cjs", import.meta.url));
const MEMORY_LIMIT_MIB = 300;
const SAMPLE_MS = 50;

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in scenarios));
if (unknown.length > 0) {
  console.error(`no scenario ${unknown.join(", ")}; there are ${Object.keys(scenarios).join(", ")}`);
  process.exit(2);
}

let hasFailed = false;
for (const [name, scenario] of Object.entries(scenarios)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const { told, failures, neighbour, peakMib } = await runScenario(scenario);
  hasFailed ||= peakMib > MEMORY_LIMIT_MIB || failures.length > 0;
  console.log(`${name}: ${scenario.what}`);
  for (const line of told) console.log(`    ${line}`);
  for (const failure of failures) console.log(`    FAILED      ${failure}`);
  console.log(`    neighbour   ${neighbour}`);
  console.log(`    memory      ${peakMib.toFixed(0)} MiB at most${peakMib > MEMORY_LIMIT_MIB ? "  TOO MUCH" : ""}`);
}
process.exitCode = hasFailed ? 1 : 0;

async function runScenario(scenario) {
  const folder = await mkdtemp(join(tmpdir(), "millrace-hostile-"));
  const server = await startServer(["--data-dir", folder, ...(scenario.options ?? [])]);
  const told = [];
  const failures = [];
  const peaksMib = [];
  // Of servers that a scenario starts itself, too.
  const watch = (pid) => {
    const memory = watchMemory(pid);
    return {
      stop() {
        const peakMib = memory.stop();
        peaksMib.push(peakMib);
        return peakMib;
      },
    };
  };
  try {
    await createTopic(server);
    await scenario.prepare?.(server);
    const neighbour = new Neighbour(server);
    const memory = watch(server.pid);
    if (scenario.hasNeighbour !== false) neighbour.start();
    const tell = (line) => told.push(line);
    const fail = (line) => failures.push(line);
    await scenario.run({ ...server, folder, startServer, watchMemory: watch, tell, fail });
    const summary = await neighbour.stop();
    memory.stop();
    return { told, failures, neighbour: summary, peakMib: Math.max(...peaksMib) };
  } finally {
    server.process.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  }
}

/** Starts `millrace serve` on free ports. */
export async function startServer(options) {
  const words = ["serve", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "error", ...options];
  const child = spawn(process.execPath, [COMMAND, ...words], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    const { http, kafka, pid } = JSON.parse(line);
    const [host, port] = http.split(":");
    return { process: child, pid, kafka, url: `http://${http}`, host, port: Number(port) };
  }
  throw new Error("the server ended before it was ready");
}

async function createTopic({ url }) {
  const response = await fetch(`${url}/api/topics`, { method: "POST", body: '{"name":"orders","partitions":6}' });
  if (response.status !== 201) throw new Error(`no topic: ${await response.text()}`);
}

/** The most that the process took, in MiB, by samples. */
function watchMemory(pid) {
  let peakKib = 0;
  let isRunning = true;
  const watch = async () => {
    while (isRunning) {
      const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
      peakKib = Math.max(peakKib, Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0));
      await sleep(SAMPLE_MS);
    }
  };
  void watch();
  return {
    stop() {
      isRunning = false;
      return peakKib / 1024;
    },
  };
}
