import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  runMillrace,
  type ServeProcess,
  serveMillrace,
  type TemporaryFolder,
  temporaryFolder,
  waitUntil,
} from "@millrace/testing";

const EARTHQUAKES = fileURLToPath(new URL("../../../../examples/earthquakes.ndjson", import.meta.url));
const FREE_PORTS = ["--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"];
const BIN = fileURLToPath(new URL("../../bin/millrace.cjs", import.meta.url));

let folder: TemporaryFolder;
let server: ServeProcess;
let environment: Record<string, string>;

before(async () => {
  folder = await temporaryFolder();
  server = await serveMillrace(["--data-dir", join(folder.path, "data"), ...FREE_PORTS]);
  environment = { MILLRACE_BROKERS: server.ready.kafka ?? "" };
});

after(async () => {
  await server.stop();
  await folder.remove();
});

async function produce(words: string, input?: Uint8Array | string) {
  return runMillrace(["produce", ...words.split(" ")], { environment, ...(input === undefined ? {} : { input }) });
}

async function consume(words: string): Promise<Buffer> {
  const { exitCode, stdout, stderr } = await runMillrace(["consume", ...words.split(" ")], { environment });
  assert.equal(exitCode, 0, stderr);
  return stdout;
}

function sortedLines(bytes: Buffer): string[] {
  return bytes.toString("latin1").split("\n").sort();
}

test("a file of lines comes back byte for byte, and the topic is made by the first record", async () => {
  const written = await produce(`earthquakes ${EARTHQUAKES}`);
  const read = await consume("earthquakes --format raw");

  assert.equal(written.exitCode, 0, written.stderr);
  assert.match(written.stderr, /^1,707 records written to earthquakes: /);
  assert.deepEqual(sortedLines(read), sortedLines(await readFile(EARTHQUAKES)));
});

test("bytes that are no UTF-8, carriage returns and empty lines are records as they are", async () => {
  const input = Buffer.from("caf\xe9\r\n\n\0\xff\xfe\nlast", "latin1");

  await produce("bytes --partition 0", input);

  assert.deepEqual(await consume("bytes --format raw"), Buffer.concat([input, Buffer.from("\n")]));
});

test("records with keys come back with their keys, in the order of each key", async () => {
  const input = "b:1\na:1\nb:2:2\na:\n";

  const { exitCode } = await produce("keyed --key-separator :", input);
  const read = await consume("keyed --key-separator :");

  assert.equal(exitCode, 0);
  const lines = read.toString().trimEnd().split("\n");
  assert.deepEqual(
    lines.filter((line) => line.startsWith("a")),
    ["a:1", "a:"],
  );
  assert.deepEqual(
    lines.filter((line) => line.startsWith("b")),
    ["b:1", "b:2:2"],
  );
});

test("whole records as JSON are read back by produce, and are the same again: keys, headers, times, nulls and bytes", async () => {
  const records = [
    '{"key":"k1","keyFormat":"string","value":{"b": 1.0, "a":12345678901234567890},"timestamp":1517966773840}',
    '{"key":null,"value":"plain","valueFormat":"string","headers":[{"key":"h","value":"1"},{"key":"h","value":null}]}',
    '{"key":"/w==","keyFormat":"binary","value":"/wA=","valueFormat":"binary"}',
    '{"key":"tombstone","keyFormat":"string","value":null}',
    '{"value":"","valueFormat":"string"}',
    '{"value":"null","valueFormat":"string"}',
  ];

  const written = await produce("whole --format ndjson --partition 0", records.join("\n"));
  const first = await consume("whole --format json");
  const copied = await produce("copy --format ndjson", first);
  const second = await consume("copy --format json");

  assert.equal(written.exitCode, 0, written.stderr);
  assert.equal(copied.exitCode, 0, copied.stderr);
  assert.equal(second.toString(), first.toString());
  const lines = first.toString().trimEnd().split("\n");
  assert.match(lines[0] ?? "", /"timestamp":1517966773840,.*"value":\{"b": 1\.0, "a":12345678901234567890\}\}$/);
  assert.match(
    lines[1] ?? "",
    /"headers":\[\{"key":"h","value":"1"\},\{"key":"h","value":null\}\],"value":"plain","valueFormat":"string"/,
  );
  assert.match(lines[3] ?? "", /"value":null\}$/);
  assert.match(lines[4] ?? "", /"value":"","valueFormat":"string"/);
});

