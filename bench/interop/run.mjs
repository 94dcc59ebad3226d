/**
 * Runs the clients that are here against a broker of this checkout: node bench/interop/run.mjs [NAME…]
 *
 * INTEROP_PYTHON: a python with confluent-kafka[avro,json,schema-registry] and kafka-python; INTEROP_MODULES: a folder in which
 * kafkajs, @kafkajs/confluent-schema-registry, @platformatic/kafka and node@24 are installed, and plugins of kafkajs for more codecs; KAFKA_TOOL: what runs Kafka's
 * tools by name ("kafka tool"); KAFKA_JARS: a folder with Kafka's jars. What is missing is skipped, and said so. Exit code
 * 1 if anything failed.
 */

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatAddress } from "../../packages/base/dist/index.js";
import { Broker } from "../../packages/broker/dist/index.js";
import { Gateway } from "../../packages/gateway/dist/index.js";
import { serverCertificate, serverKey, testAuthority } from "../../packages/testing/dist/index.js";

/** Longest that one client may take for all it has to show. */
const LIMIT_MS = 15 * 60_000;
const here = dirname(fileURLToPath(import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "millrace-interop-"));
const dataDir = join(folder, "data");
const file = (name, text) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

const ca = file("ca.crt", testAuthority);
const kafkaTlsCert = file("server.crt", serverCertificate);
const kafkaTlsKey = file("server.key", serverKey);
const plain = await Broker.open({ dataDir, port: 0 });
const locked = await Broker.open({
  dataDir: "memory",
  port: 0,
  kafkaTls: "127.0.0.1:0",
  kafkaTlsCert,
  kafkaTlsKey,
  saslUsers: { alice: "alice-secret" },
});

const server = formatAddress(plain.address);
const gateway = await Gateway.open({ port: 0, bootstrapServers: server });
const url = `http://${formatAddress(gateway.address)}`;
const python = process.env.INTEROP_PYTHON ?? "";
const modules = process.env.INTEROP_MODULES ?? "";
const newNode = join(modules, "node_modules/.bin/node");
const kafkaTool = process.env.KAFKA_TOOL ?? "";
const jars = process.env.KAFKA_JARS ?? "";
const has = (command) => spawnSync(command, ["--version"], { stdio: "ignore" }).error === undefined;

const scenarios = {
  kcat: { is: has("kcat"), command: ["bash", "kcat.sh", server] },
  confluent: { is: python !== "", command: [python, "confluent.py", server] },
  "kafka-python": { is: python !== "", command: [python, "kafka_python.py", server] },
  kafkajs: { is: modules !== "", command: [process.execPath, "kafkajs.mjs", server] },
  "kafkajs-registry": { is: modules !== "", command: [process.execPath, "registry.mjs", server, url] },
  "confluent-registry": { is: python !== "", command: [python, "registry.py", server, url] },
  "confluent-json-schema": { is: python !== "", command: [python, "json_schema.py", server, url] },
  platformatic: { is: modules !== "" && existsSync(newNode), command: [newNode, "platformatic.mjs", server] },
  "franz-go": { is: has("go"), command: ["go", "run", ".", server], folder: "franz-go" },
  java: { is: jars !== "", command: ["java", "-cp", join(jars, "*"), "JavaClients.java", server] },
  "kafka-tools": { is: kafkaTool !== "", command: ["bash", "kafka-tools.sh", server, dataDir] },
  security: {
    is: kafkaTool !== "" && has("kcat"),
    command: ["bash", "security.sh", formatAddress(locked.address), formatAddress(locked.tlsAddress), ca],
  },
};

const wanted = process.argv.slice(2);
const names = wanted.length === 0 ? Object.keys(scenarios) : wanted;
try {
  const unknown = names.filter((name) => scenarios[name] === undefined);
  if (unknown.length > 0) {
    throw new Error(`there is no client ${unknown.join(", ")}; there are ${Object.keys(scenarios).join(", ")}`);
  }
  for (const name of names) {
    const { is, command, folder: sub = "." } = scenarios[name];
    console.log(`\n${name}${is ? "" : ": skipped, what it needs is not here"}`);
    if (!is) continue;
    const [program, ...args] = command;
    const env = { ...process.env, PYTHON: python, PYTHONDONTWRITEBYTECODE: "1" };
    const child = spawn(program, args, { cwd: join(here, sub), stdio: "inherit", env, timeout: LIMIT_MS });
    const code = await new Promise((resolve) => child.on("close", resolve));
    if (code !== 0) process.exitCode = 1;
  }
} finally {
  await gateway.close();
  await plain.close();
  await locked.close();
  rmSync(folder, { recursive: true, force: true });
}
