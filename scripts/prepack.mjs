/** Before `npm pack` of a package: brings its dist up to date and lays the licence beside it. Runs in the package's folder. */

import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { build, root, runMain } from "./build.mjs";

await runMain(() => {
  build(process.cwd());
  copyFileSync(join(root, "LICENSE"), join(process.cwd(), "LICENSE"));
});
