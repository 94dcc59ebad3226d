/**
 * What neither the compiler nor Biome looks at: the arrows between packages, files that nobody imports, what was left
 * lying about. Part of `npm run check`.
 *
 * (Imports across packages, circles between files, and time, chance, network and disk taken from the air are rules in
 * biome.json.)
 */

import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join, normalize, relative } from "node:path";
import { filesBelow, isMain, root } from "./build.mjs";
import { missingFromLock } from "./complete-lock.mjs";

/** Which of our packages each may depend on: the picture in docs/ARCHITECTURE.md. */
const ARROWS = {
  base: [],
  protocol: ["base"],
  client: ["base", "protocol"],
  broker: ["base", "protocol"],
  gateway: ["base", "protocol", "client"],
  millrace: ["base", "protocol", "client", "broker", "gateway"],
  testing: ["base", "protocol", "client", "broker"],
};

/** Where a reader, npm or Node comes in; every other file must be imported by one that is reached from here. */
const DOORS = /\/src\/(main|(\w+\/)?(index|internal))\.ts$|\.test\.ts$/;

const LEFTOVERS = [
  { pattern: /\b(TODO|FIXME|HACK|XXX)\b/, message: "unfinished business: finish it, or write an issue" },
  { pattern: /@ts-(ignore|expect-error|nocheck)/, message: "a silenced compiler: write what the types can follow" },
  { pattern: /\b(test|it|describe|suite)\.only\(/, message: "the other tests of this file would not run" },
  { pattern: /(^|[\s"'`(=])\/(work|root|home|Users)\/\w/, message: "a path of one machine" },
  { pattern: /\.\.\/shared\b/, message: "what lies beside the clone is known to .ci/run alone" },
];

/** Returns what is wrong, a line each: "packages/x/src/y.ts:12: …". */
export function tidy() {
  return [
    ...misplacedArrows(),
    ...unreachedFiles(),
    ...leftovers(),
    ...unfitLocks(),
    ...deadPaths(),
    ...unnamedFolders(),
    ...unlinkedDocuments(),
    ...unknownCommands(),
  ];
}

function* misplacedArrows() {
  for (const [name, allowed] of Object.entries(ARROWS)) {
    const path = `packages/${name}/package.json`;
    const manifest = JSON.parse(read(path));
    for (const [dependency, version] of Object.entries(manifest.dependencies ?? {})) {
      if (!dependency.startsWith("@millrace/")) continue;
      if (!allowed.includes(dependency.slice("@millrace/".length)))
        yield `${path}: ${name} may not depend on ${dependency}`;
      if (version !== manifest.version)
        yield `${path}: ${dependency} is ${version}, not ${manifest.version} as all are`;
    }
  }
}

function* unreachedFiles() {
  for (const name of Object.keys(ARROWS)) {
    const sources = filesBelow(join(root, "packages", name, "src"))
      .map(toRelative)
      .filter(isTypeScript);
    const reached = new Set();
    const ahead = sources.filter((path) => DOORS.test(path));
    for (let path = ahead.pop(); path !== undefined; path = ahead.pop()) {
      if (reached.has(path) || !sources.includes(path)) continue;
      reached.add(path);
      ahead.push(...importsOf(path));
    }
    for (const path of sources) if (!reached.has(path)) yield `${path}: no file imports it`;
  }
}

function importsOf(path) {
  return [...read(path).matchAll(/(?:from|import|import\()\s*"(\.[^"]+\.ts)"/g)].map(([, specifier]) =>
    normalize(join(dirname(path), specifier)).replaceAll("\\", "/"),
  );
}

function* leftovers() {
  for (const path of textFiles()) {
    for (const [index, line] of read(path).split("\n").entries()) {
      for (const { pattern, message } of LEFTOVERS) {
        if (pattern.test(line)) yield `${path}:${index + 1}: ${message}: ${line.trim()}`;
      }
    }
  }
}

function* unfitLocks() {
  for (const path of ["package-lock.json", "bench/package-lock.json"]) {
    if (!existsSync(join(root, path))) continue;
    // A lock with addresses in it installs from those alone, also where another registry is set.
    if (/"resolved": "https?:/.test(read(path)))
      yield `${path}: holds registry addresses; .npmrc asks npm to leave them out`;
    for (const [missing] of missingFromLock(JSON.parse(read(path)).packages))
      yield `${path}: lacks ${missing}, so npm ci refuses it; run: node scripts/complete-lock.mjs ${path}`;
  }
}

/** A document that names a file which is not there misleads whoever looks for it. */
function* deadPaths() {
  for (const path of textFiles().filter((name) => name.endsWith(".md"))) {
    for (const [named] of read(path).matchAll(/(?<=`)(packages|scripts|bench|examples|docs)\/[\w./-]+(?=`)/g)) {
      if (!existsSync(join(root, named))) yield `${path}: names ${named}, which is not there`;
    }
    for (const [, target] of read(path).matchAll(/\]\(([\w./-]+)(?:#[\w-]+)?\)/g)) {
      if (!existsSync(join(root, dirname(path), target))) yield `${path}: links to ${target}, which is not there`;
    }
  }
}

/** The map would send a newcomer past a folder that it does not name, or of which it names no file. */
function* unnamedFolders() {
  const map = read("docs/ARCHITECTURE.md");
  const folders = Object.keys(ARROWS)
    .flatMap((name) => filesBelow(join(root, "packages", name, "src")))
    .map((path) => dirname(toRelative(path)));
  for (const folder of new Set(folders)) {
    const isPackage = folder.endsWith("/src");
    const named = isPackage ? folder.slice(0, -"/src".length) : `${folder}/`;
    if (!map.includes(isPackage ? `\`${named}\`` : named)) yield `docs/ARCHITECTURE.md: does not name ${folder}`;
  }
}

/** Whoever looks for a document starts at the README. */
function* unlinkedDocuments() {
  const readme = read("README.md");
  const pages = filesBelow(join(root, "docs"))
    .map(toRelative)
    .filter((path) => /^docs\/[^/]+\.md$/.test(path));
  for (const path of pages) if (!readme.includes(`](${path})`)) yield `README.md: does not link to ${path}`;
}

/** A command that does not exist is the first thing that a reader of a document tries. */
function* unknownCommands() {
  const scripts = JSON.parse(read("package.json")).scripts;
  const commands = filesBelow(join(root, "packages/millrace/src/commands")).map((path) => basename(path, ".ts"));
  for (const path of textFiles().filter((name) => name.endsWith(".md"))) {
    const text = read(path);
    for (const [, script] of text.matchAll(/\bnpm run ([a-z][\w:-]*)/g)) {
      if (!(script in scripts)) yield `${path}: names npm run ${script}, which package.json does not have`;
    }
    for (const [, command] of text.matchAll(/\bnpx millrace ([a-z]+)/g)) {
      if (!commands.includes(command)) yield `${path}: names millrace ${command}, which is no command`;
    }
  }
}

function textFiles() {
  return filesBelow(root)
    .map(toRelative)
    .filter((path) => /\.(ts|mjs|cjs|js|json|md|grit)$/.test(path))
    .filter((path) => !/\/dist\/|package-lock\.json$|^scripts\/tidy(\.test)?\.mjs$/.test(path));
}

function isTypeScript(path) {
  return path.endsWith(".ts");
}

function toRelative(path) {
  return relative(root, path).replaceAll("\\", "/");
}

function read(path) {
  return readFileSync(join(root, path), "utf8");
}

if (isMain(import.meta.url)) {
  const findings = tidy();
  for (const finding of findings) process.stdout.write(`${finding}\n`);
  process.exitCode = findings.length === 0 ? 0 : 1;
}
