import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  findKcat,
  readWithKcat,
  runKafkaTool,
  runMillrace,
  type ServeProcess,
  serveMillrace,
  temporaryFolder,
  waitUntil,
} from "@millrace/testing";

const execute = promisify(execFile);
const jars = process.env.KAFKA_JARS ?? "";
const kcat = findKcat() ?? "";
const skip = jars === "" ? "KAFKA_JARS is not set" : false;

const examples = fileURLToPath(new URL("../../../examples/", import.meta.url));
const PARTITIONS = 6;
/** A hundred, and 40,000 records with them, take some minutes; done by hand now and then. */
const KILLS = Number(process.env.MILLRACE_TEST_KILLS ?? 4);
const VERIFIED_RECORDS = Number(process.env.MILLRACE_TEST_VERIFIED_RECORDS ?? 4000);
const VERIFIED_PER_SECOND = 400;

suite("a week of earthquakes, read back with other people's tools", { skip }, () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let server: ServeProcess;
  let brokers: string;
  let lines: readonly string[];

  before(async () => {
    folder = await temporaryFolder();
    server = await serveMillrace([
      "--data-dir",
      join(folder.path, "data"),
      "--kafka",
      "127.0.0.1:0",
      "--http",
      "127.0.0.1:0",
    ]);
    brokers = server.ready.kafka ?? "";
    lines = (await readFile(join(examples, "earthquakes.ndjson"), "utf8")).trimEnd().split("\n");
  });

  after(async () => {
    await server?.stop();
    await folder?.remove();
  });

  async function assertReadBack(topic: string): Promise<void> {
    const expected = [...lines].sort();
    const consumed = await runMillrace(["consume", topic, "--brokers", brokers, "--format", "raw"]);
    assert.deepEqual(consumed.stdout.toString().trimEnd().split("\n").sort(), expected, "millrace consume");
    const words = [
      "--bootstrap-server",
      brokers,
      "--topic",
      topic,
      "--from-beginning",
      "--max-messages",
      `${lines.length}`,
    ];
    const java = await runKafkaTool(jars, "org.apache.kafka.tools.consumer.ConsoleConsumer", [
      ...words,
      "--timeout-ms",
      "30000",
    ]);
    assert.deepEqual(java.trimEnd().split("\n").sort(), expected, "Apache Kafka's console consumer");
    if (kcat === "") return;
    const read = await Promise.all(
      Array.from({ length: PARTITIONS }, (_, partition) =>
        readWithKcat(kcat, { bootstrapServers: brokers, topic, partition }),
      ),
    );
    const values = read.flat().map(({ value }) => value?.toString() ?? "");
    assert.deepEqual(values.sort(), expected, "kcat");
  }

  test("sent by millrace produce", async () => {
    const result = await runMillrace([
      "produce",
      "by-command",
      join(examples, "earthquakes.ndjson"),
      "--brokers",
      brokers,
    ]);

    assert.equal(result.exitCode, 0, result.stderr);
    await assertReadBack("by-command");
  });

  test("sent as one HTTP request", async () => {
    const base = `http://${server.ready.http}/api/topics`;
    const headers = { "content-type": "application/json" };
    const created = await fetch(base, { method: "POST", headers, body: '{"name":"by-http","partitions":6}' });
    assert.equal(created.status, 201);

    const body = `{"records":[${lines.map((line) => `{"key":${JSON.stringify(JSON.parse(line).id)},"value":${line}}`)}]}`;
    const response = await fetch(`${base}/by-http/produce?key.format=string`, { method: "POST", headers, body });

    assert.equal(response.status, 200);
    await assertReadBack("by-http");
  });

  test("sent by the example of the client library", async () => {
    await execute(process.execPath, [join(examples, "produce-earthquakes.mjs"), brokers]);

    await assertReadBack("earthquakes");
  });

  test("keys, headers and timestamps arrive as sent", {
    skip: kcat === "" && "there is no kcat, and KCAT is not set",
  }, async () => {
    const record =
      '{"key":"k","value":{"a":1.0},"headers":[{"key":"h","value":"1"},{"key":"h","value":null}],"timestamp":1700000000123,"partition":0}';
    const result = await runMillrace(["produce", "by-line", "--format", "ndjson", "--brokers", brokers], {
      input: record,
    });
    assert.equal(result.exitCode, 0, result.stderr);

    const [read] = await readWithKcat(kcat, { bootstrapServers: brokers, topic: "by-line", partition: 0 });

    assert.deepEqual(
      [read?.key?.toString(), read?.value?.toString(), read?.headers, read?.timestamp],
      ['"k"', '{"a":1.0}', "h=1,h=NULL", 1700000000123],
    );
  });
});

test("killed again and again under Kafka's idempotent verifiable producer: all of it is there, in order, once", {
  skip,
}, async () => {
  const folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  let server = await serveMillrace(["--data-dir", dataDir, "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
  const { kafka: brokers, http } = server.ready;
  assert.ok(brokers !== null);
  try {
    await runMillrace(["topics", "create", "verified", "--partitions", "1", "--brokers", brokers]);
    const config = join(folder.path, "producer.properties");
    // By itself the tool sets retries=0, which turns idempotence off.
    await writeFile(config, "enable.idempotence=true\nretries=2147483647\n");
    const words = ["--bootstrap-server", brokers, "--topic", "verified", "--max-messages", `${VERIFIED_RECORDS}`];
    const limits = ["--throughput", `${VERIFIED_PER_SECOND}`, "--command-config", config];
    const tool = spawn("java", [
      "-Xmx128m",
      "-cp",
      join(jars, "*"),
      "org.apache.kafka.tools.VerifiableProducer",
      ...words,
      ...limits,
    ]);
    let output = "";
    tool.stdout.on("data", (bytes: Buffer) => {
      output += bytes.toString();
    });
    const ended = new Promise((resolve) => tool.on("close", resolve));
    const acknowledgedCount = () => output.split('"name":"producer_send_success"').length - 1;

    for (let kill = 1; kill <= KILLS; kill++) {
      const target = (VERIFIED_RECORDS * kill) / (KILLS + 1);
      await waitUntil(`${target} records are acknowledged`, () => acknowledgedCount() >= target, 120_000);
      await server.stop("SIGKILL");
      server = await serveMillrace(["--data-dir", dataDir, "--kafka", brokers, "--http", http]);
    }
    await ended;

    assert.equal(acknowledgedCount(), VERIFIED_RECORDS, output.slice(-2000));
    const consumed = await runMillrace(["consume", "verified", "--brokers", brokers, "--format", "raw"]);
    const values = consumed.stdout.toString().trimEnd().split("\n");
    assert.deepEqual(
      values,
      Array.from({ length: VERIFIED_RECORDS }, (_, index) => `${index}`),
    );
  } finally {
    await server.stop("SIGKILL");
    await folder.remove();
  }
});
