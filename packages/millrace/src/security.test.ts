import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { formatAddress } from "@millrace/base";
import { Broker } from "@millrace/broker";
import { Admin, type AdminConfig, KafkaError, Producer } from "@millrace/client";
import {
  runMillrace,
  serverCertificate,
  serverKey,
  testAuthority,
  testClientAuthority,
  testClientCertificate,
  testClientKey,
} from "@millrace/testing";

const alice = { username: "alice", password: "alice-secret" };
let folder = "";
let certificates = { kafkaTlsCert: "", kafkaTlsKey: "" };
let clientCa = "";

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-security-"));
  const file = async (name: string, text: string) => {
    const path = join(folder, name);
    await writeFile(path, text);
    return path;
  };
  certificates = {
    kafkaTlsCert: await file("server.crt", serverCertificate),
    kafkaTlsKey: await file("server.key", serverKey),
  };
  clientCa = await file("clients.crt", testClientAuthority);
});
after(() => rm(folder, { recursive: true }));

const inMemory = { dataDir: "memory", port: 0, saslFailureDelayMs: 1 } as const;

async function produceOne(config: AdminConfig): Promise<string> {
  const producer = new Producer({ ...config, deliveryTimeoutMs: 5_000, requestTimeoutMs: 3_000, maxBlockMs: 2_000 });
  try {
    await producer.send({ topic: "t", value: "v" });
    return "sent";
  } catch (error) {
    assert.ok(error instanceof KafkaError);
    return error.code;
  } finally {
    await producer.close();
  }
}

test("a producer logs in with each mechanism; a wrong password is told at once", async () => {
  await using broker = await Broker.open({ ...inMemory, saslUsers: { alice: "alice-secret" } });
  const bootstrapServers = formatAddress(broker.address);

  for (const mechanism of ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] as const) {
    assert.equal(await produceOne({ bootstrapServers, sasl: { mechanism, ...alice } }), "sent");
    const wrong = { mechanism, ...alice, password: "wrong" };
    assert.equal(await produceOne({ bootstrapServers, sasl: wrong }), "SASL_AUTHENTICATION_FAILED");
  }
});

test("a command without a login is told at once which options it takes", async () => {
  await using broker = await Broker.open({ ...inMemory, saslUsers: { alice: "alice-secret" } });
  const brokers = formatAddress(broker.address);

  for (const words of [
    ["topics", "list"],
    ["produce", "t"],
    ["consume", "t"],
  ]) {
    const { exitCode, stderr } = await runMillrace([...words, "--brokers", brokers], { input: "v\n" });

    assert.equal(exitCode, 1);
    assert.match(stderr, /^millrace: the broker at .* asks for a login; say who you are with --sasl-mechanism .*\n$/);
  }
  const login = ["--sasl-mechanism", "PLAIN", "--sasl-username", "alice", "--sasl-password", "alice-secret"];
  assert.equal((await runMillrace(["topics", "list", "--brokers", brokers, ...login])).exitCode, 0);
});

test("a producer that outlives its login renews it and goes on", async () => {
  await using broker = await Broker.open({ ...inMemory, saslUsers: { alice: "alice-secret" }, saslSessionMs: 300 });
  await using producer = new Producer({
    bootstrapServers: formatAddress(broker.address),
    sasl: { mechanism: "SCRAM-SHA-256", ...alice },
  });
  const endMs = performance.now() + 1_000;

  while (performance.now() < endMs) await producer.send({ topic: "t", value: "v" });
});

test("TLS clients come in beside plain ones, and are told the address at which they are to stay", async () => {
  await using broker = await Broker.open({ ...inMemory, ...certificates, kafkaTls: "127.0.0.1:0" });
  assert.ok(broker.tlsAddress !== null);
  const secured = { bootstrapServers: formatAddress(broker.tlsAddress), ssl: { ca: testAuthority } };

  assert.equal(await produceOne(secured), "sent");
  assert.equal(await produceOne({ bootstrapServers: formatAddress(broker.address) }), "sent");

  await using admin = new Admin(secured);
  const offsets = await admin.listOffsets("t", "latest");
  assert.equal(
    [...offsets.values()].reduce((sum, { offset }) => sum + offset, 0n),
    2n,
  );
});

test("with users on TLS only, the plain listener asks nobody, and TLS asks everybody", async () => {
  const saslUsers = { alice: "alice-secret" };
  await using broker = await Broker.open({
    ...inMemory,
    ...certificates,
    kafkaTls: "127.0.0.1:0",
    saslUsers,
    saslOn: "tls",
  });
  assert.ok(broker.tlsAddress !== null);
  const secured = { bootstrapServers: formatAddress(broker.tlsAddress), ssl: { ca: testAuthority } };

  assert.equal(await produceOne({ bootstrapServers: formatAddress(broker.address) }), "sent");
  assert.equal(await produceOne({ ...secured, sasl: { mechanism: "PLAIN", ...alice } }), "sent");
  assert.notEqual(await produceOne(secured), "sent");
});

test("a client without a certificate is kept out where one is required", async () => {
  await using broker = await Broker.open({
    ...inMemory,
    ...certificates,
    kafkaTls: "127.0.0.1:0",
    kafkaTlsClientCa: clientCa,
    kafkaTlsClientAuth: "required",
  });
  assert.ok(broker.tlsAddress !== null);
  const bootstrapServers = formatAddress(broker.tlsAddress);
  const certificate = { cert: testClientCertificate, key: testClientKey };

  assert.equal(await produceOne({ bootstrapServers, ssl: { ca: testAuthority, ...certificate } }), "sent");
  assert.notEqual(await produceOne({ bootstrapServers, ssl: { ca: testAuthority } }), "sent");
});

test("where a certificate is requested, a client may come without, but not with one of another authority", async () => {
  await using broker = await Broker.open({
    ...inMemory,
    ...certificates,
    kafkaTls: "127.0.0.1:0",
    kafkaTlsClientCa: clientCa,
    kafkaTlsClientAuth: "requested",
  });
  assert.ok(broker.tlsAddress !== null);
  const bootstrapServers = formatAddress(broker.tlsAddress);
  const own = { cert: testClientCertificate, key: testClientKey };
  const others = { cert: serverCertificate, key: serverKey };

  assert.equal(await produceOne({ bootstrapServers, ssl: { ca: testAuthority, ...own } }), "sent");
  assert.equal(await produceOne({ bootstrapServers, ssl: { ca: testAuthority } }), "sent");
  assert.notEqual(await produceOne({ bootstrapServers, ssl: { ca: testAuthority, ...others } }), "sent");
});

test("half of what TLS needs is refused with the rule", async () => {
  const rule = /kafkaTls, kafkaTlsCert and kafkaTlsKey go together/;
  await assert.rejects(Broker.open({ ...inMemory, kafkaTls: "127.0.0.1:0" }), rule);

  const missing = { ...certificates, kafkaTlsKey: join(folder, "nowhere.key"), kafkaTls: "127.0.0.1:0" };
  await assert.rejects(Broker.open({ ...inMemory, ...missing }), /cannot read .*nowhere\.key/);
});
