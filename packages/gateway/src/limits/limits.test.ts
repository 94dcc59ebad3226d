import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { after, before, suite, test } from "node:test";
import { gzipSync } from "node:zlib";
import { SystemClock, type Timer, type TimerOptions } from "@millrace/base";
import { httpCall, type StartedBroker, startBroker, waitUntil } from "@millrace/testing";
import { Gateway } from "../gateway.ts";
import type { GatewayConfig } from "../options.ts";

const ONE_RECORD = '{"records":[{"value":1}]}';
const PATH = "/api/topics/orders/produce";

suite("limits", { concurrency: false }, () => {
  let started: StartedBroker;

  before(async () => {
    started = await startBroker();
    await using gateway = await open({});
    await httpCall("POST", `${urlOf(gateway)}/api/topics`, '{"name":"orders","partitions":1}');
  });

  after(() => started.close());

  function open(config: GatewayConfig): Promise<Gateway> {
    return Gateway.open({ port: 0, bootstrapServers: started.server, closeTimeoutMs: 500, ...config });
  }

  test("500 uploads that stall leave the others at 200", async () => {
    // What the 500 send is twice as much as there is room for.
    await using gateway = await open({ bytesInFlightLimit: 1024 * 1024 });
    const stalled = await Promise.all(Array.from({ length: 500 }, () => startUpload(gateway, 16_000_000, 4_000)));
    const answeredCount = () => stalled.filter(({ answer }) => answer() !== "").length;

    try {
      // Each is held, or was turned away because those that are held have filled their part of the room.
      await waitUntil("all of them are there", async () => {
        const heldCount = Math.floor((await bytesInFlight(gateway)) / 4_000);
        return heldCount > 0 && heldCount + answeredCount() >= 500;
      });
      const answers = await Promise.all(Array.from({ length: 100 }, () => produce(gateway)));

      assert.deepEqual(
        answers.map(({ status }) => status),
        new Array(100).fill(200),
      );
      assert.ok((await bytesInFlight(gateway)) > 500_000);
    } finally {
      for (const { socket } of stalled) socket.destroy();
    }
  });

  test("a stalled upload that had to make way is told so", async () => {
    await using gateway = await open({ bytesInFlightLimit: 120_000 });
    const upload = await startUpload(gateway, 200_000, 90_000);
    await waitUntil("it is held", async () => (await bytesInFlight(gateway)) === 90_000);
    const large = JSON.stringify({ records: [{ value: "x".repeat(50_000) }] });

    await waitUntil("another one has its room", async () => (await produce(gateway, large)).status === 200);
    await waitUntil("it was answered", () => upload.answer() !== "");

    assert.match(upload.answer(), /^HTTP\/1\.1 408 [\s\S]*UPLOAD_STALLED/);
    upload.socket.destroy();
  });

  for (const query of ["", "?async=true", "?results=each"]) {
    test(`what is kept of a stream${query} whose sender falls silent counts, and makes way`, async () => {
      await using gateway = await open({ bytesInFlightLimit: 120_000 });
      const upload = await startLines(gateway, query, 88_000);
      await waitUntil("it is held", async () => (await bytesInFlight(gateway)) >= 88_000);
      const large = JSON.stringify({ records: [{ value: "x".repeat(50_000) }] });

      await waitUntil("another one has its room", async () => (await produce(gateway, large)).status === 200);
      await waitUntil("it was answered", () => upload.answer() !== "");

      assert.match(upload.answer(), /^HTTP\/1\.1 408 [\s\S]*UPLOAD_STALLED/);
      upload.socket.destroy();
      await waitUntil("nothing is held", async () => (await bytesInFlight(gateway)) === 0);
    });
  }

  test("lines that do not end are turned away when they have filled their part of the room", async () => {
    await using gateway = await open({ bytesInFlightLimit: 1024 * 1024 });
    const streams = await Promise.all(Array.from({ length: 30 }, () => startLines(gateway, "", 100_000)));

    await waitUntil("most of them are answered", () => streams.filter(({ answer }) => answer() !== "").length >= 20);
    const { status } = await produce(gateway);

    assert.ok(streams.every(({ answer }) => answer() === "" || /^HTTP\/1\.1 (?:408|503) /.test(answer())));
    assert.equal(status, 200);
    for (const { socket } of streams) socket.destroy();
  });

  for (const query of ["", "?atomic=true"]) {
    test(`a stream${query} that is turned away is read on, for senders that look at the answer only then`, async () => {
      await using gateway = await open({ bytesInFlightLimit: 20_000 });
      const stream = await startLines(gateway, query, 50_000);
      const rest = Buffer.alloc(16_000_000, " ");

      stream.socket.write(`${rest.length.toString(16)}\r\n`);
      let isSent = false;
      stream.socket.write(rest, () => {
        isSent = true;
      });

      await waitUntil("all of it is sent, and answered", () => isSent && stream.answer() !== "");
      assert.match(stream.answer(), /^HTTP\/1\.1 503 /);
      stream.socket.destroy();
    });
  }

  test("who does not read an answer keeps its connection for so long only", async () => {
    await using gateway = await open({ unreadTimeoutMs: 2_000, deliveryTimeoutMs: 1_000, maxBlockMs: 1_000 });
    await using patient = await open({});
    const large = JSON.stringify({ records: Array.from({ length: 1_000 }, () => ({ value: "x".repeat(9_000) })) });
    assert.equal((await produce(patient, large)).status, 200);
    const { socket } = await connectTo(gateway);
    let isClosed = false;
    socket.on("close", () => {
      isClosed = true;
    });

    socket.pause().write("GET /api/topics/orders/messages?limit=10000 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    await waitUntil("its answer is held", async () => (await bytesInFlight(gateway)) > 1_000_000);
    await waitUntil("it is held no more", async () => (await bytesInFlight(gateway)) === 0);

    socket.resume();
    await waitUntil("its connection is closed", () => isClosed);
  });

  test("many who read much at once are answered one after the other, or told to come back", async () => {
    await using gateway = await open({ maxBlockMs: 2_000 });
    const url = `${urlOf(gateway)}/api/topics/orders/messages?limit=10000`;

    const answers = await Promise.all(Array.from({ length: 40 }, () => httpCall("GET", url)));

    assert.ok(answers.some(({ status }) => status === 200));
    assert.ok(answers.every(({ status, json }) => status === 200 || json.code === "OVERLOADED"));
  });

  test("who goes on sending after a refusal is listened to for a while, then cut off", async () => {
    await using gateway = await open({ bodyLimitBytes: 1_000, clock: new HastyClock() });
    const { socket, answer } = await startUpload(gateway, 5_000_000, 100);
    await waitUntil("it was refused", () => answer() !== "");

    socket.write("x".repeat(100));
    await waitUntil("it is cut off", () => socket.closed);

    assert.match(answer(), /^HTTP\/1\.1 413 /);
  });

  test("where there is no room and nobody has stalled, a request is told to come back", async () => {
    await using gateway = await open({ bytesInFlightLimit: 10_000 });
    const large = JSON.stringify({ records: [{ value: "x".repeat(50_000) }] });

    const { status, json, headers } = await produce(gateway, large);

    assert.deepEqual([status, json.code], [503, "OVERLOADED"]);
    assert.equal(headers.get("retry-after"), "1");
    assert.equal((await produce(gateway)).status, 200);
  });

  test("requests beyond the limit are turned away while the others go on", async () => {
    await using gateway = await open({ requestsInFlightLimit: 4 });

    const answers = await Promise.all(Array.from({ length: 60 }, () => produce(gateway)));

    const statuses = new Set(answers.map(({ status }) => status));
    assert.deepEqual([...statuses].sort(), [200, 503]);
    await waitUntil("there is room again", async () => (await produce(gateway)).status === 200);
  });

  test("a sender of one byte a second costs nobody anything, and is cut off in the end", async () => {
    await using gateway = await open({ requestTimeoutMs: 500 });
    const { socket, answer } = await startUpload(gateway, 1_000, 0);
    const drip = setInterval(() => socket.write(" "), 50);

    try {
      assert.equal((await produce(gateway)).status, 200);
      await waitUntil("it was given up", () => answer() !== "");

      assert.match(answer(), /^HTTP\/1\.1 408 [\s\S]*REQUEST_INCOMPLETE/);
    } finally {
      clearInterval(drip);
      socket.destroy();
    }
  });

  test("a body that would inflate to 10 GiB is refused after the first bytes too many", async () => {
    await using gateway = await open({});
    // Ten gibibytes of zeros in gzip members of 64 MiB: 10 MB on the wire.
    const member = gzipSync(Buffer.alloc(64 * 1024 * 1024), { level: 9 });
    const bomb = Buffer.concat(new Array(160).fill(member));
    const rssBefore = process.memoryUsage.rss();

    const { status, json } = await produce(gateway, bomb, { "content-encoding": "gzip" });

    assert.deepEqual([status, json.code], [413, "BODY_TOO_LARGE"]);
    assert.ok(process.memoryUsage.rss() - rssBefore < 200 * 1024 * 1024);
  });

  test("100 bodies that inflate beyond the limit at once are refused one after the other, in bounded memory", async () => {
    await using gateway = await open({});
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024), { level: 9 });
    const rssBefore = process.memoryUsage.rss();

    const answers = await Promise.all(
      Array.from({ length: 100 }, () => produce(gateway, bomb, { "content-encoding": "gzip" })),
    );

    assert.ok(answers.every(({ status }) => status === 413));
    assert.ok(process.memoryUsage.rss() - rssBefore < 300 * 1024 * 1024);
  });

  test("a record beyond maxRequestSize fails alone, a body that inflates beyond its limit as a whole", async () => {
    await using gateway = await open({ maxRequestSize: 2048, inflatedLimitBytes: 10_000 });
    const body = (sizeBytes: number) => `{"records":[{"value":"${"x".repeat(sizeBytes)}"},{"value":1}]}`;

    const large = await produce(gateway, body(3_000));
    const inflated = await produce(gateway, gzipSync(body(20_000)), { "content-encoding": "gzip" });

    assert.deepEqual([large.status, large.json.succeeded, large.json.offsets[0].code], [200, 1, "MESSAGE_TOO_LARGE"]);
    assert.deepEqual([inflated.status, inflated.json.code], [413, "BODY_TOO_LARGE"]);
  });

  test("an upload that announces itself is refused before it is sent", async () => {
    await using gateway = await open({ bodyLimitBytes: 1000, auth: "keys", apiKeys: ["k"] });
    const head = (key: string, sizeBytes: number) =>
      `POST ${PATH} HTTP/1.1\r\nhost: localhost\r\nauthorization: ${key}\r\ncontent-length: ${sizeBytes}\r\nexpect: 100-continue\r\n\r\n`;
    const ask = async (text: string) => {
      const { socket, answer } = await connectTo(gateway);
      socket.write(text);
      await waitUntil("it was answered", () => answer() !== "");
      return { socket, answer };
    };

    const tooLarge = await ask(head("k", 5000));
    const unknown = await ask(head("wrong", 500));
    const welcome = await ask(head("k", ONE_RECORD.length));
    assert.match(tooLarge.answer(), /^HTTP\/1\.1 413 /);
    assert.match(unknown.answer(), /^HTTP\/1\.1 401 /);
    assert.match(welcome.answer(), /^HTTP\/1\.1 100 Continue/);
    welcome.socket.write(ONE_RECORD);
    await waitUntil("it was stored", () => welcome.answer().includes("offsets"));
    for (const { socket } of [tooLarge, unknown, welcome]) socket.destroy();
  });

  test("a key that sends too many requests is told when to go on, and others are not held up", async () => {
    await using gateway = await open({ auth: "keys", apiKeys: ["a", "b"], keyRequestsPerSecond: 5 });

    const answers: Awaited<ReturnType<typeof produce>>[] = [];
    for (let index = 0; index < 8; index++) answers.push(await produce(gateway, ONE_RECORD, { authorization: "a" }));
    const other = await produce(gateway, ONE_RECORD, { authorization: "b" });

    const refused = answers.at(-1);
    assert.deepEqual([answers[0]?.status, refused?.status, refused?.json.code], [200, 429, "RATE_LIMITED"]);
    assert.equal(refused?.headers.get("retry-after"), "1");
    for (const name of ["ratelimit", "x-ratelimit"]) {
      assert.equal(refused?.headers.get(`${name}-limit`), "5");
      assert.equal(refused?.headers.get(`${name}-remaining`), "0");
      assert.equal(answers[0]?.headers.get(`${name}-remaining`), "4");
    }
    assert.equal(other.status, 200);
    assert.equal((await httpCall("GET", `${urlOf(gateway)}/health/live`)).status, 200);
  });

  test("a key that sent too many bytes waits for as long as they stand for", async () => {
    await using gateway = await open({ keyBytesPerSecond: 10_000 });
    const large = JSON.stringify({ records: [{ value: "x".repeat(50_000) }] });

    const first = await produce(gateway, large);
    const second = await produce(gateway, large);

    assert.equal(first.status, 200);
    assert.deepEqual([second.status, second.json.code], [429, "RATE_LIMITED"]);
    assert.match(second.headers.get("retry-after") ?? "", /^[45]$/);
  });

  test("a connection too many is told so and closed; the others stay", async () => {
    await using gateway = await open({ connectionLimit: 3 });
    const kept = await Promise.all([connectTo(gateway), connectTo(gateway), connectTo(gateway)]);
    const tooMany = await connectTo(gateway);

    await waitUntil("it was closed", () => tooMany.socket.closed);
    const [first] = kept;
    first?.socket.write("GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n");
    await waitUntil("the first is served", () => first?.answer().includes('"alive":true') === true);

    assert.match(tooMany.answer(), /^HTTP\/1\.1 503 [\s\S]*TOO_MANY_CONNECTIONS/);
    for (const { socket } of kept) socket.destroy();
  });

  test("2,000 idle connections leave the server answering", async () => {
    await using gateway = await open({});
    const idle = await Promise.all(Array.from({ length: 2_000 }, () => connectTo(gateway)));

    assert.equal((await produce(gateway)).status, 200);
    for (const { socket } of idle) socket.destroy();
  });
});

