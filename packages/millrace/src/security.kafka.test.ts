import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import {
  KafkaCluster,
  runMillrace,
  serveMillrace,
  type TemporaryFolder,
  temporaryFolder,
  uniqueTopic,
} from "@millrace/testing";

const control = process.env.KAFKA_CONTROL;
const PORT = 23_992;
const PASSWORD = "alice-secret";
const lines = ["first", "Grüße", "", "fourth"];

/** One way to say who we are: flags, and variables of the environment. */
interface Way {
  readonly flags: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

suite("the command towards a secured Kafka", {
  skip: control === undefined ? "KAFKA_CONTROL is not set" : false,
}, () => {
  let cluster: KafkaCluster;
  let folder: TemporaryFolder;
  let ways: Readonly<Record<string, Way>>;

  before(async () => {
    folder = await temporaryFolder();
    cluster = await KafkaCluster.start(control ?? "", { nodes: 1, port: PORT, isSecure: true });
    const passwordFile = join(folder.path, "password");
    await writeFile(passwordFile, `${PASSWORD}\n`);
    ways = waysTo(cluster, passwordFile);
  });

  after(async () => {
    await cluster?.stop();
    await folder?.remove();
  });

  for (const name of Object.keys(waysTo(null, ""))) {
    test(`topics, produce, consume and perf: ${name}`, async () => {
      const { flags, environment = {} } = ways[name] ?? assert.fail();
      const topic = uniqueTopic("secured");
      const millrace = async (words: readonly string[], input?: string) => {
        const options = input === undefined ? { environment } : { environment, input };
        const { exitCode, stdout, stderr } = await runMillrace([...words, ...flags], options);
        assert.equal(exitCode, 0, `millrace ${words.join(" ")}: ${stderr}`);
        return stdout.toString();
      };

      await millrace(["topics", "create", topic, "--partitions", "1"]);
      assert.match(await millrace(["topics", "list"]), new RegExp(topic));
      await millrace(["produce", topic], `${lines.join("\n")}\n`);
      assert.equal(await millrace(["consume", topic, "--format", "raw"]), `${lines.join("\n")}\n`);
      const produced = JSON.parse(await millrace(["perf", "produce", topic, "--records", "500", "--json"]));
      assert.equal(produced.recordCount, 500);
      const consumed = JSON.parse(await millrace(["perf", "consume", topic, "--json"]));
      assert.equal(consumed.recordCount, 500 + lines.length);
      await millrace(["topics", "delete", topic]);
    });

    test(`serve --brokers: ${name}`, async () => {
      const { flags, environment = {} } = ways[name] ?? assert.fail();
      const topic = uniqueTopic("served");
      const words = ["--http", "127.0.0.1:0", "--data-dir", join(folder.path, topic)];
      const server = await serveMillrace([...words, ...flags], variablesOfServe(environment));
      try {
        const api = `http://${server.ready.http}/api/topics`;
        const call = async (url: string, body?: object) => {
          const init =
            body === undefined
              ? {}
              : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
          const response = await fetch(url, init);
          const text = await response.text();
          assert.ok(response.ok, `${response.status} ${text}`);
          return JSON.parse(text);
        };
        await call(api, { name: topic, partitions: 1 });
        const { offsets } = await call(`${api}/${topic}/produce`, { records: lines.map((value) => ({ value })) });
        const messages = await call(`${api}/${topic}/messages?partition=0&offset=0&limit=10`);

        assert.equal(server.ready.kafka, null);
        assert.equal(offsets.length, lines.length);
        assert.equal(messages.length, lines.length);
      } finally {
        assert.equal((await server.stop()).exitCode, 0);
      }
    });
  }

  test("a wrong password is told at once, and not shown", async () => {
    const flags = [
      "--brokers",
      cluster.listeners.sasl,
      "--sasl-mechanism",
      "SCRAM-SHA-256",
      "--sasl-username",
      "alice",
    ];
    const environment = { MILLRACE_SASL_PASSWORD: "not-her-secret" };

    for (const words of [
      ["topics", "list"],
      ["consume", "orders"],
      ["perf", "produce", "orders"],
    ]) {
      const { exitCode, stderr } = await runMillrace([...words, ...flags], { environment });
      assert.equal(exitCode, 1);
      assert.match(stderr, /SASL_AUTHENTICATION_FAILED/);
      assert.doesNotMatch(stderr, /not-her-secret/);
    }
  });

  test("without what the listener asks for, the message says what to set", async () => {
    const plain = await runMillrace(["topics", "list", "--brokers", cluster.listeners.mutualTls]);
    assert.equal(plain.exitCode, 1);
    assert.match(plain.stderr, /speaks TLS/);
    for (const flags of [
      ["--brokers", cluster.listeners.sasl],
      ["--brokers", cluster.listeners.saslOverTls, "--ssl-ca", cluster.tlsFile("ca.crt")],
    ]) {
      const nameless = await runMillrace(["topics", "list", ...flags]);
      assert.equal(nameless.exitCode, 1);
      assert.match(nameless.stderr, /it asks for a login; say who you are with --sasl-mechanism/);
    }
  });
});

/** serve has names of its own for what the client commands take, so that a shell can be set up for both. */
function variablesOfServe(environment: Readonly<Record<string, string>>): Record<string, string> {
  const renamed = Object.entries(environment).map(([name, value]) => [
    name.replace(/^MILLRACE_/, "MILLRACE_SERVE_"),
    value,
  ]);
  return Object.fromEntries(renamed);
}

/** Null instead of a cluster gives the names alone. */
function waysTo(cluster: KafkaCluster | null, passwordFile: string): Readonly<Record<string, Way>> {
  const { sasl = "", mutualTls = "", saslOverTls = "" } = cluster?.listeners ?? {};
  const file = (name: string) => cluster?.tlsFile(name) ?? "";
  return {
    "SASL PLAIN, the password in a variable": {
      flags: ["--brokers", sasl, "--sasl-mechanism", "PLAIN", "--sasl-username", "alice"],
      environment: { MILLRACE_SASL_PASSWORD: PASSWORD },
    },
    "SCRAM-SHA-256, the password as a flag": {
      flags: [
        ...["--brokers", sasl, "--sasl-mechanism", "SCRAM-SHA-256"],
        ...["--sasl-username", "alice", "--sasl-password", PASSWORD],
      ],
    },
    "SCRAM-SHA-512 over TLS, the password in a file": {
      flags: [
        ...["--brokers", saslOverTls, "--ssl-ca", file("ca.crt"), "--sasl-mechanism", "SCRAM-SHA-512"],
        ...["--sasl-username", "alice", "--sasl-password-file", passwordFile],
      ],
    },
    "TLS with a client certificate, all in variables": {
      flags: [],
      environment: {
        MILLRACE_BROKERS: mutualTls,
        MILLRACE_SSL_CA: file("ca.crt"),
        MILLRACE_SSL_CERT: file("client.crt"),
        MILLRACE_SSL_KEY: file("client.key"),
      },
    },
    "TLS by name, without looking at the broker's certificate": {
      flags: [
        ...["--brokers", mutualTls.replace("127.0.0.1", "localhost"), "--no-ssl-verify"],
        ...["--ssl-cert", file("client.crt"), "--ssl-key", file("client.key")],
      ],
    },
  };
}
