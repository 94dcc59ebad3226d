/** franz-go, Go's fastest client: a program of its own, built with the machine's Go on first use. */

import { execFile } from "node:child_process";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { recordValues } from "../value.mjs";

const execute = promisify(execFile);
const source = fileURLToPath(new URL("franz-go/", import.meta.url));

/** compress/gzip's name for its default, which is 5 there. */
const OWN_LEVEL = -1;

let built = null;

/** One measurement, as worker.mjs makes one; the program drives itself. */
export async function measure(task) {
  built ??= build();
  const { folder, program } = await built;
  const values = join(folder, "values");
  await writeFile(values, recordValues(task).join("\n"));
  const words = {
    brokers: task.brokers,
    topic: task.topic,
    run: task.run,
    callers: task.callers ?? 1,
    values,
    codec: task.codec ?? "none",
    "gzip-level": task.gzipLevel ?? OWN_LEVEL,
    warmup: task.warmupMs,
    measured: task.measuredMs,
  };
  const { stdout } = await execute(
    program,
    Object.entries(words).flatMap(([name, word]) => [`-${name}`, String(word)]),
  );
  return JSON.parse(stdout);
}

async function build() {
  const folder = await mkdtemp(join(tmpdir(), "millrace-bench-"));
  const program = join(folder, "franz-go");
  await execute("go", ["build", "-o", program, "."], { cwd: source });
  return { folder, program };
}
