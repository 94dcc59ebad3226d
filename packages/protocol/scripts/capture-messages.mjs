/**
 * Records what real clients and a real Apache Kafka say to each other: `node packages/protocol/scripts/capture-messages.mjs`.
 *
 * KAFKA_BOOTSTRAP: the broker's plain listener, as host:port. KAFKA_SASL_BOOTSTRAP: its SASL_PLAINTEXT listener, with
 * SCRAM-SHA-512 enabled. KAFKA_JARS: folders of Kafka's jars, of several releases if you like, separated as in PATH;
 * their tools are the clients, and kcat is another.
 *
 *     kcat, Kafka's tools ──▶ this proxy (port + 50) ──▶ Apache Kafka (port)
 *
 * The broker has to advertise the proxy: advertised.listeners=PLAINTEXT://127.0.0.1:(port + 50), and so for SASL. It
 * should have an authorizer with super.users=User:ANONYMOUS, else the answers about ACLs are all SECURITY_DISABLED.
 * Writes fixtures/messages.ndjson anew, which golden-messages.test.ts reads.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { apiByKey, decodeRequestHeader, FrameSplitter, Reader } from "../dist/index.js";

const PROXY_PORT_DISTANCE = 50;
const FRAME_LIMIT_BYTES = 100 * 1024 * 1024;
/** What is larger is left out, such as all options of a broker with their documentation. */
const FIXTURE_LIMIT_BYTES = 2000;
const COMMAND_TIMEOUT_MS = 60_000;
/** How long a transaction stays open for others to look at. */
const OPEN_TRANSACTION_MS = 4000;

const plain = upstream("KAFKA_BOOTSTRAP");
const sasl = upstream("KAFKA_SASL_BOOTSTRAP");
const jarFolders = required("KAFKA_JARS").split(delimiter);

/** The client whose frames come now. */
let client = "";
/** Fixtures by API, version, kind and client: the first frame, and the largest. */
const kept = new Map();

const sockets = new Set();
const proxies = [await startProxy(plain), await startProxy(sasl)];
await captureKcat();
for (const folder of jarFolders) await captureTools(folder);
for (const proxy of proxies) proxy.close();
// The broker talks to itself through the address that it advertises, and keeps its connections.
for (const socket of sockets) socket.destroy();
writeFixtures();

async function captureKcat() {
  client = "kcat";
  const kcat = (args, input) => run("kcat", ["-b", plain.proxy, ...args.split(" ")], input);

  await kcat("-L");
  for (const codec of ["none", "gzip", "snappy", "lz4", "zstd"]) {
    await kcat(`-P -t kcat-orders -K: -H trace=1 -z ${codec}`, "key:value\nother:\n");
  }
  await kcat("-P -t kcat-orders -X enable.idempotence=true", "once\n");
  await kcat("-P -t kcat-orders -X transactional.id=kcat-writer", "in a transaction\n");
  await kcat("-P -t kcat-orders -X acks=0", "unanswered\n");
  await kcat("-P -t kcat-orders -X acks=1", "to the leader\n");
  await kcat("-C -t kcat-orders -o beginning -e");
  await kcat("-C -t kcat-orders -p 0 -o 99999 -e");
  await kcat("-Q -t kcat-orders:0:-1");
  await kcat("-G kcat-readers -X auto.offset.reset=earliest -e kcat-orders");
}

