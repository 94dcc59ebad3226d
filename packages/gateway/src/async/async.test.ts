import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { MemoryFileSystem } from "@millrace/base";
import {
  FaultyFileSystem,
  httpCall,
  type StartedBroker,
  startBroker,
  type TemporaryFolder,
  temporaryFolder,
  waitUntil,
} from "@millrace/testing";
import { Gateway } from "../gateway.ts";
import type { GatewayConfig } from "../options.ts";

/** For a gateway whose brokers are away: it waits for nothing long. */
const HASTY = { maxBlockMs: 1_000, topicCacheMs: 10, closeTimeoutMs: 100 };
const WAIT = "?wait=20000";

suite("async produce", { concurrency: false }, () => {
  let started: StartedBroker;
  let folder: TemporaryFolder;
  let gateway: Gateway;

  before(async () => {
    started = await startBroker();
    folder = await temporaryFolder();
    gateway = await open({ dataDir: folder.path });
    await createTopic(gateway, "orders");
  });

  after(async () => {
    await gateway.close();
    await started.close();
    await folder.remove();
  });

  function open(config: GatewayConfig): Promise<Gateway> {
    return Gateway.open({ port: 0, bootstrapServers: started.server, ...config });
  }

  test("is answered with 202, an id that cannot be guessed, and where to ask", async () => {
    const { status, json, headers } = await produceAsync(gateway, "orders", '{"records":[{"value":1}]}');

    assert.equal(status, 202);
    assert.match(json.requestId, /^req_[\w-]{22}$/);
    assert.equal(json.status, "pending");
    assert.equal(headers.get("location"), `/api/produce/status/${json.requestId}`);
    assert.equal(headers.get("retry-after"), "1");
  });

  test("its status has, once it is completed, the offsets that a synchronous request would have had", async () => {
    await createTopic(gateway, "landed");
    const { json } = await produceAsync(
      gateway,
      "landed",
      '{"records":[{"value":1,"timestamp":1612554282001,"id":"a"},{"value":2,"timestamp":1612554282001}]}',
    );

    const done = await get(gateway, `/api/produce/status/${json.requestId}${WAIT}`);

    assert.equal(done.status, 200);
    assert.equal(done.json.status, "completed");
    assert.equal(done.json.topic, "landed");
    assert.deepEqual(done.json.progress, { total: 2, done: 2, failed: 0 });
    assert.deepEqual(done.json.offsets, [
      { partition: 0, offset: 0, timestamp: 1612554282001, id: "a" },
      { partition: 0, offset: 1, timestamp: 1612554282001 },
    ]);
    const [submitted, updated, expires] = ["submittedAt", "updatedAt", "expiresAt"].map((at) =>
      Date.parse(done.json[at]),
    );
    assert.ok(submitted !== undefined && updated !== undefined && expires !== undefined);
    assert.ok(submitted <= updated);
    assert.equal(expires - updated, 30 * 60_000);
    const messages = await get(gateway, "/api/topics/landed/messages");
    assert.deepEqual(
      messages.json.map(({ value }: { value: string }) => value),
      ["1", "2"],
    );
  });

  test("raw bodies and NDJSON are taken too", async () => {
    await createTopic(gateway, "kinds");
    const raw = await produceAsync(gateway, "kinds", "plain text", "&key=k", {
      "content-type": "text/plain",
      "kafka-header-h": "v",
    });
    await get(gateway, `/api/produce/status/${raw.json.requestId}${WAIT}`);
    const lines = await produceAsync(gateway, "kinds", '{"value":1}\n{"value":2}\n', "", {
      "content-type": "application/x-ndjson",
    });
    await get(gateway, `/api/produce/status/${lines.json.requestId}${WAIT}`);

    const { json } = await get(gateway, "/api/topics/kinds/messages");

    assert.deepEqual(
      json.map(({ key, value }: { key: string; value: string }) => [key, value]),
      [
        ["k", "plain text"],
        [null, "1"],
        [null, "2"],
      ],
    );
    assert.deepEqual(json[0].headers, [{ key: "h", value: "v" }]);
  });

  test("a request that is wrong is refused, not accepted", async () => {
    assert.equal((await produceAsync(gateway, "orders", '{"records":[{"value":tru}]}')).status, 400);
    assert.equal((await produceAsync(gateway, "orders", '{"records":[]}')).status, 400);
    assert.equal((await produceAsync(gateway, "missing", '{"records":[{"value":1}]}')).status, 404);
    assert.equal((await produceAsync(gateway, "orders", '{"records":[{}]}', "&timeout_ms=99999999")).status, 400);
  });

  test("records that fail for their content leave it completed, with status=strict partial or failed", async () => {
    const body = '{"records":[{"value":"!"},{"value":""}]}';
    const statusOf = async (given: string, query: string) => {
      const { json } = await produceAsync(gateway, "orders", given, query);
      return (await get(gateway, `/api/produce/status/${json.requestId}${WAIT}`)).json;
    };

    const lenient = await statusOf(body, "&value.format=binary");
    const strict = await statusOf(body, "&value.format=binary&status=strict");
    const none = await statusOf('{"records":[{"value":"!"}]}', "&value.format=binary&status=strict");

    assert.equal(lenient.status, "completed");
    assert.deepEqual(lenient.progress, { total: 2, done: 2, failed: 1 });
    assert.equal(lenient.offsets[0].code, "SERIALIZATION_FAILED");
    assert.equal(lenient.offsets[0].offset, -1);
    assert.equal(strict.status, "partial");
    assert.equal(none.status, "failed");
  });

  test("an atomic request that cannot be one fails whole", async () => {
    await createTopic(gateway, "whole", 2);
    const { json } = await produceAsync(
      gateway,
      "whole",
      '{"records":[{"value":1,"partition":0},{"value":2,"partition":1}]}',
      "&atomic=true",
    );

    const done = await get(gateway, `/api/produce/status/${json.requestId}${WAIT}`);

    assert.deepEqual([done.json.status, done.json.code], ["failed", "ATOMIC_NOT_POSSIBLE"]);
    assert.equal(done.json.progress.failed, 2);
  });

  test("requests are listed, newest first, and forgotten when told to", async () => {
    await createTopic(gateway, "listed");
    const ids: string[] = [];
    for (let index = 0; index < 3; index++) {
      const { json } = await produceAsync(gateway, "listed", '{"records":[{"value":1}]}');
      await get(gateway, `/api/produce/status/${json.requestId}${WAIT}`);
      ids.push(json.requestId);
    }
    const path = `/api/produce/status/${ids[1]}`;

    const listed = await get(gateway, "/api/produce/requests?topic=listed&status=completed");
    const two = await get(gateway, "/api/produce/requests?topic=listed&limit=2");
    const forgotten = await httpCall("DELETE", urlOf(gateway) + path);
    const again = await httpCall("DELETE", urlOf(gateway) + path);
    const left = await get(gateway, "/api/produce/requests?topic=listed");

    const idsOf = (json: { requestId: string }[]) => json.map(({ requestId }) => requestId);
    assert.deepEqual(idsOf(listed.json), ids.toReversed());
    assert.deepEqual(idsOf(two.json), ids.toReversed().slice(0, 2));
    assert.equal(forgotten.status, 204);
    assert.deepEqual([again.status, again.json.code], [404, "REQUEST_NOT_FOUND"]);
    assert.equal((await get(gateway, path)).json.error, "request not found");
    assert.deepEqual(idsOf(left.json), [ids[2], ids[0]]);
  });

  test("a request is its key's own: others do not find it", async () => {
    const own = { authorization: "Bearer own-key" };
    const other = { authorization: "Bearer other-key" };
    await using keyed = await open({ auth: "keys", apiKeys: ["own-key", "other-key"] });
    const { json } = await produceAsync(keyed, "orders", '{"records":[{"value":1}]}', "", own);
    const path = `/api/produce/status/${json.requestId}`;

    assert.equal((await get(keyed, path, own)).status, 200);
    assert.equal((await get(keyed, path, other)).status, 404);
    assert.equal((await get(keyed, "/api/produce/requests", own)).json.length, 1);
    assert.equal((await get(keyed, "/api/produce/requests", other)).json.length, 0);
  });

  test("more requests or bytes than are kept are answered with 429", async () => {
    await using few = await open({ asyncRequestsLimit: 1 });
    await using small = await open({ asyncLimitBytes: 100 });
    await produceAsync(few, "orders", '{"records":[{"value":1}]}');

    const second = await produceAsync(few, "orders", '{"records":[{"value":1}]}');
    const large = await produceAsync(small, "orders", `{"records":[{"value":"${"x".repeat(100)}"}]}`);

    for (const { status, json, headers } of [second, large]) {
      assert.deepEqual([status, json.code], [429, "TOO_MANY_ASYNC_REQUESTS"]);
      assert.ok(Number(headers.get("retry-after")) > 0);
    }
  });

  test("a request that is forgotten makes room at once", async () => {
    await using small = await open({ asyncRequestsLimit: 1 });
    const first = await produceAsync(small, "orders", '{"records":[{"value":1}]}');
    const path = `/api/produce/status/${first.json.requestId}`;
    await get(small, path + WAIT);
    const beyond = await produceAsync(small, "orders", '{"records":[{"value":2}]}');

    await httpCall("DELETE", urlOf(small) + path);
    const second = await produceAsync(small, "orders", '{"records":[{"value":2}]}');

    assert.deepEqual([first.status, beyond.status, second.status], [202, 429, 202]);
  });

  test("a result that the disk did not take is written when it does, and the request is not done again", async () => {
    const disk = new FaultyFileSystem(new MemoryFileSystem());
    const folder = "/gateway";
    await createTopic(gateway, "full-disk");
    await using first = await open({ dataDir: folder, fileSystem: disk });
    disk.faults.onWrite = (path) => {
      if (path.includes("results-")) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
      return undefined;
    };

    const { status, json } = await produceAsync(first, "full-disk", '{"records":[{"value":1}]}');
    const path = `/api/produce/status/${json.requestId}`;
    const whileFull = await get(first, `${path}?wait=500`);
    disk.faults = {};
    const done = await get(first, path + WAIT);
    await first.close();
    await using second = await open({ dataDir: folder, fileSystem: disk });
    const again = await get(second, path + WAIT);
    const stored = await get(second, "/api/topics/full-disk/messages");

    assert.deepEqual([status, whileFull.json.status, done.json.status], [202, "processing", "completed"]);
    assert.deepEqual(again.json.offsets, done.json.offsets);
    assert.equal(stored.json.length, 1);
  });

  test("what was accepted is finished under a lower limit, too", async () => {
    const disk = new MemoryFileSystem();
    const away = { bootstrapServers: "127.0.0.1:1", dataDir: "/lowered", fileSystem: disk, ...HASTY };
    const first = await Gateway.open({ port: 0, ...away });
    const { status, json } = await produceAsync(first, "orders", '{"records":[{"value":1},{"value":2},{"value":3}]}');
    await first.close();

    await using second = await open({ dataDir: "/lowered", fileSystem: disk, recordLimit: 1 });
    const done = await get(second, `/api/produce/status/${json.requestId}${WAIT}`);

    assert.deepEqual([status, done.json.status, done.json.progress?.done], [202, "completed", 3]);
  });

  test("a result is gone after its time, and room for another request is there", async () => {
    await using brief = await open({ asyncRequestsLimit: 1, asyncRetentionMs: 1, asyncSweepMs: 5 });
    const { json } = await produceAsync(brief, "orders", '{"records":[{"value":1}]}');

    await waitUntil(
      "it is forgotten",
      async () => (await get(brief, `/api/produce/status/${json.requestId}`)).status === 404,
    );
  });

  test("results outlive the gateway, and bodies that are stored leave the disk", async () => {
    const own = await temporaryFolder();
    const first = await open({ dataDir: own.path });
    const { json } = await produceAsync(first, "orders", '{"records":[{"value":1},{"value":"x","partition":9}]}');
    const path = `/api/produce/status/${json.requestId}`;
    const before = await get(first, path + WAIT);
    await first.close();

    await using second = await open({ dataDir: own.path });
    const after = await get(second, path);

    assert.equal(after.text, before.text);
    assert.deepEqual(
      (await readdir(join(own.path, "async-requests"))).filter((name) => name.startsWith("accepted")),
      [],
    );
    await own.remove();
  });
});