test("with brokers that are gone, what is held stays within its bounds and readiness is off", async () => {
  const started = await startBroker();
  await using gateway = await Gateway.open({
    port: 0,
    bootstrapServers: started.server,
    bufferMemory: 1024 * 1024,
    bytesInFlightLimit: 2 * 1024 * 1024,
    maxBlockMs: 300,
    deliveryTimeoutMs: 1_000,
    closeTimeoutMs: 50,
  });
  await httpCall("POST", `${urlOf(gateway)}/api/topics`, '{"name":"orders","partitions":1}');
  await produce(gateway);
  await started.close();
  const large = JSON.stringify({ records: [{ value: "x".repeat(200_000) }] });

  const answers = await Promise.all(Array.from({ length: 50 }, () => produce(gateway, large)));
  const ready = await httpCall("GET", `${urlOf(gateway)}/health/ready`);

  assert.ok(answers.every(({ status }) => status === 503 || status === 504));
  assert.ok(answers.some(({ headers }) => headers.get("retry-after") !== null));
  assert.equal(ready.status, 503);
});

test("an error comes as RFC 9457 has it where that is asked for", async () => {
  await using gateway = await Gateway.open({ port: 0, bootstrapServers: "127.0.0.1:1" });
  const headers = { accept: "application/problem+json, application/json;q=0.5", "x-request-id": "trace-7" };

  const { status, json, headers: answered } = await httpCall("GET", `${urlOf(gateway)}/nowhere`, undefined, headers);

  assert.equal(status, 404);
  assert.match(answered.get("content-type") ?? "", /^application\/problem\+json/);
  assert.deepEqual(json, {
    type: "urn:millrace:error:NOT_FOUND",
    title: "Not found",
    status: 404,
    detail: "there is no GET /nowhere",
    code: "NOT_FOUND",
    requestId: "trace-7",
  });
});

