import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { root } from "./build.mjs";
import { runExample } from "./run-example.mjs";

/** Guides whose every example in JavaScript is run. */
const GUIDES = ["docs/BROKER.md", "docs/TESTING-WITH-MILLRACE.md"];

// Beside the packages that the examples import: those of the bench too, where they are installed.
const modules = [join(root, "bench/node_modules"), join(root, "node_modules")].find((path) => existsSync(path));
mkdirSync(join(modules, ".cache"), { recursive: true });
const folder = mkdtempSync(join(modules, ".cache/guides-"));
after(() => rmSync(folder, { recursive: true, force: true }));

for (const guide of GUIDES) {
  suite(`${guide} shows code that works`, () => {
    for (const { heading, index, code } of examplesIn(readFileSync(join(root, guide), "utf8"))) {
      const file = join(folder, `${guide.replace(/\W/g, "-")}-${index}.mjs`);
      test(`${heading}, example ${index}`, { skip: reasonToSkip(code, file) }, () => {
        writeFileSync(file, code);
        return runExample(file, folder);
      });
    }
  });
}

function* examplesIn(text) {
  let heading = "";
  let index = 0;
  for (const [, title, code] of text.matchAll(/^## ([^\n]+)$|^```js\n(.*?)^```$/gms)) {
    if (title !== undefined) heading = title;
    else yield { heading, index: ++index, code };
  }
}

/** What an example needs and this machine does not have; false if it has all. */
function reasonToSkip(code, file) {
  if (code.includes("await using") && !hasAwaitUsing()) return `Node ${process.versions.node} has no await using`;
  const { resolve } = createRequire(file);
  for (const [, name] of code.matchAll(/ from "([^"]+)"/g)) {
    try {
      resolve(name);
    } catch {
      return `${name} is not installed`;
    }
  }
  return false;
}

function hasAwaitUsing() {
  try {
    new Function("return async () => { await using nothing = null; }");
    return true;
  } catch {
    return false;
  }
}
