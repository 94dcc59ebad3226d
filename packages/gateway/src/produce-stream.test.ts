import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, suite, test } from "node:test";
import { gzipSync } from "node:zlib";
import { VirtualClock } from "@millrace/base";
import { httpCall, type StartedBroker, startBroker, waitUntil } from "@millrace/testing";
import type { FastifyReply } from "fastify";
import { Gateway } from "./gateway.ts";
import { Intake } from "./limits/intake.ts";
import { readProduceSettings } from "./produce-settings.ts";
import { ProduceStream } from "./produce-stream.ts";
import type { ProducerContext } from "./producer-context.ts";
import { RecordOutcomes } from "./record-outcomes.ts";
import type { ScannedRecords } from "./scanned-records.ts";

const NDJSON = { "content-type": "application/x-ndjson" };
/** Longer than what is answered as the envelope is. */
const LONG = 30_000;

suite("NDJSON that is produced while it comes", { concurrency: false }, () => {
  let started: StartedBroker;
  let gateway: Gateway;

  before(async () => {
    started = await startBroker();
    gateway = await Gateway.open({ port: 0, bootstrapServers: started.server, bodyLimitBytes: 2 * 1024 * 1024 });
  });

  after(async () => {
    await gateway.close();
    await started.close();
  });

  async function createTopic(name: string, partitions = 1): Promise<string> {
    const { status, text } = await call("POST", "/api/topics", JSON.stringify({ name, partitions }));
    assert.equal(status, 201, text);
    return `/api/topics/${name}`;
  }

  function call(method: string, path: string, body?: string | Uint8Array, headers = {}) {
    return httpCall(method, `http://127.0.0.1:${gateway.address.port}${path}`, body, headers);
  }

  /** A body that is sent as it is made. */
  async function stream(path: string, body: AsyncIterable<Uint8Array>, headers = {}): Promise<Response> {
    const init = { method: "POST", headers: { ...NDJSON, ...headers }, body, duplex: "half" };
    return fetch(`http://127.0.0.1:${gateway.address.port}${path}`, init as RequestInit); // Node takes what the DOM's types lack
  }

  test("a body beyond every limit on bodies is answered with counts and offset ranges", async () => {
    const topic = await createTopic("long", 3);
    async function* body(): AsyncIterable<Uint8Array> {
      for (let at = 0; at < LONG; at += 100) {
        const lines = Array.from({ length: 100 }, (_, index) => {
          const value = "x".repeat(100);
          return `{"partition":${(at + index) % 3},"value":{"n":${at + index},"x":"${value}"}}\n`;
        });
        yield Buffer.from(lines.join(""));
      }
    }

    const response = await stream(`${topic}/produce`, body());
    const json = JSON.parse(await response.text());

    assert.equal(response.status, 200);
    assert.deepEqual(json, {
      topic: "long",
      succeeded: LONG,
      failed: 0,
      partitions: [0, 1, 2].map((partition) => ({
        partition,
        firstOffset: 0,
        lastOffset: LONG / 3 - 1,
        records: LONG / 3,
      })),
      errors: [],
    });
    const read = await call("GET", `${topic}/messages?partition=1&offset=${LONG / 3 - 1}`);
    assert.equal(JSON.parse(read.json[0].value).n, LONG - 2);
  });

  test("lines are cut where they are cut, wherever the pieces are", async () => {
    const topic = await createTopic("pieces");
    const text = Array.from({ length: 200 }, (_, n) => `{"value":"é${n}"}`).join("\n");
    async function* body(): AsyncIterable<Uint8Array> {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length; at += 37) yield bytes.subarray(at, at + 37);
    }

    const response = await stream(`${topic}/produce?results=each`, body());
    const lines = (await response.text()).trimEnd().split("\n");
    const { json } = await call("GET", `${topic}/messages?limit=1000`);

    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type") ?? "", /^application\/x-ndjson/);
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).offset),
      Array.from({ length: 200 }, (_, offset) => offset),
    );
    assert.equal(json.at(-1).value, '"é199"');
  });

  test("compressed lines are inflated as they come; what grows out of all proportion is refused", async () => {
    const topic = await createTopic("zipped");
    const lines = Buffer.from(Array.from({ length: LONG }, (_, n) => `{"value":${n * 7919 + 1e12}}\n`).join(""));
    const encoding = { ...NDJSON, "content-encoding": "gzip" };

    const good = await call("POST", `${topic}/produce`, gzipSync(lines), encoding);
    const bomb = await call("POST", `${topic}/produce`, gzipSync(Buffer.alloc(40_000_000, "\n")), encoding);
    const broken = await call("POST", `${topic}/produce`, "not gzip", encoding);

    assert.deepEqual([good.status, good.json.succeeded ?? good.json.offsets?.length], [200, LONG]);
    assert.deepEqual([bomb.status, bomb.json.code], [413, "BODY_TOO_LARGE"]);
    assert.deepEqual([broken.status, broken.json.code], [400, "INVALID_BODY"]);
  });

  test("a broken line ends it: those before are stored and counted, and the line is named", async () => {
    const topic = await createTopic("cut");
    const lines = Array.from({ length: LONG }, (_, n) => `{"value":"${"x".repeat(50)}${n}"}`);
    lines[LONG - 5] = '{"value":tru}';

    const { status, json } = await call("POST", `${topic}/produce`, lines.join("\n"), NDJSON);

    assert.equal(status, 400);
    assert.equal(json.code, "INVALID_JSON");
    assert.deepEqual([json.details[0].index, json.details[0].line], [LONG - 5, LONG - 4]);
    assert.equal(json.succeeded, LONG - 5);
    assert.equal(json.partitions[0].lastOffset, LONG - 6);
  });

  test("a line beyond the limit of a body ends it", async () => {
    const topic = await createTopic("wide");

    const { status, json } = await call("POST", `${topic}/produce`, `{"value":"${"x".repeat(3_000_000)}"}\n`, NDJSON);

    assert.deepEqual([status, json.code], [413, "BODY_TOO_LARGE"]);
  });

  test("of records that fail for their content the first thousand are told", async () => {
    const topic = await createTopic("errors");
    const lines = Array.from(
      { length: LONG },
      (_, n) => `{"value":"${n % 10 === 0 ? "!" : "eHh4eHh4eHh4eHh4eHh4eHh4eHh4"}"}\n`,
    );

    const { status, json } = await call(
      "POST",
      `${topic}/produce?value.format=binary&status=strict`,
      lines.join(""),
      NDJSON,
    );

    assert.equal(status, 207);
    assert.deepEqual([json.succeeded, json.failed], [LONG * 0.9, LONG / 10]);
    assert.equal(json.errors.length, 1000);
    assert.deepEqual([json.errors[999].index, json.errors[999].code], [9990, "SERIALIZATION_FAILED"]);
  });

  test("with results=each a result comes before the next record is sent", async () => {
    const topic = await createTopic("duplex");
    const received: string[] = [];
    let arrived = () => {};
    async function* body(): AsyncIterable<Uint8Array> {
      for (let count = 1; count <= 3; count++) {
        yield Buffer.from(`{"value":${count},"id":${count}}\n`);
        if (received.length < count) {
          await new Promise<void>((resolve) => {
            arrived = resolve;
          });
        }
      }
    }

    const response = await stream(`${topic}/produce?results=each`, body());
    for await (const chunk of response.body ?? []) {
      received.push(Buffer.from(chunk).toString());
      arrived();
    }

    assert.deepEqual(
      received.map((line) => JSON.parse(line)).map(({ offset, id }) => [offset, id]),
      [
        [0, 1],
        [1, 2],
        [2, 3],
      ],
    );
  });

  test("with results=each a body whose first line is broken is refused, and a later one ends the results", async () => {
    const topic = await createTopic("each-broken");
    const path = `${topic}/produce?results=each`;

    const first = await call("POST", path, '{"value":}\n', NDJSON);
    const empty = await call("POST", path, "\n\n", NDJSON);
    const later = await call("POST", path, '{"value":1}\n{"value":}\n', NDJSON);

    assert.deepEqual([first.status, first.json.code], [400, "INVALID_JSON"]);
    assert.deepEqual([empty.status, empty.json.code], [400, "NO_RECORDS"]);
    const [stored, error] = later.text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.equal(stored.offset, 0);
    assert.deepEqual([error.code, error.succeeded, error.details[0].line], ["INVALID_JSON", 1, 2]);
  });

  test("a client that does not read its results is cut off, and its records so far are counted", async () => {
    const topic = await createTopic("unread");
    const socket = connect(gateway.address.port, "127.0.0.1");
    socket.pause();
    socket.on("error", () => {});
    socket.write(
      `POST ${topic}/produce?results=each HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    const lines = '{"value":1}\n'.repeat(1000);
    const chunk = `${lines.length.toString(16)}\r\n${lines}\r\n`;
    let sentCount = 0;
    let isStopped = false;
    const pump = () => {
      while (!isStopped && sentCount < 1000 && socket.write(chunk)) sentCount += 1;
    };
    socket.on("drain", pump);
    pump();

    await waitUntil("the server reads no more", async () => {
      const before = socket.bytesWritten;
      await new Promise((resolve) => setTimeout(resolve, 200));
      return socket.bytesWritten === before || socket.destroyed;
    });
    isStopped = true;
    let answer = "";
    socket.on("data", (bytes) => {
      answer += bytes.toString();
    });
    socket.resume();
    await waitUntil("the results ended", () => answer.includes("RESULTS_NOT_READ"));

    const last = JSON.parse(/\{"error".*RESULTS_NOT_READ.*\}/.exec(answer)?.[0] ?? "null");
    assert.ok(last.succeeded > 0 && last.succeeded < 1_000_000);
    socket.destroy();
  });

  test("a sender that falls silent is given up", async () => {
    await using hasty = await Gateway.open({ port: 0, bootstrapServers: started.server, requestTimeoutMs: 100 });
    const topic = await createTopic("silent");
    const socket = connect(hasty.address.port, "127.0.0.1");
    let answer = "";
    socket.on("data", (bytes) => {
      answer += bytes.toString();
    });
    socket.write(
      `POST ${topic}/produce HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n`,
    );

    await waitUntil("it was given up", () => answer.includes("REQUEST_INCOMPLETE"));

    assert.match(answer, /^HTTP\/1\.1 408 /);
    socket.destroy();
  });

  test("atomic and async take NDJSON whole", async () => {
    const topic = await createTopic("both");
    async function* body(): AsyncIterable<Uint8Array> {
      yield Buffer.from('{"value":1}\n{"value":2}\n');
    }

    const atomic = await stream(`${topic}/produce?atomic=true`, body());
    const accepted = await stream(`${topic}/produce?async=true`, body());

    assert.equal(atomic.status, 200);
    assert.equal(accepted.status, 202);
  });
});

suite("NDJSON when brokers go away", () => {
  test("it ends with what was stored and why no more was", async () => {
    const started = await startBroker();
    await using gateway = await Gateway.open({
      port: 0,
      bootstrapServers: started.server,
      maxBlockMs: 1_000,
      deliveryTimeoutMs: 2_000,
      closeTimeoutMs: 50,
    });
    const url = `http://127.0.0.1:${gateway.address.port}/api/topics`;
    await httpCall("POST", url, '{"name":"going","partitions":1}');
    let isLeaving = false;
    async function* body(): AsyncIterable<Uint8Array> {
      for (let block = 0; block < 200; block++) {
        if (block === 20) {
          // What was sent lies in the sockets at first; the request must be under way when the broker goes.
          await waitUntil("some are stored", async () => {
            const { status, text } = await httpCall("GET", `${url}/going/messages?limit=1`);
            return status === 200 && text.includes("xxx");
          });
          isLeaving = true;
          await started.close();
        }
        yield Buffer.from(`{"value":"${"x".repeat(1000)}"}\n`.repeat(100));
      }
    }
    const init = { method: "POST", headers: NDJSON, body: body(), duplex: "half" };

    const response = await fetch(`${url}/going/produce`, init as RequestInit); // Node takes what the DOM's types lack
    const json = JSON.parse(await response.text());

    assert.ok(isLeaving);
    assert.ok(response.status === 503 || response.status === 504, `${response.status}`);
    assert.ok(json.succeeded < 20_000);
    assert.equal(typeof json.code, "string");
    assert.ok(json.errors.length > 0);
  });
});