async function captureTools(folder) {
  const version = versionOf(folder);
  client = `Java ${version}`;
  // These three have moved from the Scala to the Java part of Kafka with 4.0.
  const moved = version.startsWith("3.") ? { tools: "kafka.tools", admin: "kafka.admin" } : {};
  const tools = "org.apache.kafka.tools";
  const producer = `${moved.tools ?? tools}.ConsoleProducer`;
  const acls = `${moved.admin ?? tools}.AclCommand`;
  const configs = "kafka.admin.ConfigCommand";
  const topics = `${tools}.TopicCommand`;
  const consumer = `${tools}.consumer.ConsoleConsumer`;
  const groups = `${tools}.consumer.group.ConsumerGroupCommand`;
  const offsets = `${tools}.GetOffsetShell`;
  const transactions = `${tools}.TransactionsCommand`;

  const java = (name, args, input) =>
    run("java", ["-cp", join(folder, "*"), name, ...(Array.isArray(args) ? args : args.split(" "))], input);
  const to = `--bootstrap-server ${plain.proxy}`;
  const topic = `--topic orders-${version}`;
  const group = `--group readers-${version}`;
  const user = `--entity-type users --entity-name bob-${version}`;

  await java(topics, `${to} --create ${topic} --partitions 2 --config retention.ms=9000000`);
  await java(topics, `${to} --create ${topic}`);
  await java(topics, `${to} --list`);
  await java(topics, `${to} --describe ${topic}`);
  await java(topics, `${to} --alter ${topic} --partitions 3`);
  await java(configs, `${to} --describe --entity-type topics --entity-name orders-${version}`);
  await java(
    configs,
    `${to} --alter --entity-type topics --entity-name orders-${version} --add-config segment.ms=70000`,
  );

  await java(producer, `${to} ${topic} --compression-codec lz4`, "first\nsecond\n");
  const keyed = [..."abcdefgh"].map((key) => `${key}\tvalue\n`).join("");
  await java(producer, `${to} ${topic} --request-required-acks 1 --property parse.key=true`, keyed);
  await java(consumer, `${to} ${topic} ${group} --from-beginning --max-messages 3`);
  await java(consumer, `${to} ${topic} --from-beginning --max-messages 3 --isolation-level read_committed`);
  await java(offsets, `${to} ${topic}`);
  await java(offsets, `${to} ${topic} --time max-timestamp`);
  await java(groups, `${to} --list --state`);
  await java(groups, `${to} --describe ${group}`);
  await java(groups, `${to} --describe ${group} --members --verbose`);
  await java(groups, `${to} --delete-offsets ${group} ${topic}`);
  await java(groups, `${to} --reset-offsets ${group} ${topic} --to-earliest --execute`);
  await java(groups, `${to} --delete ${group}`);

  const writer = `--transactional-id writer-${version}`;
  const load = `--num-records 4 --record-size 10 --throughput 1 --transaction-duration-ms ${OPEN_TRANSACTION_MS}`;
  const writing = java(
    `${tools}.ProducerPerformance`,
    `${topic} ${load} ${writer} --producer-props bootstrap.servers=${plain.proxy}`,
  );
  await sleep(OPEN_TRANSACTION_MS / 2);
  await java(transactions, `${to} list`);
  await java(transactions, `${to} describe ${writer}`);
  await java(transactions, `${to} describe-producers ${topic} --partition 0`);
  await writing;
  await java(
    `${tools}.TransactionalMessageCopier`,
    `--broker-list ${plain.proxy} --input-topic orders-${version} --input-partition 0 --output-topic copies-${version} ` +
      `--transactional-id copier-${version} --consumer-group copiers-${version} --max-messages 1`,
  );

  const request = { partitions: [{ topic: `orders-${version}`, partition: 0, offset: -1 }], version: 1 };
  const folderOfRequest = mkdtempSync(join(tmpdir(), "millrace-capture-"));
  const pathOfRequest = join(folderOfRequest, "delete-records.json");
  writeFileSync(pathOfRequest, JSON.stringify(request));
  await java(`${tools}.DeleteRecordsCommand`, `${to} --offset-json-file ${pathOfRequest}`);
  rmSync(folderOfRequest, { recursive: true });
  await java(`${tools}.LogDirsCommand`, `${to} --describe --topic-list orders-${version}`);
  await java(`${tools}.LeaderElectionCommand`, `${to} --election-type preferred --all-topic-partitions`);
  await java(`${tools}.reassign.ReassignPartitionsCommand`, `${to} --list`);
  await java(`${tools}.ClusterTool`, `list-endpoints ${to}`);
  await java(acls, `${to} --add --allow-principal User:bob --operation Read ${topic}`);
  await java(acls, `${to} --list ${topic}`);
  await java(acls, `${to} --remove --force --allow-principal User:bob --operation Read ${topic}`);
  await java(configs, `${to} --alter ${user} --add-config producer_byte_rate=1048576`);
  await java(configs, `${to} --alter ${user} --add-config SCRAM-SHA-512=[iterations=4096,password=bob-secret]`);
  await java(configs, `${to} --describe ${user}`);

  for (const password of ["bob-secret", "wrong"]) {
    const module = "org.apache.kafka.common.security.scram.ScramLoginModule";
    const login = `${module} required username="bob-${version}" password="${password}";`;
    const security =
      "--producer-property security.protocol=SASL_PLAINTEXT --producer-property sasl.mechanism=SCRAM-SHA-512";
    const args = `--bootstrap-server ${sasl.proxy} ${topic} ${security} --producer-property`.split(" ");
    await java(producer, [...args, `sasl.jaas.config=${login}`], "authenticated\n");
  }
  await java(configs, `${to} --alter ${user} --delete-config SCRAM-SHA-512`);
  await java(topics, `${to} --delete ${topic}`);
}

