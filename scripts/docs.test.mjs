import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "./build.mjs";
import { renderDocs } from "./docs.mjs";

for (const [path, text] of Object.entries(await renderDocs())) {
  test(`${path} says what the code's own tables say (npm run docs writes it)`, () => {
    assert.equal(readFileSync(join(root, path), "utf8"), text);
  });
}
