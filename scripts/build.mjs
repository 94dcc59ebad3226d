/** Installs and builds what is missing or out of date, and nothing else: `npm run build`. */

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** A failure that its one line says all about; no stack is printed. */
export class BuildError extends Error {}

/**
 * Brings node_modules and dist up to date.
 *
 * project: what `tsc -b` builds, with all it depends on; the whole workspace by default.
 * Throws BuildError. Prints to stderr only.
 */
export function build(project = ".") {
  installIn(root);
  removeOrphans();
  compile(project);
}

/** Runs `npm ci` in the folder unless node_modules is what package-lock.json asks for. Throws BuildError. */
export function installIn(folder) {
  if (!isInstalled(folder)) install(folder);
}

/**
 * True if node_modules holds every package of package-lock.json in its version.
 *
 * Contents are compared, not times: git sets a file's time when it checks it out, and npm when it likes.
 */
function isInstalled(folder) {
  const installed = readPackages(join(folder, "node_modules", ".package-lock.json"));
  if (installed === null) return false;
  const locked = readPackages(join(folder, "package-lock.json")) ?? {};
  return Object.entries(locked).every(([path, entry]) => {
    // Optional ones are mostly made for other platforms; npm leaves those out.
    if (!path.startsWith("node_modules/") || entry.optional === true) return true;
    if (entry.link === true) return existsSync(join(folder, path));
    return installed[path]?.version === entry.version;
  });
}

function readPackages(lockPath) {
  try {
    return JSON.parse(readFileSync(lockPath, "utf8")).packages;
  } catch {
    return null;
  }
}

function install(folder) {
  process.stderr.write("Installing packages (npm ci) …\n");
  const { status, stderr } = runNpm(folder, ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
  if (status === 0) return;
  const code = /code (E\w+)/.exec(stderr)?.[1] ?? `exit code ${status}`;
  if (/^E(NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|TIMEDOUT|NETUNREACH)$/.test(code)) {
    throw new BuildError(
      `npm could not reach its registry (${code}); connect this machine to the network and run the command again`,
    );
  }
  process.stderr.write(stderr);
  throw new BuildError(`npm ci failed (${code}); npm's own lines above say why`);
}

function runNpm(folder, args) {
  // Inside `npm start` npm says where it is; outside it is looked up, on Windows through a shell, as npm is a .cmd there.
  const npmPath = process.env.npm_execpath;
  const isScript = npmPath !== undefined && /npm-cli\.c?js$/.test(npmPath);
  const [command, commandArgs] = isScript ? [process.execPath, [npmPath, ...args]] : ["npm", args];
  const shell = !isScript && process.platform === "win32";
  const { status, stderr, error } = spawnSync(command, commandArgs, {
    cwd: folder,
    shell,
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
  });
  if (error) throw new BuildError(`npm could not be started: ${error.message}`);
  return { status, stderr };
}

function compile(project) {
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const { status, error } = spawnSync(process.execPath, [tsc, "-b", project], { cwd: root, stdio: ["ignore", 2, 2] });
  if (error) throw new BuildError(`the TypeScript compiler could not be started: ${error.message}`);
  if (status !== 0) throw new BuildError("the sources do not compile; the compiler's lines above say where");
}

/** Deletes what was compiled from sources that are gone: `tsc -b` leaves it, and a test among it would still run. */
function removeOrphans() {
  for (const name of readdirSync(join(root, "packages"))) {
    const dist = join(root, "packages", name, "dist");
    for (const path of filesBelow(dist)) {
      const stem = relative(dist, path).replace(/(\.d)?\.[mc]?[jt]s(\.map)?$/, "");
      const isCompiled = stem !== relative(dist, path);
      if (isCompiled && !hasSource(join(root, "packages", name, "src", stem))) rmSync(path);
    }
  }
}

function hasSource(stem) {
  return [".ts", ".tsx", ".mts", ".cts"].some((extension) => existsSync(stem + extension));
}

/** Every file below the folder, sorted, but what was installed or is git's; none if there is no such folder. */
export function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.name !== "node_modules" && entry.name !== ".git")
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? filesBelow(path) : [path];
    })
    .sort();
}

/** Runs a script's main function; a BuildError becomes one line and exit code 1. */
export async function runMain(main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    process.stderr.write(`millrace: ${error.message}\n`);
    process.exitCode = 1;
  }
}

/** True if the module with this URL is what node was started with. */
export function isMain(url) {
  return process.argv[1] !== undefined && pathToFileURL(process.argv[1]).href === url;
}

if (isMain(import.meta.url)) await runMain(() => build(process.argv[2]));
