import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { choice, count, defineOptions, flag, list, text } from "@millrace/base";
import { readArguments } from "./arguments.ts";
import { CommandError, UsageError } from "./errors.ts";
import type { CommandSpec } from "./spec.ts";

const options = defineOptions(
  {
    dataDir: text({ default: "./data", doc: "A folder." }),
    partitions: count({ default: 6, min: 1, doc: "A number." }),
    format: choice(["lines", "raw"], { default: "lines", doc: "A choice." }),
    tags: list({ default: [], doc: "A list." }),
    follow: flag({ default: false, doc: "A flag." }),
    color: flag({ default: true, doc: "A flag that is on." }),
    config: text<string | null>({ default: null, doc: "A file." }),
  },
  [{ option: "partitions", rule: "must be 1 with raw", isKept: (o) => o.format !== "raw" || o.partitions === 1 }],
);

const spec: CommandSpec<typeof options.entries> = {
  name: "try",
  summary: "Tries.",
  examples: [{ command: "millrace try it", meaning: "an example" }],
  operands: [
    { name: "TOPIC", doc: "One." },
    { name: "FILE", doc: "Any.", isOptional: true, isMany: true },
  ],
  options,
  variableOf: (name) => `MILLRACE_TRY_${name.toUpperCase()}`,
};

function read(words: string, environment: Record<string, string> = {}) {
  const { operands, options } = readArguments(spec, words.split(" "), environment);
  return { operands, ...options() };
}

function failure(work: () => unknown): Error {
  try {
    work();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  return assert.fail("nothing was thrown");
}

test("a flag wins over a variable, a variable over the config file, the file over the default", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-arguments-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "millrace.json");
  writeFileSync(path, JSON.stringify({ dataDir: "file", partitions: 2, format: "lines", tags: ["file"] }));

  const found = read(`it --config ${path} --data-dir flag`, {
    MILLRACE_TRY_DATADIR: "variable",
    MILLRACE_TRY_PARTITIONS: "3",
  });

  assert.deepEqual([found.dataDir, found.partitions, found.tags, found.follow], ["flag", 3, ["file"], false]);
});

test("operands and flags may come in any order, and all behind -- are operands", () => {
  assert.deepEqual(read("--follow it a -- --b").operands, ["it", "a", "--b"]);
});

test("a boolean flag is given bare, with =true or =false, or taken back with --no-", () => {
  assert.equal(read("it --follow").follow, true);
  assert.equal(read("it --follow=false").follow, false);
  assert.equal(read("it --no-color").color, false);
});

test("a list's flag adds up, another one's last value counts", () => {
  const found = read("it --tags a,b --tags c --partitions 2 --partitions 3");

  assert.deepEqual([found.tags, found.partitions], [["a", "b", "c"], 3]);
});

test("an unknown flag is refused with the nearest known one", () => {
  const error = failure(() => read("it --folow"));

  assert.ok(error instanceof UsageError);
  assert.equal(error.message, "there is no option --folow; did you mean --follow?");
});

test("a flag without its value is refused before it swallows the next flag", () => {
  for (const words of ["it --data-dir", "it --data-dir --follow"]) {
    assert.match(failure(() => read(words)).message, /^--data-dir needs a value \(text\)/);
  }
});

test("a wrong value is refused by the name it was given under", () => {
  assert.equal(
    failure(() => read("it --partitions 0")).message,
    "--partitions is 0; it must be a whole number, at least 1",
  );
  assert.equal(
    failure(() => read("it", { MILLRACE_TRY_FORMAT: "csv" })).message,
    "MILLRACE_TRY_FORMAT is csv; it must be one of lines, raw",
  );
});

test("a rule between options names the flag that breaks it", () => {
  assert.equal(failure(() => read("it --format raw --partitions 2")).message, "--partitions: must be 1 with raw");
});

test("missing and superfluous operands are told with an example", () => {
  assert.equal(failure(() => readArguments(spec, [], {})).message, "TOPIC is missing, as in: millrace try it");
});

test("who gives a topic's settings as Kafka's tool takes them is told how they are given here", () => {
  const withSettings = defineOptions({
    set: list({ default: [], doc: "Settings." }),
    config: text<string | null>({ default: null, doc: "A file." }),
  });
  const words = ["orders", "--config", "retention.ms=1000"];

  const error = failure(() => readArguments({ ...spec, options: withSettings }, words, {}).options());

  assert.ok(error instanceof UsageError);
  assert.match(error.message, /--set retention\.ms=1000/);
});

test("a config file that is missing, no JSON, or has a wrong key is an error of its own, with exit code 1", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-arguments-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "millrace.json");
  const cases: [content: string, message: RegExp][] = [
    ["{", /cannot be read/],
    ["[]", /must hold one JSON object/],
    ['{"partition": 1}', /has the key partition, which is no option; did you mean partitions\?/],
    ['{"partitions": "many"}', /^partitions in the config file .* is "many"; it must be a whole number/],
  ];
  for (const [content, message] of cases) {
    writeFileSync(path, content);

    const error = failure(() => read(`it --config ${path}`));

    assert.ok(error instanceof CommandError && !(error instanceof UsageError), content);
    assert.match(error.message, message);
  }
  assert.match(failure(() => read("it --config /nowhere/millrace.json")).message, /cannot be read: ENOENT/);
});

test("with --help nothing else is checked", () => {
  assert.equal(readArguments(spec, ["--help", "--wrong"], {}).wantsHelp, true);
});
