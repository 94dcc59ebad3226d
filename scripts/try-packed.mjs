/**
 * Packs every public package, looks at what is in the tarballs, and runs examples/packed-project with nothing but them
 * installed: what a user of the packages would get.
 */

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BuildError, build, root, runMain } from "./build.mjs";

/** What a tarball may hold, and one file it must: by path inside the package. */
const ALLOWED = [
  /^(package\.json|README\.md|LICENSE)$/,
  /^dist\/.+\.(js|d\.ts)(\.map)?$/,
  /^src\/.+\.ts$/, // what the source maps point to
  /^bin\/[\w-]+\.cjs$/,
];
const REQUIRED = ["package.json", "README.md", "LICENSE", "dist/index.js", "dist/index.d.ts"];

await runMain(() => {
  build();
  const folder = mkdtempSync(join(tmpdir(), "millrace-packed-"));
  try {
    const tarballs = publicPackages().map((name) => pack(name, folder));
    const project = join(folder, "project");
    cpSync(join(root, "examples", "packed-project"), project, { recursive: true });
    run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error", ...tarballs], project);
    for (const script of ["produce.mjs", "produce.cjs"]) process.stdout.write(run(process.execPath, [script], project));
    process.stdout.write(run("npx", ["--no-install", "millrace", "--version"], project));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function publicPackages() {
  return readdirSync(join(root, "packages")).filter((name) => {
    const manifest = JSON.parse(readFileSync(join(root, "packages", name, "package.json"), "utf8"));
    return manifest.private !== true;
  });
}

/** Returns the tarball's path. Throws BuildError if something is in it that should not be, or is missing. */
function pack(name, folder) {
  const output = run("npm", ["pack", "--json", "--pack-destination", folder], join(root, "packages", name));
  const packed = Object.values(JSON.parse(output))[0];
  const paths = packed.files.map((file) => file.path);
  const wrong = paths.filter((path) => /\.test\./.test(path) || !ALLOWED.some((pattern) => pattern.test(path)));
  const missing = REQUIRED.filter((path) => !paths.includes(path));
  if (wrong.length > 0) throw new BuildError(`the tarball of ${name} should not hold ${wrong.join(", ")}`);
  if (missing.length > 0) throw new BuildError(`the tarball of ${name} lacks ${missing.join(", ")}`);
  process.stdout.write(`${packed.filename}: ${paths.length} files, ${packed.size} bytes\n`);
  return join(folder, packed.filename);
}

/** Runs it to its end and returns its stdout. Throws BuildError with all that it said if it failed. */
function run(command, args, folder) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: folder,
    encoding: "utf8",
    shell: process.platform === "win32",
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (error) throw new BuildError(`${command} could not be started: ${error.message}`);
  if (status === 0) return stdout;
  throw new BuildError(`${command} ${args.join(" ")} ended with exit code ${status}\n${stdout}${stderr}`);
}