test("format raw makes each file one record, newlines and all", async () => {
  const path = join(folder.path, "two-lines");
  await writeFile(path, "one\ntwo\n");

  await produce(`raw --format raw --key name --headers trace=abc,empty=,none ${path}`);
  const line = JSON.parse((await consume("raw --format json")).toString());

  assert.deepEqual([line.key, line.value], ["name", "one\ntwo\n"]);
  assert.deepEqual(line.headers, [
    { key: "trace", value: "abc" },
    { key: "empty", value: "" },
    { key: "none", value: null },
  ]);
});

test("a line that is no record is told with its number, the others are written, and the exit code is 1", async () => {
  const input = '{"value":1}\n{"value":2\n\n{"value":3,"partition":"x"}\n{"value":4}\n';

  const { exitCode, stderr } = await produce("broken --format ndjson", input);

  assert.equal(exitCode, 1);
  assert.match(stderr, /^millrace: line 2: .*\(column \d+\)$/m);
  assert.match(stderr, /^millrace: line 4: .*partition must be a whole number/m);
  assert.match(stderr, /2 records written to broken, 2 failed/);
  assert.deepEqual(sortedLines(await consume("broken")), ["", "1", "4"]);
});

test("a record that the producer refuses is told with its line", async () => {
  const input = `small\n${"x".repeat(3000)}\nsmall\n`;

  const { exitCode, stderr } = await produce("large --max-request-size 2048", input);

  assert.equal(exitCode, 1);
  assert.match(stderr, /^millrace: line 2: .*3\d\d\d bytes/m);
  assert.deepEqual(sortedLines(await consume("large")), ["", "small", "small"]);
});

test("a file that is not there is told before anything is sent", async () => {
  const { exitCode, stderr } = await produce("nothing no-such-file");

  assert.equal(exitCode, 1);
  assert.match(stderr, /^millrace: cannot read no-such-file: ENOENT/);
});

test("--from takes an offset, a count from the end and a time; --limit and --partition narrow", async () => {
  const records = Array.from(
    { length: 10 },
    (_, index) => `{"value":${index},"timestamp":${1_700_000_000_000 + index}}`,
  );
  await produce("ranges --format ndjson --partition 3", records.join("\n"));

  const texts = await Promise.all(
    [
      "ranges --from 8",
      "ranges --from -1",
      "ranges --from @1700000000007",
      "ranges --from latest",
      "ranges --limit 2",
      "ranges --partition 0",
      "ranges --partition 3 --from 99",
    ].map(async (words) => (await consume(words)).toString()),
  );

  assert.deepEqual(texts, ["8\n9\n", "9\n", "7\n8\n9\n", "", "0\n1\n", "", ""]);
});

test("a consumer that is told to follow prints what comes, and Ctrl-C ends it with exit code 0", async () => {
  await produce("followed", "before\n");
  const child = spawn(process.execPath, [BIN, "consume", "followed", "--follow"], {
    env: { ...process.env, ...environment },
  });
  const ended = new Promise((resolve) => child.on("close", resolve));
  const lines = child.stdout.setEncoding("utf8")[Symbol.asyncIterator]();

  const first = await lines.next();
  await produce("followed", "after\n");
  const second = await lines.next();
  child.kill("SIGINT");

  assert.deepEqual([first.value, second.value], ["before\n", "after\n"]);
  assert.equal(await ended, 0);
});

test("a reader that has seen enough ends the consumer quietly", async () => {
  await produce("piped", "a line of some length\n".repeat(20_000));
  const child = spawn(process.execPath, [BIN, "consume", "piped"], { env: { ...process.env, ...environment } });
  const stderr: Buffer[] = [];
  child.stderr.on("data", (bytes: Buffer) => stderr.push(bytes));
  const ended = new Promise((resolve) => child.on("close", resolve));

  await new Promise((resolve) => child.stdout.once("data", resolve));
  child.stdout.destroy();

  assert.equal(await ended, 0);
  assert.equal(Buffer.concat(stderr).toString(), "");
});

