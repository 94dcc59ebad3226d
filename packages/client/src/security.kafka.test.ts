import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import type { KafkaError } from "@millrace/protocol";
import { KafkaCluster, rejectionOf, waitUntil } from "@millrace/testing";
import { Admin, type AdminConfig } from "./admin.ts";
import { Cluster } from "./cluster/cluster.ts";
import type { SaslOptions } from "./cluster/sasl.ts";
import { commonOptions } from "./common-options.ts";

const control = process.env.KAFKA_CONTROL;
const PORT = 24_592;
/** Short, so that a test sees sessions end. */
const SESSION_MS = 3_000;
const alice = { username: "alice", password: "alice-secret" };
const mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] as const;
/** Without a handler of its own Kafka takes tokens that nobody has signed, as long as they have not expired. */
const oauthSettings = [
  `listener.name.sasl_ssl.sasl.enabled.mechanisms=${[...mechanisms, "OAUTHBEARER"]}`,
  "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
];

suite("security on Apache Kafka", { skip: control === undefined ? "KAFKA_CONTROL is not set" : false }, () => {
  let cluster: KafkaCluster;
  let ca: Buffer;
  let cert: Buffer;
  let key: Buffer;

  before(async () => {
    const settings = [`connections.max.reauth.ms=${SESSION_MS}`, ...oauthSettings];
    cluster = await KafkaCluster.start(control ?? "", { nodes: 1, port: PORT, isSecure: true, settings });
    ca = readFileSync(cluster.tlsFile("ca.crt"));
    cert = readFileSync(cluster.tlsFile("client.crt"));
    key = readFileSync(cluster.tlsFile("client.key"));
  });

  after(() => cluster?.stop());

  for (const mechanism of mechanisms) {
    test(`${mechanism} works, over TLS too; a wrong password and an unknown user are refused at once`, async () => {
      await reach({ bootstrapServers: cluster.listeners.sasl, sasl: { mechanism, ...alice } });
      await reach({ bootstrapServers: cluster.listeners.saslOverTls, ssl: { ca }, sasl: { mechanism, ...alice } });

      for (const wrong of [{ password: "wrong" }, { username: "bob" }]) {
        const error = await failureOf({
          bootstrapServers: cluster.listeners.sasl,
          sasl: { mechanism, ...alice, ...wrong },
        });
        assert.equal(error.code, "SASL_AUTHENTICATION_FAILED");
        assert.equal(error.retriable, false);
        assert.doesNotMatch(error.message, /alice-secret/);
      }
    });
  }

  test("OAUTHBEARER works with a token that is asked for at each login; one that has expired is refused at once", async () => {
    let tokenCount = 0;
    const token = (lifetimeS: number) => () => {
      tokenCount += 1;
      return unsignedToken("alice", lifetimeS);
    };
    const over = { bootstrapServers: cluster.listeners.saslOverTls, ssl: { ca } };
    const client = new Cluster(
      commonOptions.resolve({ ...over, sasl: { mechanism: "OAUTHBEARER", token: token(60) } }),
    );
    const connection = await client.anyConnection();

    await waitUntil("it has logged in again", async () => {
      await client.metadata.refreshBrokers();
      return tokenCount > 1;
    });
    await client.metadata.refreshBrokers();
    assert.equal(await client.anyConnection(), connection);
    await client.close();

    const error = await failureOf({ ...over, sasl: { mechanism: "OAUTHBEARER", token: token(-60) } });
    assert.equal(error.code, "SASL_AUTHENTICATION_FAILED");
    assert.match(error.message, /invalid_token/);
  });

  test("a mechanism that the broker has not is told with those it has", async () => {
    const oauth: SaslOptions = { mechanism: "OAUTHBEARER", token: () => "token" };

    const error = await failureOf({ bootstrapServers: cluster.listeners.sasl, sasl: oauth });

    assert.equal(error.code, "UNSUPPORTED_SASL_MECHANISM");
    assert.match(error.message, /the broker offers .*PLAIN/);
  });

  test("without SASL, a listener that asks for it gives a hint", async () => {
    const error = await failureOf({ bootstrapServers: cluster.listeners.sasl, apiTimeoutMs: 1_000 });

    assert.match(error.message, /perhaps it asks for SASL/);
  });

  test("TLS with a client certificate works, by address and by name", async () => {
    await reach({ bootstrapServers: cluster.listeners.mutualTls, ssl: { ca, cert, key } });
    await reach({
      bootstrapServers: cluster.listeners.mutualTls.replace("127.0.0.1", "localhost"),
      ssl: () => ({ ca, cert, key }),
    });
  });

  test("a missing certificate, an unknown authority and a wrong name are refused at once", async () => {
    for (const ssl of [{ ca }, { cert, key }, { ca, cert, key, servername: "broker.example" }]) {
      const error = await failureOf({ bootstrapServers: cluster.listeners.mutualTls, ssl });
      assert.equal(error.retriable, false, error.message);
    }
  });

  test("plain text on a TLS listener says what to set", async () => {
    assert.match(
      (await failureOf({ bootstrapServers: cluster.listeners.mutualTls })).message,
      /the broker speaks TLS here; set ssl/,
    );
  });

  test("a connection outlives its sessions: it authenticates again under load", async () => {
    const credentials: SaslOptions = { mechanism: "SCRAM-SHA-256", ...alice };
    const client = new Cluster(commonOptions.resolve({ bootstrapServers: cluster.listeners.sasl, sasl: credentials }));
    const connection = await client.anyConnection();
    const endMs = performance.now() + SESSION_MS * 2.5;
    let requestCount = 0;

    while (performance.now() < endMs) {
      await Promise.all([client.metadata.refreshBrokers(), client.metadata.allTopics()]);
      requestCount += 2;
    }

    assert.equal(connection.isOpen, true);
    assert.equal(await client.anyConnection(), connection);
    assert.ok(requestCount > 100, `${requestCount} requests`);
    await client.close();
  });

  async function reach(config: AdminConfig): Promise<void> {
    await using admin = new Admin(config);
    assert.equal((await admin.describeCluster()).brokers.length, 1);
  }

  function failureOf(config: AdminConfig): Promise<KafkaError> {
    return rejectionOf(reach({ apiTimeoutMs: 10_000, ...config }));
  }
});

/** RFC 7515, appendix A.5: a claim of who one is, without a signature. */
function unsignedToken(subject: string, lifetimeS: number): string {
  const nowS = Math.floor(Date.now() / 1000);
  const part = (json: object) => Buffer.from(JSON.stringify(json)).toString("base64url");
  return `${part({ alg: "none" })}.${part({ sub: subject, iat: nowS - 120, exp: nowS + lifetimeS })}.`;
}
