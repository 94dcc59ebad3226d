import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import {
  type Logger,
  MemoryFileSystem,
  nodeFileSystem,
  silentLogger,
  systemClock,
  systemRandom,
  VirtualClock,
} from "@millrace/base";
import {
  httpCall,
  type StartedBroker,
  startBroker,
  type TemporaryFolder,
  temporaryFolder,
  waitUntil,
} from "@millrace/testing";
import { Gateway } from "../gateway.ts";
import { KeyStore } from "./key-store.ts";

const ONE_RECORD = '{"records":[{"value":1}]}';

suite("a gateway that asks for keys", { concurrency: false }, () => {
  let started: StartedBroker;
  let folder: TemporaryFolder;
  let gateway: Gateway;
  const lines: { readonly fields: Readonly<Record<string, unknown>>; readonly message: string }[] = [];

  before(async () => {
    started = await startBroker();
    folder = await temporaryFolder();
    const tell = (fields: object, message: string) => lines.push({ fields: { ...fields }, message });
    const logger: Logger = { debug: () => {}, info: tell, warn: tell, error: tell };
    gateway = await Gateway.open({
      port: 0,
      bootstrapServers: started.server,
      auth: "keys",
      apiKeys: ["operator-key"],
      corsOrigin: ["https://app.example"],
      dataDir: folder.path,
      logger,
    });
    for (const name of ["orders.eu", "billing.eu"]) await call("POST", "/api/topics", admin, { name, partitions: 1 });
  });

  after(async () => {
    await gateway.close();
    await started.close();
    await folder.remove();
  });

  const admin = { authorization: "operator-key" };

  function call(method: string, path: string, headers = {}, body?: object) {
    const url = `http://127.0.0.1:${gateway.address.port}${path}`;
    return httpCall(method, url, body === undefined ? undefined : JSON.stringify(body), headers);
  }

  function produce(topic: string, headers: object) {
    const url = `http://127.0.0.1:${gateway.address.port}/api/topics/${topic}/produce`;
    return httpCall("POST", url, ONE_RECORD, { ...headers });
  }

  async function createKey(body: object): Promise<{ readonly id: string; readonly headers: object }> {
    const { status, json, text } = await call("POST", "/api/keys", admin, body);
    assert.equal(status, 201, text);
    return { id: json.id, headers: { authorization: `Bearer ${json.key}` } };
  }

  test("a server that was given keys asks for them, also where nobody said so", async () => {
    await using keyed = await Gateway.open({ port: 0, bootstrapServers: started.server, apiKeys: ["only-key"] });
    const url = `http://127.0.0.1:${keyed.address.port}/api/topics`;

    const without = await httpCall("GET", url);
    const withKey = await httpCall("GET", url, undefined, { "x-api-key": "only-key" });

    assert.deepEqual([without.status, withKey.status], [401, 200]);
  });

  test("a key may come as Authorization, with or without Bearer, and as X-API-Key", async () => {
    for (const headers of [
      { authorization: "operator-key" },
      { authorization: "Bearer operator-key" },
      { authorization: "bearer operator-key" },
      { "x-api-key": "operator-key" },
    ]) {
      assert.equal((await produce("orders.eu", headers)).status, 200, JSON.stringify(headers));
    }
  });

  test("without a key, with a wrong one or another case of it the answer is 401", async () => {
    const missing = await produce("orders.eu", {});
    const wrong = await produce("orders.eu", { authorization: "Bearer operator-ke" });
    const otherCase = await produce("orders.eu", { authorization: "OPERATOR-KEY" });
    const nowhere = await call("GET", "/api/nothing");

    assert.deepEqual(
      [missing.status, missing.json.code, missing.json.error],
      [401, "API_KEY_MISSING", "missing authorization header"],
    );
    assert.match(missing.headers.get("www-authenticate") ?? "", /^Bearer/);
    assert.deepEqual([wrong.status, wrong.json.code, wrong.json.error], [401, "API_KEY_INVALID", "invalid API key"]);
    assert.equal(otherCase.status, 401);
    assert.equal(nowhere.status, 401);
  });

  test("health and the documentation are open, metrics are not", async () => {
    const paths = ["/health/live", "/health/ready", "/api/health", "/api/health/live", "/api/health/ready", "/docs"];
    for (const path of [...paths, "/openapi.json"]) assert.equal((await call("GET", path)).status, 200, path);
    assert.equal((await call("GET", "/metrics")).status, 401);
    assert.equal((await call("GET", "/metrics", admin)).status, 200);
  });

  test("a preflight is answered before a key is asked for", async () => {
    const headers = { origin: "https://app.example", "access-control-request-method": "POST" };

    const { status, headers: answered } = await call("OPTIONS", "/api/topics/orders.eu/produce", headers);

    assert.equal(status, 204);
    assert.match(answered.get("access-control-allow-headers") ?? "", /authorization/);
  });

  test("a scope opens what it is for and nothing else", async () => {
    const producer = await createKey({ scopes: ["produce"] });
    const reader = await createKey({ scopes: ["read"] });
    const statuses = async (headers: object) => [
      (await produce("orders.eu", headers)).status,
      (await call("GET", "/api/topics/orders.eu/messages", headers)).status,
      (await call("GET", "/api/topics/orders.eu", headers)).status,
      (await call("POST", "/api/topics", headers, { name: "orders.eu" })).status,
      (await call("GET", "/api/keys", headers)).status,
    ];

    assert.deepEqual(await statuses(producer.headers), [200, 403, 200, 403, 403]);
    assert.deepEqual(await statuses(reader.headers), [403, 200, 200, 403, 403]);
    assert.deepEqual(await statuses(admin), [200, 200, 200, 409, 200]);
    assert.equal((await produce("orders.eu", reader.headers)).json.code, "SCOPE_MISSING");
  });

  test("a key for some topics knows of no others", async () => {
    const { headers } = await createKey({ scopes: ["produce", "read", "admin"], topicPrefixes: ["orders."] });

    const other = await produce("billing.eu", headers);
    const encoded = await produce("billing%2Eeu", headers);
    const listed = await call("GET", "/api/topics", headers);
    const created = await call("POST", "/api/topics", headers, { name: "billing.us" });
    const batch = await call("POST", "/api/topics/batch", headers, { topics: [{ name: "billing.us" }] });
    const removed = await call("DELETE", "/api/topics/batch", headers, { topics: ["billing.eu"] });
    const keys = await call("GET", "/api/keys", headers);

    assert.deepEqual([other.status, other.json.code], [403, "TOPIC_NOT_ALLOWED"]);
    assert.equal(encoded.status, 403);
    assert.deepEqual(listed.json, [{ name: "orders.eu", partitions: 1 }]);
    assert.deepEqual([created.status, batch.status, removed.status, keys.status], [403, 403, 403, 403]);
    assert.equal((await produce("orders.eu", headers)).status, 200);
  });

  test("a key that was revoked opens nothing, and fixed keys cannot be revoked", async () => {
    const { id, headers } = await createKey({ scopes: ["produce"], name: "short-lived" });
    assert.equal((await produce("orders.eu", headers)).status, 200);

    const revoked = await call("DELETE", `/api/keys/${id}`, admin);

    assert.equal(revoked.status, 200);
    assert.equal((await produce("orders.eu", headers)).status, 401);
    assert.equal((await call("DELETE", `/api/keys/${id}`, admin)).json.code, "KEY_NOT_FOUND");
    assert.equal((await call("DELETE", "/api/keys/fixed-1", admin)).status, 404);
    assert.equal((await call("DELETE", "/api/keys/..%2F..%2Fmeta", admin)).status, 404);
  });

  test("the list tells when a key was last used, and no key", async () => {
    const { id, headers } = await createKey({ scopes: ["produce"], name: "used" });
    const find = async () => {
      const { json } = await call("GET", "/api/keys", admin);
      return json.find((key: { id: string }) => key.id === id);
    };
    const unused = await find();
    await produce("orders.eu", headers);

    const used = await find();

    assert.equal(unused.lastUsedAt, null);
    assert.ok(Math.abs(Date.parse(used.lastUsedAt) - Date.now()) < 60_000);
    assert.deepEqual(Object.keys(used).sort(), [
      "createdAt",
      "expiresAt",
      "id",
      "lastUsedAt",
      "name",
      "scopes",
      "topicPrefixes",
    ]);
  });

  test("a key that another process puts into the data dir or takes away is known a moment later", async () => {
    const elsewhere = await KeyStore.open({ ...storeParts(folder.path) });
    const { text, key } = await elsewhere.create({
      name: "cli",
      scopes: ["produce"],
      topicPrefixes: [],
      expiresAtMs: null,
    });
    const status = async () => (await produce("orders.eu", { authorization: text })).status;

    await waitUntil("the key is accepted", async () => (await status()) === 200);
    await elsewhere.revoke(key.id);
    await waitUntil("the key is refused", async () => (await status()) === 401);
  });

  test("what is logged tells which key was used and what was refused, and never a key", async () => {
    const { id, headers } = await createKey({ scopes: ["produce"], name: "audited" });
    lines.length = 0;

    await produce("orders.eu", headers);
    await call("GET", "/api/keys", headers);
    await call("DELETE", `/api/keys/${id}`, admin);

    const told = lines.map(({ message, fields }) => [message, fields.key ?? fields.by]);
    assert.deepEqual(told.slice(0, 2), [
      ["audit: key used", id],
      ["audit: request refused", id],
    ]);
    assert.deepEqual(told.at(-1), ["audit: key revoked", id]);
    assert.equal(lines[1]?.fields.route, "/api/keys");
    assert.doesNotMatch(JSON.stringify(lines), /mrk_|operator-key/);
  });

  for (const body of [
    {},
    { scopes: [] },
    { scopes: ["write"] },
    { scopes: ["read"], expiresAt: "2001-01-01T00:00:00Z" },
    { scopes: ["read"], expiresAt: "soon" },
    { scopes: ["read"], topicPrefixes: [""] },
  ]) {
    test(`a key ${JSON.stringify(body)} is refused with 400`, async () => {
      const { status, json } = await call("POST", "/api/keys", admin, body);

      assert.deepEqual([status, json.code], [400, "INVALID_BODY"]);
    });
  }
});