/** A second takes 50 ms. */
class HastyClock extends SystemClock {
  override schedule(delayMs: number, callback: () => void, options?: TimerOptions): Timer {
    return super.schedule(delayMs / 20, callback, options);
  }
}

function produce(gateway: Gateway, body: string | Uint8Array = ONE_RECORD, headers = {}) {
  return httpCall("POST", `${urlOf(gateway)}${PATH}`, body, headers);
}

async function bytesInFlight(gateway: Gateway): Promise<number> {
  const { text } = await httpCall("GET", `${urlOf(gateway)}/metrics`);
  return Number(/^millrace_http_in_flight_bytes (\d+)$/m.exec(text)?.[1]);
}

interface Client {
  readonly socket: Socket;
  answer(): string;
}

function connectTo(gateway: Gateway): Promise<Client> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(gateway.address.port, gateway.address.host, () => {
      resolve({ socket, answer: () => text });
    });
    socket.on("data", (bytes) => {
      text += bytes.toString();
    });
    socket.on("error", reject);
  });
}

/** Announces sizeBytes, sends sentBytes of them, and falls silent. */
async function startUpload(gateway: Gateway, sizeBytes: number, sentBytes: number): Promise<Client> {
  const client = await connectTo(gateway);
  const head = `POST ${PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${sizeBytes}\r\n\r\n`;
  client.socket.write(head + "x".repeat(sentBytes));
  return client;
}

/** Begins a body of lines of any length, sends sentBytes of a line that does not end, and falls silent. */
async function startLines(gateway: Gateway, query: string, sentBytes: number): Promise<Client> {
  const client = await connectTo(gateway);
  const head = `POST ${PATH}${query} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n`;
  client.socket.write(`${head}${sentBytes.toString(16)}\r\n${" ".repeat(sentBytes)}\r\n`);
  return client;
}

function urlOf(gateway: Gateway): string {
  return `http://${gateway.address.host}:${gateway.address.port}`;
}
