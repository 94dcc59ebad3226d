import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { Admin } from "@millrace/client";
import { runMillrace, serveMillrace, temporaryFolder } from "@millrace/testing";

const FREE_PORTS = ["--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"];

test("the ready line is one line of JSON and all there is on stdout, and SIGTERM ends with exit code 0", async () => {
  const folder = await temporaryFolder();
  try {
    const server = await serveMillrace(["--data-dir", folder.path, ...FREE_PORTS]);

    const { exitCode, stdout } = await server.stop("SIGTERM");

    assert.equal(exitCode, 0);
    assert.equal(stdout.toString(), `${JSON.stringify(server.ready)}\n`);
    assert.deepEqual(Object.keys(server.ready), ["event", "kafka", "http", "dataDir", "pid"]);
    assert.match(server.ready.kafka ?? "", /^127\.0\.0\.1:\d+$/);
    assert.match(server.ready.http, /^127\.0\.0\.1:\d+$/);
    assert.equal(server.ready.dataDir, folder.path);
    assert.equal(server.ready.pid, server.child.pid);
  } finally {
    await folder.remove();
  }
});

test("with --brokers no broker is started: kafka is null in the ready line, and HTTP serves the other cluster", async () => {
  const folder = await temporaryFolder();
  const broker = await serveMillrace(["--data-dir", join(folder.path, "broker"), ...FREE_PORTS]);
  try {
    const proxy = await serveMillrace([
      ...["--data-dir", join(folder.path, "proxy"), "--brokers", broker.ready.kafka ?? ""],
      ...FREE_PORTS,
    ]);
    try {
      const created = await fetch(`http://${proxy.ready.http}/api/topics`, {
        method: "POST",
        body: JSON.stringify({ name: "orders" }),
      });
      const { stdout } = await runMillrace(["topics", "list", "--json", "--brokers", broker.ready.kafka ?? ""]);

      assert.equal(proxy.ready.kafka, null);
      assert.equal(created.status, 201);
      assert.deepEqual(JSON.parse(stdout.toString()), [{ name: "orders", partitions: 6 }]);
    } finally {
      await proxy.stop();
    }
  } finally {
    await broker.stop();
    await folder.remove();
  }
});

test("a busy port is told with its number and the option to change, with exit code 1", async () => {
  const folder = await temporaryFolder();
  const blocker = createServer();
  const port = await new Promise<number>((resolve) => {
    blocker.listen(0, "127.0.0.1", () => {
      const bound = blocker.address();
      resolve(typeof bound === "object" && bound !== null ? bound.port : 0);
    });
  });
  try {
    for (const [flag, other] of [
      ["--kafka", "--http"],
      ["--http", "--kafka"],
    ] as const) {
      const words = ["--data-dir", folder.path, flag, `127.0.0.1:${port}`, other, "127.0.0.1:0"];

      const { exitCode, stdout, stderr } = await runMillrace(["serve", ...words]);

      assert.equal(exitCode, 1);
      assert.equal(stdout.length, 0);
      assert.match(lastLine(stderr), new RegExp(`^millrace: port ${port} on 127.0.0.1 is in use .* ${flag} host:port`));
    }
  } finally {
    blocker.close();
    await folder.remove();
  }
});

for (const [words, message] of [
  [["--kafka-tls", "127.0.0.1:0"], /^millrace: --kafka-tls: .* go together\n$/],
  [["--cors-origin", "app.example"], /^millrace: --cors-origin is app\.example; it must be origins/],
  [["--cors-origin", "https://app.example/"], /^millrace: --cors-origin is .*; it must be origins/],
  [["--schema-registry", "registry:8081"], /^millrace: --schema-registry is .*; it must be addresses/],
] as const) {
  test(`${words.join(" ")} is told in one line, with exit code 2`, async () => {
    const folder = await temporaryFolder();

    const { exitCode, stderr } = await runMillrace(["serve", "--data-dir", folder.path, ...FREE_PORTS, ...words]);

    assert.equal(exitCode, 2);
    assert.match(stderr, message);
    await folder.remove();
  });
}

test("a second server on the same data dir is refused with the process that has it", async () => {
  const folder = await temporaryFolder();
  const first = await serveMillrace(["--data-dir", folder.path, ...FREE_PORTS]);
  try {
    const { exitCode, stderr } = await runMillrace(["serve", "--data-dir", folder.path, ...FREE_PORTS]);

    assert.equal(exitCode, 1);
    assert.match(lastLine(stderr), new RegExp(`^millrace: .*${folder.path}.*\\b${first.child.pid}\\b`));
  } finally {
    await first.stop();
    await folder.remove();
  }
});