suite("what a stream holds", () => {
  /** So many lines of the shortest kind, of which each takes more room for what is known of it than for itself. */
  const CHUNK = Buffer.from('{"value":1}\n'.repeat(5_000));

  /** A stream of chunks without end, whose records get their fate when they are told to. */
  function streamWith(intake: Intake, clock: VirtualClock) {
    let chunkCount = 0;
    const settle: (() => void)[] = [];
    const context = {
      produceRecords: (_body: Buffer, records: ScannedRecords) =>
        new Promise<RecordOutcomes>((resolve) => settle.push(() => resolve(new RecordOutcomes(records.length)))),
    } as unknown as ProducerContext; // of which nothing else is used
    const stream = new ProduceStream({
      topic: "orders",
      settings: readProduceSettings({}),
      context,
      intake,
      requestId: "1",
      lineLimitBytes: 1_000_000,
      schedule: (delayMs, callback) => clock.schedule(delayMs, callback),
      source: null,
      onRecords: () => {},
    });
    async function* chunks(): AsyncGenerator<Buffer> {
      for (;;) {
        chunkCount += 1;
        yield CHUNK;
      }
    }
    void stream.answer(chunks(), null as unknown as FastifyReply); // it never comes to an answer
    return { chunkCount: () => chunkCount, settle };
  }

  function intakeOf(clock: VirtualClock, limitBytes: number): Intake {
    return new Intake({ clock, requestLimit: 10, limitBytes });
  }

  test("is counted with what is known of each record, and is bounded: then the sender waits", async () => {
    const clock = new VirtualClock();
    const intake = intakeOf(clock, 100_000_000);
    const { settle } = streamWith(intake, clock);

    await clock.advance(60_000);

    assert.ok(intake.sizeBytes > 2 * settle.length * CHUNK.length, `${intake.sizeBytes} bytes are held`);
    assert.ok(intake.sizeBytes < 2 * 1024 * 1024, `${intake.sizeBytes} bytes are held`);
  });

  test("is a block at a time where others have taken the room", async () => {
    const clock = new VirtualClock();
    const intake = intakeOf(clock, 10_000_000);
    const other = intake.open();
    intake.receive(other, 9_000_000);
    const { settle } = streamWith(intake, clock);

    await clock.advance(60_000);
    const heldCount = settle.length;
    intake.close(other);
    for (const done of settle) done();
    await clock.advance(1_000);

    assert.equal(heldCount, 1);
    assert.ok(settle.length > 2);
  });
});
