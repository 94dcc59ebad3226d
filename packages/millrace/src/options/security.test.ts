import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { defineOptions, type TlsOptions } from "@millrace/base";
import type { SaslOptions } from "@millrace/client";
import { type SecurityConfig, securityConfig, securityEntries, securityRules } from "./security.ts";

const table = defineOptions(securityEntries, securityRules);
const directory = mkdtempSync(join(tmpdir(), "millrace-security-"));

after(() => rmSync(directory, { recursive: true }));

suite("TLS", () => {
  test("what is trusted or not asks for TLS by itself", () => {
    assert.deepEqual(tlsOf(config({ sslVerify: false })), { rejectUnauthorized: false });
    assert.deepEqual(tlsOf(config({ sslServername: "kafka" })), { rejectUnauthorized: true, servername: "kafka" });
    assert.throws(
      () => config({ sslCa: "no-such-file.pem" }),
      /^CommandError: cannot read the file of --ssl-ca: ENOENT/,
    );
  });

  test("a certificate goes with its key, and a passphrase comes from one place", () => {
    const path = fileOf("a.pem", "A");

    assert.throws(() => config({ sslCert: path }), /sslCert and sslKey go together/);
    assert.throws(
      () => config({ ssl: true, sslPassphrase: "a", sslPassphraseFile: path }),
      /sslPassphrase and sslPassphraseFile are two ways to say the same/,
    );
  });

  test("files are read again for each connection", () => {
    const sslCert = fileOf("cert.pem", "cert 1");
    const given = { sslCert, sslKey: fileOf("key.pem", "key"), sslPassphraseFile: fileOf("passphrase", "open\n") };
    const found = config(given);
    writeFileSync(sslCert, "cert 2");

    const { cert, key, passphrase } = tlsOf(found);

    assert.deepEqual([String(cert), String(key), passphrase], ["cert 2", "key", "open"]);
  });
});

suite("SASL", () => {
  const alice = { saslMechanism: "SCRAM-SHA-256", saslUsername: "alice", saslPassword: "secret" };

  test("a user, a mechanism and one password go together", () => {
    assert.deepEqual(config(alice).sasl, { mechanism: "SCRAM-SHA-256", username: "alice", password: "secret" });
    for (const given of [
      { ...alice, saslPassword: null },
      { ...alice, saslUsername: null },
      { ...alice, saslPasswordFile: fileOf("p", "secret") },
      { ...alice, saslMechanism: null },
    ]) {
      assert.throws(() => table.resolve(given), /need saslUsername and either saslPasswordFile or saslPassword/);
    }
  });

  test("a password's file is read for each login, up to its first line", async () => {
    const path = fileOf("password", "one\nnot this\n");
    const { sasl } = config({ ...alice, saslPassword: null, saslPasswordFile: path });

    assert.equal(await passwordOf(sasl), "one");
    writeFileSync(path, "two\r\n");
    assert.equal(await passwordOf(sasl), "two");
    assert.throws(
      () => config({ ...alice, saslPassword: null, saslPasswordFile: fileOf("empty", "") }),
      /the file of --sasl-password-file is empty/,
    );
  });

  test("a token comes as it is or in the JSON of an OAuth server", async () => {
    const bare = config({ saslMechanism: "OAUTHBEARER", saslTokenFile: fileOf("token", " abc.def \n") });
    const answer = config({
      saslMechanism: "OAUTHBEARER",
      saslTokenFile: fileOf("token.json", '{"access_token":"ghi","expires_in":3600}'),
    });

    assert.equal(await tokenOf(bare.sasl), "abc.def");
    assert.equal(await tokenOf(answer.sasl), "ghi");
  });

  test("what is no token is told without being shown", () => {
    const withToken = (text: string) => () =>
      config({ saslMechanism: "OAUTHBEARER", saslTokenFile: fileOf("no-token", text) });

    assert.throws(withToken(""), /is no token: it is empty/);
    assert.throws(
      withToken("two words"),
      (error: Error) => /it has spaces/.test(error.message) && !/two/.test(error.message),
    );
    assert.throws(withToken('{"error":"denied"}'), /is JSON, but has no access_token/);
    assert.throws(withToken("{"), /is JSON, but has no access_token/);
  });

  test("a command prints a token each time it is asked", async () => {
    const path = fileOf("count", "");
    const { sasl } = config({
      saslMechanism: "OAUTHBEARER",
      saslTokenCommand: `"${process.execPath}" -e "const fs = require('fs'); fs.appendFileSync(process.argv[1], 'x'); console.log('token-' + fs.readFileSync(process.argv[1]).length)" "${path}"`,
    });

    assert.equal(await tokenOf(sasl), "token-1");
    assert.equal(await tokenOf(sasl), "token-2");
  });

  test("a command that fails tells its code, not its words", async () => {
    const saslTokenCommand = `"${process.execPath}" -e "console.error('s3cret'); process.exit(3)"`;
    const { sasl } = config({ saslMechanism: "OAUTHBEARER", saslTokenCommand });

    await assert.rejects(tokenOf(sasl), (error: Error) => {
      assert.equal(error.message, "--sasl-token-command failed (3)");
      return true;
    });
  });

  test("a token's mechanism takes a token and nothing else", () => {
    assert.throws(() => config({ saslMechanism: "OAUTHBEARER" }), /needs either saslTokenFile or saslTokenCommand/);
    assert.throws(() => config({ ...alice, saslTokenFile: "token" }), /no other mechanism takes them/);
  });
});

function config(given: Readonly<Record<string, unknown>>): SecurityConfig {
  return securityConfig(table.resolve(given));
}

function fileOf(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

function tlsOf({ ssl }: SecurityConfig): TlsOptions {
  assert.equal(typeof ssl, "function");
  return typeof ssl === "function" ? ssl() : {};
}

async function passwordOf(sasl: SaslOptions | null): Promise<string> {
  if (sasl === null || sasl.mechanism === "OAUTHBEARER") assert.fail("expected a mechanism with a password");
  return typeof sasl.password === "string" ? sasl.password : sasl.password();
}

async function tokenOf(sasl: SaslOptions | null): Promise<unknown> {
  if (sasl?.mechanism !== "OAUTHBEARER") assert.fail("expected OAUTHBEARER");
  return sasl.token();
}
