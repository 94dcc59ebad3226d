import assert from "node:assert/strict";
import { test } from "node:test";
import { runMillrace } from "@millrace/testing";

const commands = [
  "serve",
  "produce",
  "consume",
  "topics list",
  "topics create",
  "topics describe",
  "topics alter",
  "topics delete",
  "keys create",
  "keys list",
  "keys revoke",
  "perf produce",
  "perf consume",
];

test("every --help shows a working example first, then its options with their variables", async () => {
  for (const command of commands) {
    const { exitCode, stdout, stderr } = await runMillrace([...command.split(" "), "--help"]);

    assert.equal(exitCode, 0, command);
    assert.equal(stderr, "");
    const [first, example] = stdout.toString().split("\n");
    assert.match(first ?? "", /^Examples?:$/);
    assert.match(example ?? "", new RegExp(`millrace ${command.split(" ")[0]}`));
    assert.match(stdout.toString(), new RegExp(`variable ${variableOf(command)}`));
  }
});

/** One that the command's help must name. */
function variableOf(command: string): string {
  if (command === "serve") return "MILLRACE_SERVE_BROKERS";
  return command.startsWith("keys ") ? "MILLRACE_DATA_DIR" : "MILLRACE_BROKERS";
}

test("the help of millrace and of a group of commands lists what there is", async () => {
  const [whole, topics] = await Promise.all([runMillrace(["--help"]), runMillrace(["topics", "--help"])]);

  assert.match(whole.stdout.toString(), /^Examples:\n {2}millrace serve/);
  for (const name of ["serve", "produce", "consume", "topics", "log", "keys", "perf"]) {
    assert.match(whole.stdout.toString(), new RegExp(`^ {2}${name} `, "m"));
  }
  for (const name of ["list", "create", "describe", "alter", "delete"]) {
    assert.match(topics.stdout.toString(), new RegExp(`^ {2}${name} `, "m"));
  }
});

test("--version tells the version of millrace and of Node", async () => {
  const { exitCode, stdout } = await runMillrace(["--version"]);

  assert.equal(exitCode, 0);
  assert.match(stdout.toString(), /^millrace \d+\.\d+\.\d+ \(Node\.js \d+\.\d+\.\d+\)\n$/);
});

test("what is called wrongly ends with exit code 2 and one line that shows the way", async () => {
  const cases: [words: string[], line: RegExp][] = [
    [["serv"], /^millrace: there is no command serv; did you mean millrace serve\?\n$/],
    [["topics", "crate", "x"], /^millrace: there is no command crate; did you mean millrace topics create\?\n$/],
    [["serve", "--data-dri", "x"], /^millrace: there is no option --data-dri; did you mean --data-dir\?\n$/],
    [["produce"], /^millrace: TOPIC is missing, as in: .*\n$/],
    [["consume", "a", "b"], /^millrace: there is a word too many: b; .*\n$/],
    [["consume", "a", "--format", "yaml"], /^millrace: --format is yaml; it must be one of text, raw, json\n$/],
    [["consume", "a", "--from", "soon"], /^millrace: --from is soon; it must be earliest, latest, .*\n$/],
    [["topics", "alter", "a"], /^millrace: nothing to change: .*\n$/],
  ];
  for (const [words, line] of cases) {
    const { exitCode, stdout, stderr } = await runMillrace(words);

    assert.equal(exitCode, 2, words.join(" "));
    assert.match(stderr, line);
    assert.equal(stdout.length, 0);
  }
});

test("without a command the help goes to stderr, with exit code 2", async () => {
  const { exitCode, stdout, stderr } = await runMillrace([]);

  assert.equal(exitCode, 2);
  assert.match(stderr, /Commands:/);
  assert.equal(stdout.length, 0);
});

test("a client command that finds no broker says so at once, and how to start one", async () => {
  const { exitCode, stderr } = await runMillrace(["topics", "list", "--brokers", "127.0.0.1:1"]);

  assert.equal(exitCode, 1);
  assert.match(
    stderr,
    /^millrace: no broker answers at 127\.0\.0\.1:1 \(.*ECONNREFUSED.*\); start one with: millrace serve, or name another with --brokers\n$/,
  );
});
