/** What the scenarios in JavaScript share: one line a check, and an exit code that counts. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

export const run = randomBytes(4).toString("hex");

const LIMIT_MS = 90_000;

export async function check(name, body) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${LIMIT_MS / 1000} s`)), LIMIT_MS);
  });
  try {
    await Promise.race([body(), late]);
    console.log(`ok    ${name}`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`FAIL  ${name}: ${error}`);
    console.error(error);
  } finally {
    clearTimeout(timer);
  }
}

/** Ends the program, whatever a check that failed has left open. */
export function finish() {
  process.exit();
}

export async function waitUntil(what, condition, seconds = 20) {
  const endMs = Date.now() + seconds * 1000;
  while (!(await condition())) {
    assert.ok(Date.now() < endMs, `waited ${seconds} s in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
