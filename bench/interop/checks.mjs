/** What the scenarios in JavaScript share: one line a check, and an exit code that counts. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

export const run = randomBytes(4).toString("hex");

export async function check(name, body) {
  try {
    await body();
    console.log(`ok    ${name}`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`FAIL  ${name}: ${error}`);
    console.error(error);
  }
}

export async function waitUntil(what, condition, seconds = 20) {
  const endMs = Date.now() + seconds * 1000;
  while (!(await condition())) {
    assert.ok(Date.now() < endMs, `waited ${seconds} s in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
