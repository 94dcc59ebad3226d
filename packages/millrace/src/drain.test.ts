import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { httpCall, type ServeProcess, serveMillrace, temporaryFolder, waitUntil } from "@millrace/testing";

const CLIENTS = 16;

test("what was answered before and during SIGTERM is there after it, and accepted async requests are finished", async () => {
  const folder = await temporaryFolder();
  const words = ["--data-dir", folder.path, "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"];
  let server = await serveMillrace(words);
  try {
    await send(server, "/api/topics", { name: "orders", partitions: 1 });
    const stored: number[] = [];
    const accepted: string[] = [];
    let isOpen = true;
    let next = 0;
    const client = async (index: number) => {
      while (isOpen) {
        const value = next++;
        const query = index % 4 === 0 ? "?async=true" : "";
        const answer = await send(server, `/api/topics/orders/produce${query}`, { records: [{ value }] }).catch(
          () => null,
        );
        // A connection that is refused or cut before an answer promised nothing.
        if (answer === null) return;
        if (answer.status === 200) stored.push(value);
        if (answer.status === 202) accepted.push(answer.json.requestId);
      }
    };
    const clients = Array.from({ length: CLIENTS }, (_, index) => client(index));
    await waitUntil("records are stored and accepted", () => stored.length > 300 && accepted.length > 50);

    const { exitCode } = await server.stop("SIGTERM");
    isOpen = false;
    await Promise.all(clients);
    server = await serveMillrace(words);

    assert.equal(exitCode, 0);
    await waitUntil("the accepted are finished", async () => {
      const states = await Promise.all(accepted.map((id) => stateOf(server, id)));
      assert.ok(states.every((state) => state !== "failed" && state !== "unknown"));
      return states.every((state) => state === "completed");
    });
    const found = new Set(await readAll(server));
    assert.deepEqual(
      stored.filter((value) => !found.has(value)),
      [],
    );
  } finally {
    await server.stop("SIGKILL");
    await folder.remove();
  }
});

test("at SIGTERM readiness goes first, an upload under way is still answered, and only then the process ends", async () => {
  const folder = await temporaryFolder();
  const words = ["--data-dir", folder.path, "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"];
  const server = await serveMillrace([...words, "--shutdown-delay-ms", "300"]);
  try {
    await send(server, "/api/topics", { name: "orders", partitions: 1 });
    const body = '{"records":[{"value":1}]}';
    const upload = await openSocket(server);
    upload.write(
      `POST /api/topics/orders/produce HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\nexpect: 100-continue\r\n\r\n`,
    );
    await waitUntil("its head was read", () => upload.answer().includes("100 Continue"));

    const ended = server.stop("SIGTERM");
    await waitUntil("it is no longer ready", async () => {
      return (await fetch(`http://${server.ready.http}/health/ready`)).status === 503;
    });
    const late = await send(server, "/api/topics/orders/produce", { records: [{ value: 2 }] });
    await waitUntil("the port is closed", async () => (await openSocket(server).catch(() => null)) === null);
    upload.write(body);
    await waitUntil("it was answered", () => upload.answer().includes("offsets"));
    const { exitCode } = await ended;

    assert.equal(late.status, 200);
    assert.match(upload.answer(), /HTTP\/1\.1 200 /);
    assert.match(upload.answer(), /connection: close/i);
    assert.equal(exitCode, 0);
  } finally {
    await server.stop("SIGKILL");
    await folder.remove();
  }
});

test("a second signal ends the process at once", async () => {
  const folder = await temporaryFolder();
  const words = ["--data-dir", folder.path, "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"];
  const server = await serveMillrace([...words, "--shutdown-delay-ms", "600000"]);
  try {
    server.child.kill("SIGTERM");
    await waitUntil("it has begun to stop", async () => {
      return (await fetch(`http://${server.ready.http}/health/ready`)).status === 503;
    });

    // One that follows within a blink is taken for the same.
    await waitUntil("it has ended", () => {
      server.child.kill("SIGTERM");
      return server.child.exitCode !== null;
    });

    // After the delay, which nobody here waits for, it would have been 0.
    assert.equal(server.child.exitCode, 1);
  } finally {
    await server.stop("SIGKILL");
    await folder.remove();
  }
});

test("a signal that comes twice at once, as timeout sends it, is one", async () => {
  const folder = await temporaryFolder();
  const server = await serveMillrace(["--data-dir", folder.path, "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
  try {
    server.child.kill("SIGTERM");
    const { exitCode } = await server.stop("SIGTERM");

    assert.equal(exitCode, 0);
  } finally {
    await server.stop("SIGKILL");
    await folder.remove();
  }
});

function send(server: ServeProcess, path: string, body: object) {
  return httpCall("POST", `http://${server.ready.http}${path}`, JSON.stringify(body));
}

async function stateOf(server: ServeProcess, requestId: string): Promise<string> {
  const { status, json } = await httpCall("GET", `http://${server.ready.http}/api/produce/status/${requestId}`);
  return status === 200 ? json.status : "unknown";
}

async function readAll(server: ServeProcess): Promise<number[]> {
  const values: number[] = [];
  for (let position = "0-0"; ; ) {
    const url = `http://${server.ready.http}/api/topics/orders/messages?format=json&limit=10000&position=${position}`;
    const { json, headers } = await httpCall("GET", url);
    if (json.length === 0) return values;
    values.push(...json.map((message: { readonly value: number }) => message.value));
    position = headers.get("millrace-position") ?? "";
  }
}

interface RawClient {
  write(text: string): void;
  answer(): string;
}

function openSocket(server: ServeProcess): Promise<RawClient> {
  const [host = "", port] = server.ready.http.split(":");
  return new Promise((resolve, reject) => {
    let text = "";
    const socket: Socket = connect(Number(port), host, () => {
      resolve({ write: (bytes) => socket.write(bytes), answer: () => text });
    });
    socket.on("data", (bytes) => {
      text += bytes.toString();
    });
    socket.on("error", reject);
  });
}
