/** What hostile clients do. Each scenario says what came of it; the neighbour and the memory are watched beside it. */

import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { event } from "../http/event.mjs";
import { startLoad } from "../http/load.mjs";

const MIB = 1024 * 1024;
const PRODUCE = "/api/topics/orders/produce";

export const scenarios = {
  slow: {
    what: "100 clients send a byte a second",
    options: ["--request-timeout-ms", "5000"],
    async run({ host, port, tell }) {
      const clients = many(100, () => new RawClient(host, port));
      for (const client of clients) client.write(`${head("POST", PRODUCE, { "content-length": 1000 })}{`);
      await until(
        20_000,
        () => clients.every((client) => client.isClosed),
        () => {
          for (const client of clients) client.write(" ");
          return sleep(1000);
        },
      );
      tell(`answered    ${tally(clients)}`);
      const heads = many(100, () => new RawClient(host, port));
      for (const client of heads) client.write("POST ");
      await until(
        20_000,
        () => heads.every((client) => client.isClosed),
        () => {
          for (const client of heads) client.write("/");
          return sleep(1000);
        },
      );
      tell(`heads       ${tally(heads)}`);
    },
  },

  bomb: {
    what: "bodies that inflate to 10 GiB, 16 at once, by each encoding, as envelope and as NDJSON",
    async run({ url, tell }) {
      const zeros = Buffer.alloc(64 * MIB, " ");
      const member = gzipSync(zeros);
      const bombs = {
        gzip: Buffer.concat(many(160, () => member)),
        deflate: deflateSync(Buffer.alloc(512 * MIB, " ")),
        br: brotliCompressSync(Buffer.alloc(512 * MIB, " "), { params: { 1: 4 } }),
      };
      for (const [encoding, body] of Object.entries(bombs)) {
        for (const type of ["application/json", "application/x-ndjson"]) {
          const answers = await Promise.all(
            many(16, () => post(url, PRODUCE, body, { "content-encoding": encoding, "content-type": type })),
          );
          tell(
            `${encoding.padEnd(8)} ${type.padEnd(20)} ${(body.length / MIB).toFixed(1)} MiB as sent: ${counts(answers)}`,
          );
        }
      }
    },
  },

  connections: {
    what: "10,000 connections, each with a request, then all idle",
    async run({ host, port, tell }) {
      const clients = [];
      for (let index = 0; index < 100; index++) {
        const group = many(100, () => new RawClient(host, port));
        clients.push(...group);
        await Promise.all(group.map((client) => client.connected));
      }
      const startedMs = performance.now();
      const body = '{"records":[{"value":1}]}';
      for (const client of clients) client.write(head("POST", PRODUCE, { "content-length": body.length }) + body);
      await until(
        60_000,
        () => clients.every((client) => client.status !== null),
        () => sleep(50),
      );
      tell(`answered    ${tally(clients)}, in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
      await sleep(2000);
      for (const client of clients) client.destroy();
    },
  },

  stalled: {
    what: "500 uploads of 1 MiB stop after 64 KiB, for 10 s",
    async run({ host, port, tell }) {
      const clients = stall(500, host, port, { "content-length": MIB }, 64 * 1024);
      await sleep(10_000);
      tell(`stalled     ${tally(clients)}`);
      for (const client of clients) client.destroy();
    },
  },

  hoarders: {
    what: "500 uploads in chunks, and then 500 of NDJSON, stop after 1 MB without the end of a line, for 10 s",
    async run({ host, port, tell }) {
      for (const type of ["application/json", "application/x-ndjson"]) {
        const clients = stall(500, host, port, { "transfer-encoding": "chunked", "content-type": type }, 1_000_000);
        await sleep(10_000);
        tell(`${type.padEnd(20)} ${tally(clients)}`);
        for (const client of clients) client.destroy();
      }
    },
  },

  lines: {
    what: "100 bodies of NDJSON of which the first line never ends, 15 MiB each",
    async run({ host, port, tell }) {
      const clients = stall(
        100,
        host,
        port,
        { "transfer-encoding": "chunked", "content-type": "application/x-ndjson" },
        15 * MIB,
      );
      await sleep(15_000);
      tell(`lines       ${tally(clients)}`);
      for (const client of clients) client.destroy();
    },
  },

  large: {
    what: "64 bodies of 15 MiB at once, four times over",
    async run({ url, tell }) {
      const record = `{"value":"${"x".repeat(1000)}"}`;
      const body = Buffer.from(
        `{"records":[${many(Math.floor((15 * MIB) / (record.length + 1)), () => record).join(",")}]}`,
      );
      const answers = [];
      for (let round = 0; round < 4; round++) {
        answers.push(...(await Promise.all(many(64, () => post(url, PRODUCE, body)))));
      }
      tell(`answered    ${counts(answers)}`);
    },
  },

  results: {
    what: "100 streams of 20,000 lines with results=each, of which nobody reads a result",
    async run({ host, port, tell }) {
      const clients = many(100, () => new RawClient(host, port, { isReading: false }));
      for (const client of clients) sendLines(client);
      await sleep(15_000);
      tell(`streams     ${tally(clients)}`);
      for (const client of clients) client.destroy();
    },
  },

  messages: {
    what: "200 ask for 10,000 messages of 1 KB and do not read them",
    async prepare({ url }) {
      await fill(url);
    },
    async run({ host, port, tell }) {
      const clients = many(200, () => new RawClient(host, port, { isReading: false }));
      for (const client of clients) client.write(head("GET", "/api/topics/orders/messages?limit=10000", {}));
      await sleep(15_000);
      for (const client of clients) client.read();
      await until(
        30_000,
        () => clients.every((client) => client.status !== null),
        () => sleep(100),
      );
      tell(`answered    ${tally(clients)}`);
      for (const client of clients) client.destroy();
    },
  },

  tails: {
    what: "150 tails of a topic of 200 MB from its beginning, that nobody reads",
    async prepare({ url }) {
      await fill(url);
    },
    async run({ host, port, tell }) {
      const clients = many(150, () => new RawClient(host, port, { isReading: false }));
      for (const client of clients) client.write(head("GET", "/api/topics/orders/tail?offset=0", {}));
      await sleep(15_000);
      for (const client of clients) client.read();
      await until(
        10_000,
        () => clients.every((client) => client.status !== null),
        () => sleep(100),
      );
      tell(`tails       ${tally(clients)}`);
      for (const client of clients) client.destroy();
    },
  },

  async: {
    what: "120,000 async requests",
    async run({ url, tell }) {
      const answers = [];
      const body = '{"records":[{"key":"user-1","value":{"amount":12.5}}]}';
      for (let group = 0; group < 120; group++) {
        answers.push(...(await Promise.all(many(1_000, () => post(url, `${PRODUCE}?async=true`, body)))));
      }
      tell(`answered    ${counts(answers)}`);
    },
  },

  batches: {
    what: "async batches of 1,000 records over 4 connections, one after the other, for 20 s",
    async run({ host, port, tell }) {
      const body = `{"records":[${many(1_000, (_, index) => `{"value":${event(index)}}`).join(",")}]}`;
      const request = Buffer.from(
        head("POST", `${PRODUCE}?async=true`, { "content-length": Buffer.byteLength(body) }) + body,
      );
      const tally = { isRunning: true, count: 0, add: () => (tally.count += 1) };
      const stop = startLoad({ address: `${host}:${port}`, connections: 4, request }, tally);
      await sleep(20_000);
      tally.isRunning = false;
      stop();
      tell(`answered    ${tally.count} × 202`);
    },
  },

  everything: {
    what: "20,000 async requests, then unread at once: 100 tails, 100 reads, 50 streams of results; and 200 stalled uploads",
    async prepare({ url }) {
      await fill(url);
    },
    async run({ url, host, port, tell }) {
      const body = '{"records":[{"key":"user-1","value":{"amount":12.5}}]}';
      for (let group = 0; group < 20; group++) {
        await Promise.all(many(1_000, () => post(url, `${PRODUCE}?async=true`, body)));
      }
      const silent = (count) => many(count, () => new RawClient(host, port, { isReading: false }));
      const tails = silent(100);
      for (const client of tails) client.write(head("GET", "/api/topics/orders/tail?offset=0", {}));
      const reads = silent(100);
      for (const client of reads) client.write(head("GET", "/api/topics/orders/messages?limit=10000", {}));
      const streams = silent(50);
      for (const client of streams) sendLines(client);
      const uploads = stall(200, host, port, { "content-length": MIB }, 64 * 1024);
      await sleep(15_000);
      const clients = [...tails, ...reads, ...streams, ...uploads];
      tell(`open        ${clients.filter(({ isClosed }) => !isClosed).length} connections of ${clients.length}`);
      for (const client of clients) client.destroy();
    },
  },

  stopped: {
    what: "the broker stops; 200 clients go on sending for 20 s",
    hasNeighbour: false,
    async run({ folder, startServer, watchMemory, tell, fail }) {
      const broker = await startServer(["--data-dir", `${folder}/broker`]);
      await fetch(`${broker.url}/api/topics`, { method: "POST", body: '{"name":"orders","partitions":6}' });
      const gateway = await startServer(["--data-dir", `${folder}/gateway`, "--brokers", broker.kafka]);
      const memory = watchMemory(gateway.pid);
      try {
        await post(gateway.url, PRODUCE, '{"records":[{"value":1}]}');
        broker.process.kill("SIGSTOP");
        const startedMs = performance.now();
        const since = () => `${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
        const first = new Map();
        let isTooLate = false;
        const answers = [];
        let isOver = false;
        const record = `{"value":"${"x".repeat(10_000)}"}`;
        const body = `{"records":[${many(20, () => record).join(",")}]}`;
        const senders = many(200, async () => {
          while (!isOver) {
            const answer = await post(gateway.url, PRODUCE, body);
            answers.push(answer);
            if (!first.has(answer.status))
              first.set(answer.status, `${since()}, ${answer.code ?? ""}, Retry-After ${answer.retryAfter}`);
            if (answer.status === 503 && !first.has("not ready")) isTooLate = true;
            if (answer.status === 503) await sleep(200);
          }
        });
        while (performance.now() - startedMs < 20_000) {
          const { status } = await get(gateway.url, "/health/ready");
          if (status === 503 && !first.has("not ready")) first.set("not ready", since());
          await sleep(100);
        }
        isOver = true;
        broker.process.kill("SIGCONT");
        await Promise.all(senders);
        if (isTooLate) fail("a request was answered with 503 before readiness was off");
        for (const [what, when] of first) tell(`first ${what}  after ${when}`);
        tell(`answered    ${counts(answers)}`);
        const back = performance.now();
        await until(
          20_000,
          async () => (await get(gateway.url, "/health/ready")).status === 200,
          () => sleep(50),
        );
        tell(
          `ready again ${((performance.now() - back) / 1000).toFixed(1)} s after the last answer; gateway took ${memory.stop().toFixed(0)} MiB at most`,
        );
      } finally {
        broker.process.kill("SIGKILL");
        gateway.process.kill("SIGKILL");
      }
    },
  },
};

/** A connection on which anything may be sent, and which reads no more than the status line. */
class RawClient {
  status = null;
  isClosed = false;
  #socket;
  connected;

  constructor(host, port, { isReading = true } = {}) {
    this.#socket = connect(port, host);
    this.connected = new Promise((resolve) => this.#socket.once("connect", resolve));
    this.#socket
      .on("error", () => {})
      .on("close", () => {
        this.isClosed = true;
      });
    if (isReading) this.read();
  }

  read() {
    this.#socket.on("data", (bytes) => {
      this.status ??= bytes.toString("latin1", 0, 15).split(" ")[1] ?? "?";
    });
  }

  write(bytes) {
    if (!this.isClosed) this.#socket.write(bytes);
  }

  writeChunk(bytes) {
    this.write(`${bytes.length.toString(16)}\r\n`);
    this.write(bytes);
    this.write("\r\n");
  }

  destroy() {
    this.#socket.destroy();
  }
}