test("a data dir that cannot be written to is told with its path", async () => {
  const folder = await temporaryFolder();
  const path = join(folder.path, "file");
  await writeFile(path, "not a folder");
  try {
    const { exitCode, stderr } = await runMillrace(["serve", "--data-dir", join(path, "below"), ...FREE_PORTS]);

    assert.equal(exitCode, 1);
    assert.match(lastLine(stderr), /^millrace: cannot use the data dir .*file\/below: /);
  } finally {
    await folder.remove();
  }
});

test("an address that others can reach is refused unless --insecure says that it is wanted", async () => {
  const folder = await temporaryFolder();
  try {
    for (const flag of ["--kafka", "--kafka-tls", "--http"]) {
      const { exitCode, stderr } = await runMillrace([
        "serve",
        "--data-dir",
        folder.path,
        ...FREE_PORTS,
        flag,
        "0.0.0.0:0",
      ]);

      assert.equal(exitCode, 1);
      assert.match(stderr, new RegExp(`^millrace: ${flag} 0\\.0\\.0\\.0:0 would let everybody .*--insecure`));
    }

    // A certificate that is only requested keeps nobody out.
    const certificates = ["--http-tls-cert", "c.pem", "--http-tls-key", "k.pem", "--http-tls-ca", "ca.pem"];
    const asking = [...certificates, "--http-tls-client-auth", "requested", "--http", "0.0.0.0:0"];
    assert.match(
      (await runMillrace(["serve", ...FREE_PORTS, ...asking])).stderr,
      /^millrace: --http 0\.0\.0\.0:0 would/,
    );

    const words = ["--data-dir", folder.path, "--kafka", "0.0.0.0:0", "--http", "0.0.0.0:0", "--insecure"];
    const server = await serveMillrace(words);

    assert.match(server.ready.kafka ?? "", /^0\.0\.0\.0:\d+$/);
    assert.equal((await server.stop()).exitCode, 0);
  } finally {
    await folder.remove();
  }
});

test("an address that others can reach is taken where those who come have to log in", async () => {
  const folder = await temporaryFolder();
  await mkdir(folder.path, { recursive: true });
  const users = join(folder.path, "users.json");
  await writeFile(users, JSON.stringify({ alice: "alice-secret" }));
  const words = ["--data-dir", join(folder.path, "data"), "--http", "127.0.0.1:0", "--sasl-users-file", users];
  try {
    const refused = await runMillrace(["serve", ...words, "--kafka", "0.0.0.0:0", "--sasl-on", "tls"]);
    assert.match(refused.stderr, /^millrace: --kafka 0\.0\.0\.0:0 would let everybody .*--sasl-on all/);

    const server = await serveMillrace([...words, "--kafka", "0.0.0.0:0"]);
    const bootstrapServers = server.ready.kafka?.replace("0.0.0.0", "127.0.0.1") ?? "";
    const stranger = new Admin({ bootstrapServers, apiTimeoutMs: 2000 });
    await assert.rejects(stranger.listTopics());
    await stranger.close();
    const alice = new Admin({
      bootstrapServers,
      sasl: { mechanism: "SCRAM-SHA-256", username: "alice", password: "alice-secret" },
    });
    assert.deepEqual(await alice.listTopics(), []);
    await alice.close();

    assert.equal((await server.stop()).exitCode, 0);
  } finally {
    await folder.remove();
  }
});

test("options come from a config file and from variables, and a wrong file is told with exit code 1", async () => {
  const folder = await temporaryFolder();
  await mkdir(folder.path, { recursive: true });
  const config = join(folder.path, "millrace.json");
  try {
    await writeFile(
      config,
      JSON.stringify({
        dataDir: join(folder.path, "data"),
        kafka: "127.0.0.1:0",
        http: "127.0.0.1:0",
        defaultPartitions: 3,
      }),
    );
    const server = await serveMillrace(["--config", config]);
    const brokers = server.ready.kafka ?? "";
    const created = await runMillrace(["topics", "create", "orders"], { environment: { MILLRACE_BROKERS: brokers } });
    await server.stop();

    assert.equal(server.ready.dataDir, join(folder.path, "data"));
    assert.equal(created.stdout.toString(), "orders: created, 3 partitions\n");

    await writeFile(config, JSON.stringify({ dataDirr: "x" }));
    const { exitCode, stderr } = await runMillrace(["serve", "--config", config]);

    assert.equal(exitCode, 1);
    assert.match(
      stderr,
      /^millrace: the config file .* has the key dataDirr, which is no option; did you mean dataDir\?\n$/,
    );
  } finally {
    await folder.remove();
  }
});

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}
