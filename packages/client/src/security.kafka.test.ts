import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { KafkaError } from "@millrace/protocol";
import { Admin, type AdminConfig } from "./admin.ts";
import { Cluster } from "./cluster/cluster.ts";
import type { SaslOptions } from "./cluster/sasl.ts";
import { commonOptions } from "./common-options.ts";

const control = process.env.KAFKA_CONTROL;
/** Where the control command puts its listeners, from the port of the plain one on. */
const PORT = 24_592;
const sasl = `127.0.0.1:${PORT + 200}`;
const mutualTls = `127.0.0.1:${PORT + 300}`;
const saslOverTls = `127.0.0.1:${PORT + 400}`;
/** Short, so that a test sees sessions end. */
const SESSION_MS = 3_000;
const alice = { username: "alice", password: "alice-secret" };
const mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] as const;

suite("security on Apache Kafka", { skip: control === undefined ? "KAFKA_CONTROL is not set" : false }, () => {
  let state: string;
  let ca: Buffer;
  let cert: Buffer;
  let key: Buffer;

  before(async () => {
    state = await mkdtemp(join(tmpdir(), "millrace-kafka-"));
    const reauthentication = `connections.max.reauth.ms=${SESSION_MS}`;
    await run(["start", "--secure", "--port", String(PORT), "--set", reauthentication], state);
    [ca, cert, key] = await Promise.all(
      ["ca.crt", "client.crt", "client.key"].map((name) => readFile(join(state, "tls", name))),
    ).then(([authority, certificate, privateKey]) => {
      assert.ok(authority !== undefined && certificate !== undefined && privateKey !== undefined);
      return [authority, certificate, privateKey];
    });
  });

  after(async () => {
    await run(["stop"], state);
    await rm(state, { recursive: true, force: true });
  });

  for (const mechanism of mechanisms) {
    test(`${mechanism} works, over TLS too; a wrong password and an unknown user are refused at once`, async () => {
      await reach({ bootstrapServers: sasl, sasl: { mechanism, ...alice } });
      await reach({ bootstrapServers: saslOverTls, ssl: { ca }, sasl: { mechanism, ...alice } });

      for (const wrong of [{ password: "wrong" }, { username: "bob" }]) {
        const error = await failureOf({ bootstrapServers: sasl, sasl: { mechanism, ...alice, ...wrong } });
        assert.equal(error.code, "SASL_AUTHENTICATION_FAILED");
        assert.equal(error.retriable, false);
        assert.doesNotMatch(error.message, /alice-secret/);
      }
    });
  }

  test("a mechanism that the broker has not is told with those it has", async () => {
    const oauth: SaslOptions = { mechanism: "OAUTHBEARER", token: () => "token" };

    const error = await failureOf({ bootstrapServers: sasl, sasl: oauth });

    assert.equal(error.code, "UNSUPPORTED_SASL_MECHANISM");
    assert.match(error.message, /the broker offers .*PLAIN/);
  });

  test("without SASL, a listener that asks for it gives a hint", async () => {
    const error = await failureOf({ bootstrapServers: sasl, apiTimeoutMs: 1_000 });

    assert.match(error.message, /perhaps it asks for SASL/);
  });

  test("TLS with a client certificate works, by address and by name", async () => {
    await reach({ bootstrapServers: mutualTls, ssl: { ca, cert, key } });
    await reach({ bootstrapServers: mutualTls.replace("127.0.0.1", "localhost"), ssl: () => ({ ca, cert, key }) });
  });

  test("a missing certificate, an unknown authority and a wrong name are refused at once", async () => {
    for (const ssl of [{ ca }, { cert, key }, { ca, cert, key, servername: "broker.example" }]) {
      const error = await failureOf({ bootstrapServers: mutualTls, ssl });
      assert.equal(error.retriable, false, error.message);
    }
  });

  test("plain text on a TLS listener says what to set", async () => {
    assert.match((await failureOf({ bootstrapServers: mutualTls })).message, /the broker speaks TLS here; set ssl/);
  });

  test("a connection outlives its sessions: it authenticates again under load", async () => {
    const credentials: SaslOptions = { mechanism: "SCRAM-SHA-256", ...alice };
    const cluster = new Cluster(commonOptions.resolve({ bootstrapServers: sasl, sasl: credentials }));
    const connection = await cluster.anyConnection();
    const endMs = performance.now() + SESSION_MS * 2.5;
    let requestCount = 0;

    while (performance.now() < endMs) {
      await Promise.all([cluster.metadata.refreshBrokers(), cluster.metadata.allTopics()]);
      requestCount += 2;
    }

    assert.equal(connection.isOpen, true);
    assert.equal(await cluster.anyConnection(), connection);
    assert.ok(requestCount > 100, `${requestCount} requests`);
    await cluster.close();
  });

  async function reach(config: AdminConfig): Promise<void> {
    await using admin = new Admin(config);
    assert.equal((await admin.describeCluster()).brokers.length, 1);
  }

  async function failureOf(config: AdminConfig): Promise<KafkaError> {
    const error = await reach({ apiTimeoutMs: 10_000, ...config }).then(
      () => assert.fail("expected a rejection"),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof KafkaError, `expected a KafkaError, found ${String(error)}`);
    return error;
  }
});

async function run(args: readonly string[], state: string): Promise<void> {
  const [command = "", ...given] = (control ?? "").split(" ");
  await promisify(execFile)(command, [...given, ...args], { env: { ...process.env, KAFKA_STATE: state } });
}
