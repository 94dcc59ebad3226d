/** Runs the examples of the documents. */

import { spawn } from "node:child_process";

/** Longest that one example may take, on a machine that has much else to do. */
const LIMIT_MS = 60_000;

/** Runs a file by itself, as its reader would. Rejects with what it said if it fails. */
export function runExample(file, cwd) {
  const env = { ...process.env, NODE_TEST_CONTEXT: "" };
  const child = spawn(process.execPath, [file], { timeout: LIMIT_MS, cwd, env });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (output += bytes));
  return new Promise((resolve, reject) => {
    child.on("close", (code) => (code === 0 ? resolve() : reject(new Error(output))));
  });
}
