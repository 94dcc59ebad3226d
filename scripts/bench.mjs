/** `npm run bench -- SCENARIO …`: builds, installs what bench/ needs of its own, and runs it; see bench/README.md. */

import "./require-node.mjs";

void import("./build.mjs").then((tools) => tools.runMain(() => bench(tools)));

async function bench({ build, installIn, root }) {
  const { spawnSync } = await import("node:child_process");
  build("packages/millrace");
  installIn(`${root}/bench`);
  const { status } = spawnSync(process.execPath, [`${root}/bench/bench.mjs`, ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
}