function stall(count, host, port, headers, sizeBytes) {
  const bytes = Buffer.alloc(sizeBytes, " ");
  const isChunked = "transfer-encoding" in headers;
  return many(count, () => {
    const client = new RawClient(host, port);
    client.write(head("POST", PRODUCE, headers));
    if (isChunked) client.writeChunk(bytes);
    else client.write(bytes);
    return client;
  });
}

/** 20,000 short records, of which each is to be answered with a line. */
function sendLines(client) {
  const lines = Buffer.from('{"value":1}\n'.repeat(5_000));
  client.write(
    head("POST", `${PRODUCE}?results=each`, {
      "transfer-encoding": "chunked",
      "content-type": "application/x-ndjson",
    }),
  );
  for (let block = 0; block < 4; block++) client.writeChunk(lines);
}

/** 200 MB into the topic. */
async function fill(url) {
  const record = `{"value":"${"x".repeat(1000)}"}`;
  const body = `{"records":[${many(10_000, () => record).join(",")}]}`;
  for (let round = 0; round < 20; round++) await post(url, PRODUCE, body);
}

async function post(url, path, body, headers = {}) {
  return answerOf(
    fetch(url + path, { method: "POST", body, headers: { "content-type": "application/json", ...headers } }),
  );
}

function get(url, path) {
  return answerOf(fetch(url + path));
}

async function answerOf(asked) {
  try {
    const response = await asked;
    const text = await response.text();
    return {
      status: response.status,
      code: response.ok ? null : JSON.parse(text).code,
      retryAfter: response.headers.get("retry-after"),
    };
  } catch (error) {
    return { status: error.cause?.code ?? error.message, retryAfter: null };
  }
}

function head(method, path, headers) {
  const lines = Object.entries({ host: "localhost", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

function tally(clients) {
  const open = clients.filter(({ isClosed }) => !isClosed).length;
  return `${counts(clients)}; ${open} connections open`;
}

function counts(answers) {
  const byStatus = new Map();
  for (const { status } of answers) byStatus.set(status, (byStatus.get(status) ?? 0) + 1);
  return [...byStatus].map(([status, count]) => `${count} × ${status ?? "no answer"}`).join(", ");
}

function many(count, make) {
  return Array.from({ length: count }, make);
}

async function until(limitMs, isDone, wait) {
  const deadlineMs = performance.now() + limitMs;
  while (!(await isDone()) && performance.now() < deadlineMs) await wait();
}