test("a topic that is not there cannot be consumed, and is not made by trying", async () => {
  const { exitCode, stderr } = await runMillrace(["consume", "absent"], { environment });
  const { stdout } = await runMillrace(["topics", "list"], { environment });

  assert.equal(exitCode, 1);
  assert.match(stderr, /^millrace: .*absent.*UNKNOWN_TOPIC_OR_PARTITION.*\n$/);
  assert.doesNotMatch(stdout.toString(), /absent/);
});

test("topics are created, listed, described, altered and deleted", async () => {
  const run = async (words: string) => {
    const { exitCode, stdout, stderr } = await runMillrace(["topics", ...words.split(" ")], { environment });
    return { exitCode, text: stdout.toString() + stderr };
  };

  assert.equal((await run("create life --partitions 2 --set retention.ms=1000")).text, "life: created, 2 partitions\n");
  assert.match((await run("create life")).text, /^millrace: .*TOPIC_ALREADY_EXISTS/);
  assert.equal((await run("create life --if-not-exists")).text, "life: is there already, 2 partitions\n");
  assert.match((await run("list")).text, /^TOPIC +PARTITIONS\n(.*\n)*life +2\n/);
  assert.match((await run("describe life")).text, /^life: 2 partitions, id .*\n {2}retention\.ms=1000\nPARTITION/);
  assert.equal(
    (await run("alter life --set retention.bytes=5000 --unset retention.ms --partitions 3")).text,
    "life: altered\n",
  );
  assert.match((await run("describe life")).text, /^life: 3 partitions, id .*\n {2}retention\.bytes=5000\nPARTITION/);
  assert.equal((await run("delete life")).text, "life: deleted\n");
  assert.equal((await run("delete life")).exitCode, 1);
  assert.equal((await run("delete life --if-exists")).text, "life: is not there\n");
});

test("perf produce and perf consume measure, and tell it to people and programs", async () => {
  const written = await runMillrace(["perf", "produce", "load", "--records", "2000", "--json"], { environment });
  const rated = await runMillrace(["perf", "produce", "load", "--records", "100", "--rate", "1000"], { environment });
  const read = await runMillrace(["perf", "consume", "load", "--json"], { environment });

  const result = JSON.parse(written.stdout.toString());
  assert.deepEqual([result.recordCount, result.failedCount], [2000, 0]);
  assert.ok(result.recordsPerSecond > 0 && result.latencyMs.p50 > 0 && result.latencyMs.max >= result.latencyMs.p99);
  const counts: number[] = result.histogram.map(({ count }: { count: number }) => count);
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    2000,
  );
  assert.match(
    rated.stdout.toString(),
    /^100 records written in .*\nacknowledged after: mean .* p99 .*\n( +.* – .* #+ .* %\n)+$/,
  );
  assert.equal(JSON.parse(read.stdout.toString()).recordCount, 2100);
});

test("where the broker goes away for good, produce gives up and says where", async () => {
  const gone = await serveMillrace(["--data-dir", join(folder.path, "gone"), ...FREE_PORTS]);
  const brokers = gone.ready.kafka ?? "";
  const words = ["produce", "gone", "--brokers", brokers, "--delivery-timeout-ms", "1000"];
  const child = spawn(process.execPath, [BIN, ...words], { env: { ...process.env, ...environment } });
  const stderr: Buffer[] = [];
  child.stderr.on("data", (bytes: Buffer) => stderr.push(bytes));
  const ended = new Promise((resolve) => child.on("close", resolve));

  child.stdin.write("one\n");
  await waitUntil("the first record is there", async () => {
    const { stdout } = await runMillrace(["consume", "gone", "--brokers", brokers]);
    return stdout.toString() === "one\n";
  });
  await gone.stop("SIGKILL");
  child.stdin.write("two\n");
  // The input stays open: giving up must not wait for its end.
  await waitUntil("a failure is told", () => stderr.length > 0);
  child.stdin.write("three\n");
  child.stdin.on("error", () => {});

  assert.equal(await ended, 1);
  const text = Buffer.concat(stderr).toString();
  assert.match(text, /^millrace: line 2: .*not acknowledged after/m);
  assert.match(text, /^millrace: the cluster takes no records; what is left of the input is not tried$/m);
  assert.match(text, /^1 record written to gone, \d failed/m);
});
