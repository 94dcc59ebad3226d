/** `npm run check`: types, lint, format, circles and arrows, tidiness. Prints what failed, and ends with what did not. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BuildError, build, root, runMain } from "./build.mjs";
import { tidy } from "./tidy.mjs";

await runMain(() => {
  const failed = [];
  if (!compiles()) failed.push("types");
  if (!runBiome(["ci", "--error-on-warnings", "."])) failed.push("biome (npm run fix mends most of it)");
  const findings = tidy();
  for (const finding of findings) process.stdout.write(`${finding}\n`);
  if (findings.length > 0) failed.push("tidy");
  showLongFunctions();
  process.stdout.write(failed.length === 0 ? "check: all good\n" : `check: failed: ${failed.join(", ")}\n`);
  process.exitCode = failed.length === 0 ? 0 : 1;
});

function compiles() {
  try {
    build();
    return true;
  } catch (error) {
    if (error instanceof BuildError && existsSync(biomePath())) return false;
    throw error;
  }
}

function runBiome(args) {
  const colors = process.stdout.isTTY ? "force" : "off";
  const { status } = spawnSync(process.execPath, [biomePath(), ...args, `--colors=${colors}`], {
    cwd: root,
    stdio: "inherit",
  });
  return status === 0;
}

/** A nudge, never a failure: some long functions deserve their length. */
function showLongFunctions() {
  const args = ["lint", "--only=complexity/noExcessiveLinesPerFunction", "--max-diagnostics=none", "--reporter=json"];
  const { stdout } = spawnSync(process.execPath, [biomePath(), ...args, "packages"], { cwd: root, encoding: "utf8" });
  for (const { message, location } of JSON.parse(stdout).diagnostics) {
    if (/\.test\.ts$|^packages\/testing\//.test(location.path)) continue;
    const lineCount = /\((\d+)\)/.exec(message)?.[1] ?? "many";
    process.stdout.write(`${location.path}:${location.start.line}: a function of ${lineCount} lines\n`);
  }
}

function biomePath() {
  return join(root, "node_modules", "@biomejs", "biome", "bin", "biome");
}
