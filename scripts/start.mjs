/**
 * `npm start`: installs and builds what is missing, then becomes `millrace serve` with the arguments given.
 *
 * package.json says `exec node …`: npm passes a SIGTERM on to its shell, and a shell that still stands between would end
 * alone and leave the server behind. Windows knows no `exec`; there it is `node scripts/start.mjs`.
 */

import "./require-node.mjs";

// Imported at run time, after the version was looked at: an old Node could not even read these.
void import("./build.mjs").then(start);

function start({ build, root, runMain }) {
  return runMain(() => {
    build("packages/millrace");
    return import("node:child_process").then(({ spawn }) => serve(spawn, root));
  });
}

/** A process of its own, because the command sets the size of Node's thread pool, which must come before its first use. */
function serve(spawn, root) {
  const command = `${root}/packages/millrace/bin/millrace.cjs`;
  const child = spawn(process.execPath, [command, "serve", ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal's Ctrl-C reaches the child by itself; a signal sent to this process alone has to be passed on.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  process.on("SIGHUP", () => child.kill("SIGTERM"));
  child.on("exit", (code, signal) => {
    process.exitCode = signal === null ? code : 1;
  });
}