suite("async produce while brokers are away", { concurrency: false }, () => {
  const body = JSON.stringify({ records: Array.from({ length: 100 }, (_, value) => ({ value })) });

  /** A broker with a topic, whose place is known and which is gone. */
  async function brokerThatWent(): Promise<{
    server: string;
    restart(): Promise<StartedBroker>;
    folder: TemporaryFolder;
  }> {
    const folder = await temporaryFolder();
    const dataDir = join(folder.path, "broker");
    const started = await startBroker({ dataDir });
    await using gateway = await Gateway.open({ port: 0, bootstrapServers: started.server });
    await createTopic(gateway, "orders");
    await started.close();
    const port = Number(started.server.split(":")[1]);
    return { server: started.server, restart: () => startBroker({ dataDir, port }), folder };
  }

  async function valuesOf(gateway: Gateway): Promise<string[]> {
    const { json } = await get(gateway, "/api/topics/orders/messages?limit=10000");
    return json.map(({ value }: { value: string }) => value);
  }

  const expected = Array.from({ length: 100 }, (_, value) => String(value));

  test("a request is accepted, pending, and completed when they are back", async () => {
    const { server, restart, folder } = await brokerThatWent();
    await using gateway = await Gateway.open({ port: 0, bootstrapServers: server, dataDir: folder.path, ...HASTY });

    const { status, json } = await produceAsync(gateway, "orders", body);
    const path = `/api/produce/status/${json.requestId}`;
    const pending = await get(gateway, `${path}?wait=300`);
    const refused = await httpCall("DELETE", urlOf(gateway) + path);
    await using _started = await restart();
    const done = await get(gateway, path + WAIT);

    assert.equal(status, 202);
    assert.equal(pending.json.status, "pending");
    assert.equal(pending.headers.get("retry-after"), "1");
    assert.deepEqual([refused.status, refused.json.code], [409, "REQUEST_IN_PROGRESS"]);
    assert.equal(done.json.status, "completed", done.text);
    assert.deepEqual(await valuesOf(gateway), expected);
    await folder.remove();
  });

  test("a request whose broker leaves under it goes back to pending, and is stored once", async () => {
    const folder = await temporaryFolder();
    const dataDir = join(folder.path, "broker");
    const started = await startBroker({ dataDir });
    const port = Number(started.server.split(":")[1]);
    await using gateway = await Gateway.open({
      port: 0,
      bootstrapServers: started.server,
      dataDir: folder.path,
      ...HASTY,
      // Known for so long that the request gets as far as the producer.
      topicCacheMs: 60_000,
    });
    await createTopic(gateway, "orders");
    const first = await produceAsync(gateway, "orders", body);
    await get(gateway, `/api/produce/status/${first.json.requestId}${WAIT}`);
    await started.close();

    const { json } = await produceAsync(gateway, "orders", body);
    const path = `/api/produce/status/${json.requestId}`;
    await waitUntil("it is pending again", async () => (await get(gateway, path)).json.status === "pending");
    await using _restarted = await startBroker({ dataDir, port });
    const done = await get(gateway, path + WAIT);

    assert.equal(done.json.status, "completed", done.text);
    assert.deepEqual(await valuesOf(gateway), [...expected, ...expected]);
    await folder.remove();
  });

  test("a gateway that closes leaves its unfinished requests to the next one", async () => {
    const { server, restart, folder } = await brokerThatWent();
    const config = { port: 0, bootstrapServers: server, dataDir: folder.path, ...HASTY };
    const first = await Gateway.open(config);
    const { json } = await produceAsync(first, "orders", body);
    await first.close();

    await using _started = await restart();
    await using second = await Gateway.open(config);
    const done = await get(second, `/api/produce/status/${json.requestId}${WAIT}`);

    assert.equal(done.json.status, "completed", done.text);
    assert.deepEqual(await valuesOf(second), expected);
    await folder.remove();
  });

  test("timeout_ms ends it, and says so", async () => {
    const { server, folder } = await brokerThatWent();
    await using gateway = await Gateway.open({ port: 0, bootstrapServers: server, dataDir: folder.path, ...HASTY });

    const { json } = await produceAsync(gateway, "orders", '{"records":[{"value":1}]}', "&timeout_ms=50");
    const done = await get(gateway, `/api/produce/status/${json.requestId}${WAIT}`);

    assert.equal(done.json.status, "timeout", done.text);
    assert.equal(done.json.offsets[0].code, "TIMED_OUT");
    assert.equal(done.json.code, "TIMED_OUT");
    await folder.remove();
  });

  test("closing lets nobody wait who asked to be told of the end", async () => {
    const { server, folder } = await brokerThatWent();
    const gateway = await Gateway.open({ port: 0, bootstrapServers: server, dataDir: folder.path, ...HASTY });
    const { json } = await produceAsync(gateway, "orders", '{"records":[{"value":1}]}');

    const waiting = get(gateway, `/api/produce/status/${json.requestId}?wait=60000`);
    await get(gateway, "/health/live");
    await gateway.close();

    assert.equal((await waiting).json.status, "pending");
    await folder.remove();
  });
});

function urlOf(gateway: Gateway): string {
  return `http://${gateway.address.host}:${gateway.address.port}`;
}

async function createTopic(gateway: Gateway, name: string, partitions = 1): Promise<void> {
  const { status, text } = await httpCall("POST", `${urlOf(gateway)}/api/topics`, JSON.stringify({ name, partitions }));
  assert.equal(status, 201, text);
}

function produceAsync(gateway: Gateway, topic: string, body: string, query = "", headers = {}) {
  return httpCall("POST", `${urlOf(gateway)}/api/topics/${topic}/produce?async=true${query}`, body, headers);
}

function get(gateway: Gateway, path: string, headers = {}) {
  return httpCall("GET", urlOf(gateway) + path, undefined, headers);
}
