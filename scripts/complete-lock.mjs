/**
 * Adds to package-lock.json the packages for other platforms that npm left out: `node scripts/complete-lock.mjs [LOCK]`.
 *
 * npm drops an optional package that its registry does not serve, as some mirrors do for platforms they have no use for;
 * `npm ci` then refuses the lock, on every platform. What is added has no integrity: where it is needed, npm asks for
 * that version by name.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isMain, root } from "./build.mjs";

const PLATFORM =
  /(aix|android|darwin|freebsd|linux|netbsd|openbsd|sunos|win32)-(arm64|arm|ia32|loong64|ppc64|riscv64|s390x|x64)(?:-?(musl|gnu))?/;

/** The optional packages that some package of the lock names and the lock does not hold, as [where it would stand, its entry]. */
export function missingFromLock(packages) {
  const missing = [];
  for (const [parentPath, parent] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
      const path = `node_modules/${name}`;
      if (packages[path] !== undefined || packages[`${parentPath}/${path}`] !== undefined) continue;
      missing.push([path, platformEntry(name, version, parent)]);
    }
  }
  return missing;
}

function platformEntry(name, version, parent) {
  const [, os, cpu, libc] = PLATFORM.exec(name) ?? [];
  return {
    version,
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(parent.dev === true ? { dev: true } : {}),
    ...(libc === undefined ? {} : { libc: [libc === "gnu" ? "glibc" : libc] }),
    ...(parent.license === undefined ? {} : { license: parent.license }),
    optional: true,
    ...(os === undefined ? {} : { os: [os] }),
    ...(parent.engines === undefined ? {} : { engines: parent.engines }),
  };
}

if (isMain(import.meta.url)) {
  const path = join(root, process.argv[2] ?? "package-lock.json");
  const lock = JSON.parse(readFileSync(path, "utf8"));
  const missing = missingFromLock(lock.packages);
  const entries = [...Object.entries(lock.packages), ...missing].sort(([a], [b]) => (a < b ? -1 : 1));
  writeFileSync(path, `${JSON.stringify({ ...lock, packages: Object.fromEntries(entries) }, null, 2)}\n`);
  for (const [added] of missing) process.stdout.write(`${added}\n`);
}
