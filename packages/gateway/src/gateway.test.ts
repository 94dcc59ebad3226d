import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, suite, test } from "node:test";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { Admin } from "@millrace/client";
import { gatewaySuite, httpCall, type StartedBroker, startBroker, waitUntil } from "@millrace/testing";
import { Gateway } from "./gateway.ts";
import type { GatewayConfig } from "./options.ts";

/** Nobody listens there. */
const NOWHERE = "127.0.0.1:1";
/** For a gateway whose brokers go away: it waits for nothing long, its own end included. */
const HASTY = { maxBlockMs: 200, topicCacheMs: 10, closeTimeoutMs: 50 };

suite("over the embedded broker", { concurrency: false }, () => {
  let started: StartedBroker;
  let gateway: Gateway;

  before(async () => {
    started = await startBroker();
    gateway = await Gateway.open({ port: 0, bootstrapServers: started.server });
  });

  after(async () => {
    await gateway.close();
    await started.close();
  });

  gatewaySuite("over TCP", () => ({ url: urlOf(gateway), server: started.server }));

  suite("in process", () => {
    let inside: Gateway;

    before(async () => {
      inside = await Gateway.open({
        port: 0,
        bootstrapServers: "embedded:1",
        network: started.broker.network,
        brokerInProcess: true,
      });
    });

    after(() => inside.close());

    test("produces and reads without a socket to the broker", async () => {
      const topic = await createTopic(inside, "in-process");

      const { status, json } = await post(
        inside,
        `/api/topics/${topic}/produce`,
        '{"records":[{"value":1},{"value":2}]}',
      );
      const read = await get(inside, `/api/topics/${topic}/messages?partition=${json.offsets[0].partition}`);

      assert.equal(status, 200);
      assert.equal(read.json.length, 2);
    });
  });

  test("a body beyond the limit is answered with 413, plain or inflated", async () => {
    await using small = await open({ bodyLimitBytes: 1000, inflatedLimitBytes: 1000 });
    const topic = await createTopic(small, "limit");
    const path = `/api/topics/${topic}/produce`;
    const large = Buffer.from(`{"records":[{"value":"${"x".repeat(2000)}"}]}`);

    const plain = await post(small, path, large);
    const inflated = await post(small, path, gzipSync(large), { "content-encoding": "gzip" });

    assert.deepEqual([plain.status, plain.json.code], [413, "BODY_TOO_LARGE"]);
    assert.deepEqual([inflated.status, inflated.json.code], [413, "BODY_TOO_LARGE"]);
  });

  test("a compressed body is stored as if it came plain; an encoding nobody knows is answered with 415", async () => {
    const topic = await createTopic(gateway, "encoding");
    const path = `/api/topics/${topic}/produce`;
    const body = gzipSync('{"records":[{"value":"zipped"}]}');

    const good = await post(gateway, path, body, { "content-encoding": "gzip" });
    const broken = await post(gateway, path, "{}", { "content-encoding": "gzip" });
    const unknown = await post(gateway, path, body, { "content-encoding": "compress" });

    assert.equal(good.status, 200);
    assert.deepEqual([broken.status, broken.json.code], [400, "INVALID_BODY"]);
    assert.deepEqual([unknown.status, unknown.json.code], [415, "UNSUPPORTED_ENCODING"]);
  });

  for (const [encoding, encode] of [
    ["gzip", gzipSync],
    ["deflate", deflateSync],
    ["br", brotliCompressSync],
  ] as const) {
    for (const [what, contentType, records] of [
      ["an envelope", "application/json", '{"records":[{"value":1}]}'],
      ["a stream of lines", "application/x-ndjson", '{"value":1}\n'.repeat(200_000)],
    ] as const) {
      test(`${what} in ${encoding} that breaks off, or goes on behind its end, is answered with 400`, async () => {
        const topic = await createTopic(gateway, `${encoding}-${what.length}`);
        const path = `/api/topics/${topic}/produce`;
        const headers = { "content-encoding": encoding, "content-type": contentType };
        const body = encode(records);

        const short = await post(gateway, path, body.subarray(0, -1), headers);
        const long = await post(gateway, path, Buffer.concat([body, Buffer.from("!")]), headers);

        assert.deepEqual([short.status, short.json.code], [400, "INVALID_BODY"]);
        assert.deepEqual([long.status, long.json.code], [400, "INVALID_BODY"]);
      });
    }
  }

  test("of the newest messages it is the oldest that are left out where they are too many bytes", async () => {
    await using small = await open({ messagesLimitBytes: 1000 });
    const topic = await createTopic(small, "newest");
    const records = Array.from({ length: 10 }, (_, index) => ({ value: `${index}${"x".repeat(300)}` }));
    await post(small, `/api/topics/${topic}/produce`, JSON.stringify({ records }));

    const { json, headers } = await get(small, `/api/topics/${topic}/messages?tail=8`);

    assert.deepEqual(
      json.map(({ offset }: { offset: number }) => offset),
      [7, 8, 9],
    );
    assert.equal(headers.get("millrace-position"), "0-10");
  });

  test("more records than the limit are answered with 413", async () => {
    await using small = await open({ recordLimit: 2 });
    const topic = await createTopic(small, "records");

    const { status, json } = await post(small, `/api/topics/${topic}/produce`, '{"records":[{},{},{}]}');

    assert.deepEqual([status, json.code], [413, "TOO_MANY_RECORDS"]);
  });

  test("headers beyond the limit are answered with 431", async () => {
    const { status, json } = await get(gateway, "/health/live", { "x-large": "x".repeat(20_000) });

    assert.deepEqual([status, json.code], [431, "HEADERS_TOO_LARGE"]);
  });

  test("a request that never ends is answered with 408, and others go on", async () => {
    await using hasty = await open({ requestTimeoutMs: 100 });
    const socket = connect(hasty.address.port, hasty.address.host);
    let answer = "";
    socket.on("data", (bytes) => {
      answer += bytes.toString();
    });
    socket.write("POST /api/topics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{");

    const other = await get(hasty, "/health/live");
    await waitUntil("the request was given up", () => answer !== "");

    assert.equal(other.status, 200);
    assert.match(answer, /^HTTP\/1\.1 408 /);
    socket.destroy();
  });

  for (const [what, path, status] of [
    ["a topic that is not there", "/api/topics/nowhere/produce", 404],
    ["a parameter that is none", "/api/topics/nowhere/produce?acks=7", 400],
  ] as const) {
    test(`who asks before it sends the body is told of ${what}`, async () => {
      const answer = await exchange(
        `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n`,
      );

      assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `));
    });
  }

  test("a request that does not say whom it is for is answered with 400, as JSON", async () => {
    assert.match(await exchange("GET /health/live HTTP/1.1\r\nconnection: close\r\n\r\n"), /^HTTP\/1.1 400 .*"code"/s);
    assert.match(await exchange("GET /health/live HTTP/1.0\r\n\r\n"), /^HTTP\/1.1 200 /);
  });

  /** What comes back on a connection of its own until the server closes it. */
  async function exchange(sent: string): Promise<string> {
    const socket = connect(gateway.address.port, gateway.address.host);
    socket.setEncoding("utf8").write(sent);
    let answer = "";
    for await (const text of socket) answer += text;
    return answer;
  }

  test("what is no HTTP is answered with 400", async () => {
    const socket = connect(gateway.address.port, gateway.address.host);
    let answer = "";
    socket.on("data", (bytes) => {
      answer += bytes.toString();
    });
    socket.write("\u0016\u0003\u0001 hello\r\n\r\n");

    await waitUntil("it answered", () => answer !== "");

    assert.match(answer, /^HTTP\/1\.1 400 /);
    socket.destroy();
  });

  test("the trace of a request goes into the headers of its records, also of async ones", async () => {
    const tracing = gateway;
    const topic = await createTopic(tracing, "traced");
    const path = `/api/topics/${topic}/produce`;
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const own = '{"records":[{"value":1},{"value":2,"headers":[{"key":"traceparent","value":"mine"}]}]}';

    await post(tracing, path, own, { traceparent, tracestate: "a=1" });
    const accepted = await post(tracing, `${path}?async=true`, '{"records":[{"value":3}]}', { traceparent });
    await post(tracing, path, '{"records":[{"value":4}]}', { traceparent: "nonsense" });
    await get(tracing, `/api/produce/status/${accepted.json.requestId}?wait=5000`);
    const { json } = await get(tracing, `/api/topics/${topic}/messages?format=json`);

    const headers = new Map(
      json.map((message: { value: number; headers?: object }) => [message.value, message.headers]),
    );
    assert.deepEqual(headers.get(1), [
      { key: "traceparent", value: traceparent },
      { key: "tracestate", value: "a=1" },
    ]);
    assert.deepEqual(headers.get(2), [{ key: "traceparent", value: "mine" }]);
    assert.deepEqual(headers.get(3), [{ key: "traceparent", value: traceparent }]);
    assert.equal(headers.get(4), undefined);
  });

  test("where it is not wanted, the trace of a request stays out of its records", async () => {
    await using untraced = await open({ traceHeaders: false });
    const topic = await createTopic(untraced, "untraced");
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    await post(untraced, `/api/topics/${topic}/produce`, '{"records":[{"value":1}]}', { traceparent });
    const { json } = await get(untraced, `/api/topics/${topic}/messages`);

    assert.deepEqual([json.length, json[0].headers], [1, undefined]);
  });

  test("a path that is not there is answered with 404, a wrong method with 405", async () => {
    const missing = await get(gateway, "/api/nothing");
    const wrong = await httpCall("PUT", `${urlOf(gateway)}/api/topics/orders/produce`);

    assert.deepEqual([missing.status, missing.json.code], [404, "NOT_FOUND"]);
    assert.deepEqual([wrong.status, wrong.json.code], [405, "METHOD_NOT_ALLOWED"]);
    assert.equal(wrong.headers.get("allow"), "POST, OPTIONS");
  });

  test("a request's own id comes back in its error", async () => {
    const { json } = await get(gateway, "/api/nothing", { "x-request-id": "trace-7" });

    assert.equal(json.requestId, "trace-7");
  });

  test("a page from elsewhere is kept out, by its origin and by a name that is not the server's", async () => {
    const foreign = await get(gateway, "/api/topics", { origin: "https://evil.example" });
    const own = await get(gateway, "/api/topics", { origin: urlOf(gateway) });
    const rebound = await rawRequest(gateway, "GET /api/topics HTTP/1.1\r\nhost: evil.example\r\n\r\n");
    const local = await rawRequest(gateway, "GET /api/topics HTTP/1.1\r\nhost: localhost:8080\r\n\r\n");

    assert.deepEqual([foreign.status, foreign.json.code], [403, "ORIGIN_NOT_ALLOWED"]);
    assert.equal(own.status, 200);
    assert.match(rebound, /^HTTP\/1\.1 421 [\s\S]*HOST_NOT_ALLOWED/);
    assert.match(local, /^HTTP\/1\.1 200 /);
  });

  test("a page that was allowed gets its preflight and its answer", async () => {
    const origin = "https://app.example";
    await using allowing = await open({ corsOrigin: [origin] });

    const preflight = await httpCall("OPTIONS", `${urlOf(allowing)}/api/topics/orders/produce`, undefined, { origin });
    const answer = await get(allowing, "/api/topics", { origin });

    assert.equal(preflight.status, 204);
    assert.match(preflight.headers.get("access-control-allow-methods") ?? "", /POST/);
    assert.equal(answer.headers.get("access-control-allow-origin"), origin);
  });

  test("openapi.json describes every route, and its examples work against the server", async () => {
    await using keyed = await open({ auth: "keys", apiKeys: ["operator-key"] });
    const { json } = await get(keyed, "/openapi.json");

    assert.equal(json.openapi, "3.1.0");
    const operations = Object.entries<Record<string, OpenApiOperation>>(json.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
    );
    assert.ok(operations.length >= 15);
    // What is looked at must have been put there.
    operations.sort((a, b) => Number(a.method === "GET") - Number(b.method === "GET"));
    await createTopic(gateway, "documented");
    for (const { method, path, operation } of operations) {
      const place = path.replace(/\{(topic|subject)\}/, "documented").replace(/\{(id|version)\}/, "1");
      const url = `${urlOf(keyed)}${place}`;
      if (method === "DELETE" && path !== "/api/topics/batch") continue;
      // The one has no end, the other needs a request of its own: both have their tests elsewhere.
      if (path.endsWith("/tail") || path.includes("{requestId}")) continue;
      const example = operation.requestBody?.content["application/json"]?.example;
      const body = example === undefined ? undefined : JSON.stringify(example);
      const answer = await httpCall(method, url, body, { authorization: "Bearer operator-key" });
      assert.ok(answer.status in operation.responses, `${method} ${path} answered ${answer.status} ${answer.text}`);
      assert.ok(answer.status < 300 || answer.json.successful === 0, `${method} ${path}: ${answer.text}`);
    }
  });

  test("metrics count requests by route and records by topic", async () => {
    const topic = await createTopic(gateway, "metrics");
    await post(gateway, `/api/topics/${topic}/produce?value.format=binary`, '{"records":[{"value":"!"},{},{}]}');
    await get(gateway, "/api/nothing");

    const { text } = await get(gateway, "/metrics");

    assert.match(text, /millrace_http_records_total\{topic="metrics",outcome="stored"\} 2/);
    assert.match(text, /millrace_http_records_total\{topic="metrics",outcome="failed"\} 1/);
    assert.match(text, /millrace_http_request_records_bucket\{le="10",topic="metrics",outcome="stored"\} \d/);
    assert.match(text, /duration_seconds_count\{method="POST",route="\/api\/topics\/:topic\/produce",status="200"\}/);
    assert.match(text, /route="\(unknown\)",status="404"/);
    assert.match(text, /nodejs_eventloop_lag_seconds/);
  });

  test("the docs page shows every path and needs no other file", async () => {
    const { status, text, headers } = await get(gateway, "/docs");

    assert.equal(status, 200);
    assert.match(headers.get("content-type") ?? "", /text\/html/);
    assert.ok(text.includes("/api/topics/{topic}/produce"));
    assert.doesNotMatch(text, /<script|src=|<link/);
  });

  test("close waits for a request under way, and may be called twice", async () => {
    const closing = await open({});
    const topic = await createTopic(closing, "closing");
    const body = '{"records":[{"value":1}]}';
    const socket = connect(closing.address.port, closing.address.host);
    let answer = "";
    socket.on("data", (bytes) => {
      answer += bytes.toString();
    });
    const head = `POST /api/topics/${topic}/produce HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}`;
    socket.write(`${head}\r\nexpect: 100-continue\r\n\r\n`);
    await waitUntil("its head was read", () => answer.includes("100 Continue"));

    const closed = closing.close();
    socket.write(body);
    await closed;
    await waitUntil("it was answered", () => answer.includes("offsets"));

    assert.match(answer, /HTTP\/1\.1 200 /);
    assert.match(answer, /connection: close/i);
    await closing.close();
    await assert.rejects(get(closing, "/health/live"));
  });

  async function open(config: GatewayConfig): Promise<Gateway> {
    return Gateway.open({ port: 0, bootstrapServers: started.server, ...config });
  }
});

suite("when brokers go away", () => {
  test("a request that waits no longer is told that its records may be stored", async () => {
    const started = await startBroker();
    await createPatiently(started.server, "going");
    await using gateway = await Gateway.open({ port: 0, bootstrapServers: started.server, ...HASTY });
    const path = "/api/topics/going/produce";
    await post(gateway, path, '{"records":[{"value":1}]}');
    await started.close();

    const { status, json } = await post(gateway, `${path}?timeout_ms=100`, '{"records":[{"value":2},{"value":3}]}');

    assert.equal(status, 504, JSON.stringify(json));
    assert.deepEqual([json.succeeded, json.failed], [0, 2]);
    assert.deepEqual(
      { ...json.offsets[0], error: "" },
      {
        partition: -1,
        offset: -1,
        error: "",
        code: "TIMED_OUT",
        retriable: true,
        persisted: "maybe",
        index: 0,
      },
    );
  });

  test("a topic that somebody else deleted is not found soon after", async () => {
    await using started = await startBroker();
    await createPatiently(started.server, "deleted");
    await using gateway = await Gateway.open({ port: 0, bootstrapServers: started.server, ...HASTY });
    await using admin = new Admin({ bootstrapServers: started.server });
    const path = "/api/topics/deleted/produce?timeout_ms=500";
    await post(gateway, path, '{"records":[{"value":1}]}');

    await admin.deleteTopics(["deleted"]);

    await waitUntil("it was noticed", async () => {
      const { json } = await post(gateway, path, '{"records":[{"value":1}]}');
      return json.code === "TOPIC_NOT_FOUND";
    });
  });
});

suite("without a broker", () => {
  test("it opens, lives, and is not ready", async () => {
    await using gateway = await Gateway.open({ port: 0, bootstrapServers: NOWHERE, maxBlockMs: 50 });

    const live = await get(gateway, "/health/live");
    const ready = await get(gateway, "/health/ready");
    const health = await get(gateway, "/api/health");

    assert.equal(live.status, 200);
    assert.deepEqual([ready.status, ready.json], [503, { ready: false }]);
    assert.deepEqual([health.status, health.json.status], [503, "unhealthy"]);
  });

  test("produce is answered with 503 and when to try again", async () => {
    await using gateway = await Gateway.open({ port: 0, bootstrapServers: NOWHERE, maxBlockMs: 50 });

    const { status, json, headers } = await post(gateway, "/api/topics/orders/produce", '{"records":[{"value":1}]}');

    assert.equal(status, 503, JSON.stringify(json));
    assert.equal(headers.get("retry-after"), "1");
  });
});

test("a second gateway on the same port is refused", async () => {
  await using gateway = await Gateway.open({ port: 0, bootstrapServers: NOWHERE });

  await assert.rejects(Gateway.open({ port: gateway.address.port, bootstrapServers: NOWHERE }), { code: "EADDRINUSE" });
});

interface OpenApiOperation {
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly example?: unknown }>> };
  readonly responses: Readonly<Record<string, unknown>>;
}

/** For what fetch would not send; gives the whole answer. */
async function rawRequest(gateway: Gateway, request: string): Promise<string> {
  const socket = connect(gateway.address.port, gateway.address.host);
  let answer = "";
  socket.on("data", (bytes) => {
    answer += bytes.toString();
  });
  socket.write(request);
  await waitUntil("it was answered", () => /\r\n\r\n./.test(answer));
  socket.destroy();
  return answer;
}

function urlOf(gateway: Gateway): string {
  return `http://${gateway.address.host}:${gateway.address.port}`;
}

/** A gateway in haste gives a broker on a busy machine too little time for it. */
async function createPatiently(server: string, name: string): Promise<void> {
  await using admin = new Admin({ bootstrapServers: server });
  await admin.createTopics([{ name, partitions: 1 }]);
}

async function createTopic(gateway: Gateway, name: string): Promise<string> {
  const { status, json } = await post(gateway, "/api/topics", JSON.stringify({ name, partitions: 1 }));
  assert.equal(status, 201, JSON.stringify(json));
  return name;
}

function get(gateway: Gateway, path: string, headers = {}) {
  return httpCall("GET", `${urlOf(gateway)}${path}`, undefined, headers);
}

function post(gateway: Gateway, path: string, body: string | Uint8Array, headers = {}) {
  return httpCall("POST", `${urlOf(gateway)}${path}`, body, headers);
}
