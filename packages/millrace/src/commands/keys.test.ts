import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { test } from "node:test";
import {
  runMillrace,
  serveMillrace,
  serverCertificate,
  serverKey,
  temporaryFolder,
  testAuthority,
  testClientAuthority,
  testClientCertificate,
  testClientKey,
  waitUntil,
} from "@millrace/testing";

const FREE_PORTS = ["--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"];

test("a key made before the server starts opens what it is for; one made while it runs does too, until it is revoked", async () => {
  const folder = await temporaryFolder();
  const keys = (...words: string[]) => runMillrace(["keys", ...words, "--data-dir", folder.path]);
  try {
    const admin = (await keys("create", "--scope", "admin", "--name", "ops")).stdout.toString().trim();
    const server = await serveMillrace(["--data-dir", folder.path, ...FREE_PORTS, "--auth", "keys"]);
    const call = (path: string, key: string, body: string) =>
      fetch(`http://${server.ready.http}${path}`, {
        method: "POST",
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body,
      });
    try {
      assert.equal((await call("/api/topics", admin, '{"name":"orders.eu"}')).status, 201);
      assert.equal((await call("/api/topics", "guess", '{"name":"orders.us"}')).status, 401);

      const created = await keys("create", "--topic-prefix", "orders.", "--expires", "1h", "--json");
      const { id, key } = JSON.parse(created.stdout.toString());
      const produce = async (topic: string) =>
        (await call(`/api/topics/${topic}/produce`, key, '{"records":[{"value":1}]}')).status;
      await waitUntil("the server knows the key", async () => (await produce("orders.eu")) === 200);
      assert.equal(await produce("billing"), 403);
      const listed = (await keys("list")).stdout.toString();
      assert.match(listed, /^ID +NAME +SCOPES +TOPICS +CREATED +LAST USED +EXPIRES\n/);
      assert.match(listed, new RegExp(`${id} +produce +orders\\.`));
      assert.doesNotMatch(listed, /mrk_/);

      assert.equal((await keys("revoke", id)).stdout.toString(), `${id}: revoked\n`);
      await waitUntil("the server has forgotten the key", async () => (await produce("orders.eu")) === 401);
      assert.equal((await keys("revoke", id)).exitCode, 1);
    } finally {
      const { stderr } = await server.stop();
      assert.doesNotMatch(stderr, /mrk_/);
      assert.match(stderr, /audit: key used/);
    }
    const [{ lastUsedAt }] = JSON.parse((await keys("list", "--json")).stdout.toString());
    assert.match(lastUsedAt, /^\d{4}-/);
    assert.equal((await readdir(join(folder.path, "api-keys"))).filter((name) => name.endsWith(".tmp")).length, 0);
  } finally {
    await folder.remove();
  }
});

test("a key may be made for some seconds", async () => {
  const folder = await temporaryFolder();
  try {
    const beforeMs = Date.now();
    const made = await runMillrace(["keys", "create", "--data-dir", folder.path, "--expires", "45s", "--json"]);

    const { expiresAt } = JSON.parse(made.stdout.toString());
    const lastsMs = Date.parse(expiresAt) - beforeMs;
    assert.ok(lastsMs >= 45_000 && lastsMs < 245_000, expiresAt);
  } finally {
    await folder.remove();
  }
});

test("a scope or a time that is none ends with exit code 2 and makes no key", async () => {
  const folder = await temporaryFolder();
  try {
    for (const words of [
      ["--scope", "write"],
      ["--expires", "soon"],
      ["--expires", "2001-01-01T00:00:00Z"],
    ]) {
      const { exitCode, stdout } = await runMillrace(["keys", "create", "--data-dir", folder.path, ...words]);

      assert.deepEqual([exitCode, stdout.length], [2, 0], words.join(" "));
    }
    assert.deepEqual(await readdir(folder.path), []);
  } finally {
    await folder.remove();
  }
});

test("an address that others can reach needs no --insecure where HTTP asks for keys", async () => {
  const folder = await temporaryFolder();
  try {
    const words = ["--data-dir", folder.path, "--kafka", "127.0.0.1:0", "--http", "0.0.0.0:0", "--auth", "keys"];
    const server = await serveMillrace(words);

    assert.match(server.ready.http, /^0\.0\.0\.0:\d+$/);
    const { stderr } = await server.stop();
    assert.match(stderr, /there is no API key yet/);
  } finally {
    await folder.remove();
  }
});

test("with a certificate HTTP is HTTPS, and with an authority clients must show one", async () => {
  const folder = await temporaryFolder();
  const file = async (name: string, text: string) => {
    await writeFile(join(folder.path, name), text);
    return join(folder.path, name);
  };
  const tls = [
    ...["--http-tls-cert", await file("cert.pem", serverCertificate)],
    ...["--http-tls-key", await file("key.pem", serverKey)],
  ];
  const words = ["--data-dir", join(folder.path, "data"), ...FREE_PORTS, ...tls];
  try {
    const open = await serveMillrace(words);
    assert.equal(await statusOver(open.ready.http, {}), 200);
    await open.stop();

    const shown = { cert: testClientCertificate, key: testClientKey };
    const mutualWords = [...words, "--http-tls-ca", await file("ca.pem", testClientAuthority)];
    const mutual = await serveMillrace(mutualWords);
    await assert.rejects(statusOver(mutual.ready.http, {}));
    assert.equal(await statusOver(mutual.ready.http, shown), 200);
    await mutual.stop();

    const asking = await serveMillrace([...mutualWords, "--http-tls-client-auth", "requested", "--auth", "keys"]);
    assert.equal(await statusOver(asking.ready.http, {}), 401);
    assert.equal(await statusOver(asking.ready.http, shown), 200);
    await assert.rejects(statusOver(asking.ready.http, { cert: serverCertificate, key: serverKey }));
    await asking.stop();

    const { exitCode, stderr } = await runMillrace([
      "serve",
      ...words,
      "--http-tls-cert",
      join(folder.path, "none.pem"),
    ]);
    assert.equal(exitCode, 1);
    assert.match(stderr, /cannot read the file of --http-tls-cert/);
  } finally {
    await folder.remove();
  }
});

function statusOver(http: string, options: object): Promise<number | undefined> {
  const [host, port] = http.split(":");
  return new Promise((resolve, reject) => {
    const asked = request(
      { host, port, path: "/api/topics", ca: testAuthority, agent: false, ...options },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      },
    );
    asked.on("error", reject).end();
  });
}