test("a server that asks for no keys lets nobody make one over HTTP", async () => {
  await using gateway = await Gateway.open({ port: 0, bootstrapServers: "127.0.0.1:1" });
  const url = `http://127.0.0.1:${gateway.address.port}/api/keys`;

  const created = await httpCall("POST", url, '{"scopes":["admin"]}');
  const listed = await httpCall("GET", url);

  assert.deepEqual([created.status, listed.status], [403, 403]);
});

suite("the key store", () => {
  test("a key works again after a restart, is kept as its hash, and remembers its last use", async () => {
    const folder = await temporaryFolder();
    try {
      const first = await KeyStore.open(storeParts(folder.path));
      const { text, key } = await first.create({
        name: "a",
        scopes: ["read"],
        topicPrefixes: ["x."],
        expiresAtMs: null,
      });
      first.markUsed(key.id);
      await first.close();

      const second = await KeyStore.open(storeParts(folder.path));
      const bytes = await nodeFileSystem.readFile(join(folder.path, "api-keys", `${key.id}.json`));

      assert.equal(second.find(text)?.id, key.id);
      assert.deepEqual(second.find(text)?.topicPrefixes, ["x."]);
      assert.equal(second.find(`${text}x`), null);
      assert.notEqual(second.lastUsedMs(key.id), null);
      assert.ok(!bytes.includes(text));
      assert.match(text, /^mrk_[\w-]{43}$/);
    } finally {
      await folder.remove();
    }
  });

  test("a key opens nothing from the moment on at which it expires", async () => {
    const clock = new VirtualClock();
    const store = await KeyStore.open({ ...storeParts("/"), fileSystem: new MemoryFileSystem(), clock });
    const expiresAtMs = clock.timestampMs() + 1000;
    const { text } = await store.create({ name: "", scopes: ["read"], topicPrefixes: [], expiresAtMs });

    await clock.advance(999);
    assert.notEqual(store.find(text), null);
    await clock.advance(1);
    assert.equal(store.find(text), null);
  });

  test("a file that is no key opens nothing and hides none of the others", async () => {
    const folder = await temporaryFolder();
    try {
      const store = await KeyStore.open(storeParts(folder.path));
      const { text, key } = await store.create({ name: "", scopes: ["read"], topicPrefixes: [], expiresAtMs: null });
      const good = JSON.parse((await nodeFileSystem.readFile(fileOf(folder, key.id))).toString());
      await writeFile(fileOf(folder, "0000000000000001"), "{");
      await writeFile(fileOf(folder, "0000000000000002"), JSON.stringify({ ...good, topicPrefixes: "x." }));
      await writeFile(fileOf(folder, "0000000000000003"), JSON.stringify({ ...good, scopes: ["everything"] }));

      const reopened = await KeyStore.open(storeParts(folder.path));

      assert.deepEqual(
        reopened.list().map(({ id }) => id),
        [key.id],
      );
      assert.notEqual(reopened.find(text), null);
    } finally {
      await folder.remove();
    }
  });

  test("keys that several processes create at once are all kept", async () => {
    const folder = await temporaryFolder();
    try {
      const stores = await Promise.all(Array.from({ length: 8 }, () => KeyStore.open(storeParts(folder.path))));
      const wanted = { name: "", scopes: ["read"] as const, topicPrefixes: [], expiresAtMs: null };
      await Promise.all(stores.map((store) => store.create(wanted)));

      assert.equal((await KeyStore.open(storeParts(folder.path))).list().length, 8);
    } finally {
      await folder.remove();
    }
  });
});

function storeParts(dataDir: string) {
  return { dataDir, fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom, logger: silentLogger };
}

function fileOf(folder: TemporaryFolder, id: string): string {
  return join(folder.path, "api-keys", `${id}.json`);
}