/** Runs a client to its end. One that fails is part of what is captured: the broker's answer says why. */
async function run(command, args, input = "") {
  const label = [command, ...args].join(" ").replace(/-cp \S+ /, "");
  const child = spawn(command, args, { stdio: ["pipe", "ignore", "ignore"], timeout: COMMAND_TIMEOUT_MS });
  child.stdin.on("error", () => {}); // it may have ended without reading
  child.stdin.end(input);
  const [exitCode, signal] = await once(child, "exit");
  process.stdout.write(`${signal ?? exitCode}\t${label}\n`);
}

async function startProxy({ host, port, proxyPort }) {
  const server = createServer((downstream) => {
    const broker = connect(port, host);
    const pending = new Map();
    record(downstream, broker, (frame) => {
      const { apiKey, apiVersion, correlationId, clientId } = decodeRequestHeader(new Reader(frame));
      const sender = clientId?.startsWith("AddPartitionsManager") ? "broker" : client;
      pending.set(correlationId, { apiKey, apiVersion, sender });
      keep({ apiKey, apiVersion, sender }, "request", frame);
    });
    record(broker, downstream, (frame) => {
      const request = pending.get(frame.readInt32BE(0));
      pending.delete(frame.readInt32BE(0));
      if (request !== undefined) keep(request, "response", frame);
    });
  });
  server.listen(proxyPort, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** Passes on what comes from one side to the other, and each whole frame of it to onFrame. */
function record(from, to, onFrame) {
  const splitter = new FrameSplitter(FRAME_LIMIT_BYTES);
  from.on("data", (chunk) => {
    splitter.push(chunk, onFrame);
    to.write(chunk);
  });
  sockets.add(from);
  from.on("close", () => {
    sockets.delete(from);
    to.destroy();
  });
  from.on("error", () => to.destroy());
}

function keep({ apiKey, apiVersion, sender }, kind, frame) {
  const api = apiByKey.get(apiKey);
  if (api === undefined || apiVersion < api.versions.min || apiVersion > api.versions.max) return;
  if (frame.length > FIXTURE_LIMIT_BYTES) return;
  const key = [apiKey, apiVersion, kind, sender].map((part) => String(part).padStart(3)).join(" ");
  const fixture = { api: api.name, version: apiVersion, kind, client: sender, frame: frame.toString("base64") };
  const [first, largest = first] = kept.get(key) ?? [];
  if (first === undefined) kept.set(key, [fixture]);
  else if (fixture.frame.length > largest.frame.length) kept.set(key, [first, fixture]);
}

function writeFixtures() {
  const lines = [...kept].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, fixtures]) => fixtures);
  const path = new URL("../fixtures/messages.ndjson", import.meta.url);
  writeFileSync(path, lines.map((fixture) => `${JSON.stringify(fixture)}\n`).join(""));
  process.stdout.write(`${lines.length} frames written to ${path.pathname}\n`);
}

function versionOf(folder) {
  const [, version] = readdirSync(folder).flatMap((file) => /^kafka-clients-(.+)\.jar$/.exec(file) ?? []);
  if (version === undefined) throw new Error(`KAFKA_JARS: ${folder} has no kafka-clients-*.jar`);
  return version;
}

function upstream(name) {
  const [, host, port] = /^(.+):(\d+)$/.exec(required(name)) ?? [];
  if (port === undefined) throw new Error(`${name}: expected host:port, found ${process.env[name]}`);
  const proxyPort = Number(port) + PROXY_PORT_DISTANCE;
  return { host, port: Number(port), proxyPort, proxy: `127.0.0.1:${proxyPort}` };
}

function required(name) {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}
