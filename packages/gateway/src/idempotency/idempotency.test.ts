import assert from "node:assert/strict";
import { cp, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import {
  httpCall,
  type StartedBroker,
  startBroker,
  type TemporaryFolder,
  temporaryFolder,
  waitUntil,
} from "@millrace/testing";
import { Gateway } from "../gateway.ts";
import type { GatewayConfig } from "../options.ts";

const ONE = '{"records":[{"value":1}]}';
const OTHER = '{"records":[{"value":2}]}';

suite("Idempotency-Key", { concurrency: false }, () => {
  let started: StartedBroker;
  let folder: TemporaryFolder;
  let gateway: Gateway;
  let topicCount = 0;

  before(async () => {
    started = await startBroker();
    folder = await temporaryFolder();
    gateway = await open({ dataDir: folder.path });
  });

  after(async () => {
    await gateway.close();
    await started.close();
    await folder.remove();
  });

  function open(config: GatewayConfig): Promise<Gateway> {
    return Gateway.open({ port: 0, bootstrapServers: started.server, ...config });
  }

  async function createTopic(): Promise<string> {
    topicCount += 1;
    const name = `once-${topicCount}`;
    const { status, text } = await httpCall(
      "POST",
      `${urlOf(gateway)}/api/topics`,
      JSON.stringify({ name, partitions: 1 }),
    );
    assert.equal(status, 201, text);
    return name;
  }

  async function valuesOf(topic: string): Promise<string[]> {
    const { json } = await httpCall("GET", `${urlOf(gateway)}/api/topics/${topic}/messages`);
    return json.map(({ value }: { value: string }) => value);
  }

  test("the same request sent again gets the first answer, and nothing is stored a second time", async () => {
    const topic = await createTopic();

    const first = await produce(gateway, topic, ONE, "k-1");
    const again = await produce(gateway, topic, ONE, "k-1");

    assert.equal(first.status, 200, first.text);
    assert.equal(first.headers.get("idempotency-replayed"), null);
    assert.equal(again.status, 200);
    assert.equal(again.headers.get("idempotency-replayed"), "true");
    assert.equal(again.text, first.text);
    assert.equal(again.headers.get("content-type"), first.headers.get("content-type"));
    assert.deepEqual(await valuesOf(topic), ["1"]);
  });

  test("another body, query or record header with the same key is answered with 422", async () => {
    const topic = await createTopic();
    const raw = { "content-type": "text/plain" };
    await produce(gateway, topic, ONE, "k-1");
    await produce(gateway, topic, "text", "k-2", "", { ...raw, "kafka-key": "a" });

    const body = await produce(gateway, topic, OTHER, "k-1");
    const query = await produce(gateway, topic, ONE, "k-1", "?details=true");
    const header = await produce(gateway, topic, "text", "k-2", "", { ...raw, "kafka-key": "b" });

    for (const { status, json } of [body, query, header]) {
      assert.deepEqual([status, json.code], [422, "IDEMPOTENCY_KEY_REUSED"]);
    }
    assert.deepEqual(await valuesOf(topic), ["1", "text"]);
  });

  test("a retry is the same request although its trace, its id and its encoding are its own", async () => {
    const topic = await createTopic();
    const tracing = gateway;
    const trace = (digit: string) => `00-${digit.repeat(32)}-${digit.repeat(16)}-01`;

    const first = await produce(tracing, topic, ONE, "k", "", { traceparent: trace("1"), "x-request-id": "a" });
    const again = await produce(tracing, topic, ONE, "k", "", { traceparent: trace("2"), "x-request-id": "b" });

    assert.equal(again.headers.get("idempotency-replayed"), "true");
    assert.equal(again.headers.get("x-request-id"), "b");
    assert.equal(again.text, first.text);
  });

  test("a key is one for each topic", async () => {
    const [one, other] = [await createTopic(), await createTopic()];

    await produce(gateway, one, ONE, "k");
    const { status, headers } = await produce(gateway, other, OTHER, "k");

    assert.equal(status, 200);
    assert.equal(headers.get("idempotency-replayed"), null);
  });

  test("a key is one for each API key", async () => {
    const topic = await createTopic();
    await using keyed = await open({ auth: "keys", apiKeys: ["own-key", "other-key"] });
    const by = (key: string) => ({ authorization: `Bearer ${key}` });

    await produce(keyed, topic, ONE, "k", "", by("own-key"));
    const other = await produce(keyed, topic, OTHER, "k", "", by("other-key"));
    const own = await produce(keyed, topic, ONE, "k", "", by("own-key"));

    assert.equal(other.headers.get("idempotency-replayed"), null);
    assert.equal(own.headers.get("idempotency-replayed"), "true");
  });

  test("a hundred at once are done once: the others get the answer or are told to wait for it", async () => {
    const topic = await createTopic();

    const answers = await Promise.all(Array.from({ length: 100 }, () => produce(gateway, topic, ONE, "at-once")));

    const firsts = answers.filter(({ status, headers }) => status === 200 && !headers.has("idempotency-replayed"));
    assert.equal(firsts.length, 1);
    for (const { status, json, headers } of answers) {
      if (status === 200) continue;
      assert.deepEqual([status, json.code], [409, "IDEMPOTENCY_KEY_IN_USE"]);
      assert.ok(Number(headers.get("retry-after")) > 0);
    }
    assert.deepEqual(await valuesOf(topic), ["1"]);
  });

  test("an async request sent again has the id of the first", async () => {
    const topic = await createTopic();

    const first = await produce(gateway, topic, ONE, "k", "?async=true");
    const again = await produce(gateway, topic, ONE, "k", "?async=true");

    assert.equal(first.status, 202);
    assert.equal(again.status, 202);
    assert.equal(again.json.requestId, first.json.requestId);
    assert.equal(again.headers.get("location"), `/api/produce/status/${first.json.requestId}`);
    const done = await httpCall("GET", `${urlOf(gateway)}${again.headers.get("location")}?wait=20000`);
    assert.equal(done.json.status, "completed");
    assert.deepEqual(await valuesOf(topic), ["1"]);
  });

  test("NDJSON and atomic requests are done once too, also when they are long", async () => {
    const topic = await createTopic();
    const lines = Array.from({ length: 20_000 }, (_, value) => JSON.stringify({ value: `${value}`.padEnd(80) }));
    const body = `${lines.join("\n")}\n`;
    const headers = { "content-type": "application/x-ndjson" };

    const first = await produce(gateway, topic, body, "lines", "", headers);
    const again = await produce(gateway, topic, body, "lines", "", headers);
    await produce(gateway, topic, ONE, "atomic", "?atomic=true");
    const atomic = await produce(gateway, topic, ONE, "atomic", "?atomic=true");

    assert.equal(first.json.offsets.length, lines.length);
    assert.equal(again.text, first.text);
    assert.equal(atomic.json.offsets[0].offset, lines.length);
  });

  test("a request that was refused leaves its key free", async () => {
    const topic = await createTopic();

    const refused = await produce(gateway, topic, '{"records":[{"value":tru}]}', "k");
    const impossible = await produce(gateway, topic, '{"records":[{"partition":9}]}', "a", "?atomic=true");
    const good = await produce(gateway, topic, ONE, "k");
    const possible = await produce(gateway, topic, OTHER, "a");

    assert.deepEqual([refused.status, impossible.status], [400, 422]);
    assert.deepEqual([good.status, possible.status], [200, 200]);
  });

  test("an answer of records that failed for their content is kept as well", async () => {
    const topic = await createTopic();
    const body = '{"records":[{"value":"!"},{"value":""}]}';
    const query = "?value.format=binary&status=strict";

    const first = await produce(gateway, topic, body, "k", query);
    const again = await produce(gateway, topic, body, "k", query);

    assert.equal(first.status, 207);
    assert.deepEqual([again.status, again.text], [207, first.text]);
    assert.equal((await valuesOf(topic)).length, 1);
  });

  for (const key of ["", "x".repeat(256), "caf\u00e9"]) {
    test(`the key ${JSON.stringify(key.slice(0, 10))} of ${key.length} characters is answered with 400`, async () => {
      const { status, json } = await produce(gateway, await createTopic(), ONE, key);

      assert.deepEqual([status, json.code, json.details[0].field], [400, "INVALID_PARAMETER", "idempotency-key"]);
    });
  }

  test("results=each, whose answer is not kept, goes not with a key", async () => {
    const headers = { "content-type": "application/x-ndjson" };

    const { status, json } = await produce(gateway, await createTopic(), '{"value":1}', "k", "?results=each", headers);

    assert.deepEqual([status, json.code], [400, "INVALID_PARAMETER"]);
  });

  test("answers outlive the gateway", async () => {
    const topic = await createTopic();
    await using own = await folderToRemove();
    const first = await open({ dataDir: own.path });
    const answer = await produce(first, topic, ONE, "k");
    const accepted = await produce(first, topic, ONE, "async", "?async=true");
    await first.close();

    await using second = await open({ dataDir: own.path });
    const again = await produce(second, topic, ONE, "k");
    const acceptedAgain = await produce(second, topic, ONE, "async", "?async=true");
    const other = await produce(second, topic, OTHER, "k");

    assert.equal(again.text, answer.text);
    assert.equal(again.headers.get("idempotency-replayed"), "true");
    assert.equal(acceptedAgain.json.requestId, accepted.json.requestId);
    assert.equal(other.status, 422);
    assert.deepEqual(await valuesOf(topic), ["1", "1"]);
  });

  test("after a crash in between it is not done a second time, and its sender is told that nobody knows", async () => {
    const topic = await createTopic();
    await using own = await folderToRemove();
    await using crashed = await folderToRemove();
    await using slow = await open({ dataDir: own.path, lingerMs: 2_000 });
    const answer = produce(slow, topic, ONE, "k");
    await waitUntil("it has begun", async () => (await journalBytes(own.path)) > 0);
    // What a crash would leave of it.
    await cp(own.path, crashed.path, { recursive: true });
    await answer;

    await using next = await open({ dataDir: crashed.path });
    const again = await produce(next, topic, ONE, "k");

    assert.deepEqual([again.status, again.json.code], [409, "IDEMPOTENCY_IN_DOUBT"]);
  });

  test("when the time of the request is over, the same request sent again learns its fate", async () => {
    const topic = await createTopic();
    await using slow = await open({ lingerMs: 300 });

    const first = await produce(slow, topic, ONE, "k", "?timeout_ms=20");
    const meanwhile = await produce(slow, topic, ONE, "k", "?timeout_ms=20");
    await waitUntil("its fate is known", async () => {
      return (await produce(slow, topic, ONE, "k", "?timeout_ms=20")).status === 200;
    });

    assert.deepEqual([first.status, first.json.code], [504, "TIMED_OUT"]);
    assert.deepEqual([meanwhile.status, meanwhile.json.code], [409, "IDEMPOTENCY_KEY_IN_USE"]);
    assert.deepEqual(await valuesOf(topic), ["1"]);
  });

  test("a request that could not be stored at all may be tried again with its key", async () => {
    const dataDir = join(folder.path, "broker-that-goes");
    const going = await startBroker({ dataDir });
    const port = Number(going.server.split(":")[1]);
    await using patient = await Gateway.open({
      port: 0,
      bootstrapServers: going.server,
      maxBlockMs: 100,
      closeTimeoutMs: 50,
      // Known for so long that the request gets as far as the producer.
      topicCacheMs: 60_000,
      deliveryTimeoutMs: 500,
    });
    await httpCall("POST", `${urlOf(patient)}/api/topics`, '{"name":"orders","partitions":1}');
    await produce(patient, "orders", ONE, "before");
    await going.close();

    const refused = await produce(patient, "orders", OTHER, "k");
    await using _back = await startBroker({ dataDir, port });
    let stored = await produce(patient, "orders", OTHER, "k");
    await waitUntil("it is stored", async () => {
      stored = await produce(patient, "orders", OTHER, "k");
      return stored.status === 200;
    });

    assert.ok(refused.status === 503 || refused.status === 504, refused.text);
    assert.equal(refused.json.offsets[0].persisted, "no", refused.text);
    assert.equal(stored.json.offsets[0].offset, 1);
  });

  test("beyond the limits of number, bytes and time the oldest keys are forgotten", async () => {
    const topic = await createTopic();
    await using few = await open({ idempotencyKeysLimit: 2 });
    await using brief = await open({ idempotencyRetentionMs: 1 });
    const isReplayed = async (to: Gateway, key: string) => {
      const { headers, status } = await produce(to, topic, ONE, key);
      assert.equal(status, 200);
      return headers.has("idempotency-replayed");
    };

    await produce(few, topic, ONE, "1");
    await produce(few, topic, ONE, "2");
    await produce(few, topic, ONE, "3");
    await produce(brief, topic, ONE, "1");

    assert.equal(await isReplayed(few, "3"), true);
    assert.equal(await isReplayed(few, "1"), false);
    await waitUntil("its time is over", () => isReplayed(brief, "1").then((replayed) => !replayed));
  });

  test("the journal stays within its bytes", async () => {
    const topic = await createTopic();
    await using own = await folderToRemove();
    const limitBytes = 1024 * 1024;
    await using small = await open({ dataDir: own.path, idempotencyLimitBytes: limitBytes });
    const body = JSON.stringify({ records: Array.from({ length: 5_000 }, (_, value) => ({ value })) });

    for (let index = 0; index < 20; index++) await produce(small, topic, body, `k-${index}`);

    await waitUntil("what is too old is deleted", async () => (await journalBytes(own.path)) <= 1.5 * limitBytes);
    assert.equal((await produce(small, topic, body, "k-19")).headers.get("idempotency-replayed"), "true");
  });

  async function folderToRemove(): Promise<TemporaryFolder & AsyncDisposable> {
    const made = await temporaryFolder();
    return { ...made, [Symbol.asyncDispose]: () => made.remove() };
  }
});

async function journalBytes(dataDir: string): Promise<number> {
  const folder = join(dataDir, "idempotency-keys");
  const names = await readdir(folder).catch(() => []);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return sizes.reduce((total, sizeBytes) => total + sizeBytes, 0);
}

function produce(gateway: Gateway, topic: string, body: string, key: string, query = "", headers = {}) {
  const url = `${urlOf(gateway)}/api/topics/${topic}/produce${query}`;
  return httpCall("POST", url, body, { ...headers, "idempotency-key": key });
}

function urlOf(gateway: Gateway): string {
  return `http://${gateway.address.host}:${gateway.address.port}`;
}
