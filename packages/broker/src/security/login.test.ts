import assert from "node:assert/strict";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { apiVersionsApi, errorByNumber, metadataApi, saslAuthenticateApi, saslHandshakeApi } from "@millrace/protocol";
import { type StartedBroker, startBroker, WireClient, waitUntil } from "@millrace/testing";
import { Broker } from "../broker.ts";

const SASL_VERSION = 2;
const USERS = { alice: "alice-secret", "comma,equals=": "pass, word=" };
const IN_MEMORY = { dataDir: "memory", saslFailureDelayMs: 1 } as const;

suite("a broker with users", () => {
  let started: StartedBroker;

  before(async () => {
    started = await startBroker({ ...IN_MEMORY, saslUsers: USERS });
  });
  after(() => started.close());

  const connect = () => WireClient.connect(started.broker.address);

  test("answers nothing but ApiVersions and the login before the login, and closes the connection else", async () => {
    using client = await connect();

    assert.equal((await client.request(apiVersionsApi, 3, software)).errorCode, 0);
    await assert.rejects(client.request(metadataApi, 9, { topics: null }), /closed the connection/);
  });

  test("takes no large frame before the login", async () => {
    using client = await connect();
    await client.request(apiVersionsApi, 3, software);
    const frame = Buffer.alloc(8);
    frame.writeInt32BE(513 * 1024, 0);

    client.sendBytes(frame);

    await client.closed;
  });

  test("lets a user in with PLAIN, who may then ask anything", async () => {
    using client = await connect();

    assert.equal(await plain(client, "alice", "alice-secret"), "NONE");

    assert.equal((await client.request(metadataApi, 9, { topics: null })).brokers.length, 1);
  });

  for (const mechanism of ["SCRAM-SHA-256", "SCRAM-SHA-512"] as const) {
    test(`lets a user in with ${mechanism}, and proves that it knows the password too`, async () => {
      for (const [username, password] of Object.entries(USERS)) {
        using client = await connect();

        assert.equal(await scram(client, { mechanism, username, password }), "NONE");

        assert.equal((await client.request(metadataApi, 9, { topics: null })).brokers.length, 1);
      }
    });

    test(`refuses a wrong password, an unknown user and a foreign nonce with ${mechanism}`, async () => {
      const right = { mechanism, username: "alice", password: "alice-secret" };
      const attempts = [
        { ...right, password: "x" },
        { ...right, username: "bob" },
        { ...right, nonceSuffix: "x" },
      ];
      for (const attempt of attempts) {
        using client = await connect();

        assert.equal(await scram(client, attempt), "SASL_AUTHENTICATION_FAILED");

        await client.closed;
      }
    });
  }

  test("tells an unknown user and a wrong password apart for nobody", async () => {
    const answers = await Promise.all(
      [
        ["alice", "wrong"],
        ["bob", "alice-secret"],
        ["alice", ""],
      ].map(async ([username = "", password = ""]) => {
        using client = await connect();
        await client.request(saslHandshakeApi, 1, { mechanism: "PLAIN" });
        const authBytes = Buffer.from(`\0${username}\0${password}`);
        const { errorCode, errorMessage } = await client.request(saslAuthenticateApi, SASL_VERSION, { authBytes });
        await client.closed;
        return `${errorCode} ${errorMessage}`;
      }),
    );

    assert.equal(new Set(answers).size, 1);
    assert.match(answers[0] ?? "", /^58 .*invalid credentials with SASL mechanism PLAIN$/);
  });

  test("gives an unknown user the same salt each time, as a known one has", async () => {
    const saltOf = async (username: string) => {
      using client = await connect();
      await client.request(saslHandshakeApi, 1, { mechanism: "SCRAM-SHA-256" });
      const authBytes = Buffer.from(`n,,n=${username},r=abc`);
      const { authBytes: answer } = await client.request(saslAuthenticateApi, SASL_VERSION, { authBytes });
      return /,s=([^,]+),i=4096$/.exec(answer.toString())?.[1] ?? "";
    };

    assert.equal(await saltOf("bob"), await saltOf("bob"));
    assert.notEqual(await saltOf("bob"), await saltOf("carol"));
    assert.equal((await saltOf("bob")).length, (await saltOf("alice")).length);
  });

  test("lets nobody act for another", async () => {
    using client = await connect();
    await client.request(saslHandshakeApi, 1, { mechanism: "PLAIN" });

    const authBytes = Buffer.from("root\0alice\0alice-secret");
    const answer = await client.request(saslAuthenticateApi, SASL_VERSION, { authBytes });

    assert.equal(errorByNumber(answer.errorCode).code, "SASL_AUTHENTICATION_FAILED");
  });

  test("names its mechanisms to whoever asks for another one", async () => {
    using client = await connect();

    const { errorCode, mechanisms } = await client.request(saslHandshakeApi, 1, { mechanism: "GSSAPI" });

    assert.equal(errorByNumber(errorCode).code, "UNSUPPORTED_SASL_MECHANISM");
    assert.deepEqual(mechanisms, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]);
  });

  test("takes bare tokens after a handshake of version 0", async () => {
    using client = await connect();
    await client.request(saslHandshakeApi, 0, { mechanism: "PLAIN" });
    const token = Buffer.from("\0alice\0alice-secret");
    const length = Buffer.alloc(4);
    length.writeInt32BE(token.length);

    client.sendBytes(Buffer.concat([length, token]));
    const answer = await client.receiveFrame();

    assert.equal(answer.length, 0);
    assert.equal((await client.request(metadataApi, 9, { topics: null })).brokers.length, 1);
  });

  test("asks nothing of whoever is in the same process", async () => {
    using client = await WireClient.connect(started.broker.address, started.broker.network);

    assert.equal((await client.request(metadataApi, 9, { topics: null })).brokers.length, 1);
  });
});

test("a login that lasts a while is renewed on the same connection, by the same user, or the connection ends", async () => {
  await using started = await startBroker({ ...IN_MEMORY, saslUsers: USERS, saslSessionMs: 200 });
  using client = await WireClient.connect(started.broker.address);
  assert.equal(await plain(client, "alice", "alice-secret"), "NONE");
  assert.equal(await plain(client, "alice", "alice-secret"), "NONE");

  await waitUntil("the session is over", async () => {
    try {
      await client.request(metadataApi, 9, { topics: null });
      return false;
    } catch {
      return true;
    }
  });

  using other = await WireClient.connect(started.broker.address);
  assert.equal(await plain(other, "alice", "alice-secret"), "NONE");
  assert.equal(await plain(other, "comma,equals=", "pass, word="), "SASL_AUTHENTICATION_FAILED");
});

test("users come from a file, and a changed file is taken over while the broker runs", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-users-"));
  const saslUsersFile = join(folder, "users.json");
  await writeFile(saslUsersFile, JSON.stringify({ alice: "one" }));
  await using started = await startBroker({ ...IN_MEMORY, saslUsersFile, secretsCheckIntervalMs: 5 });
  const login = async (password: string) => {
    using client = await WireClient.connect(started.broker.address);
    return await plain(client, "alice", password);
  };
  assert.equal(await login("one"), "NONE");

  await writeFile(saslUsersFile, "{ half");
  assert.equal(await login("one"), "NONE");
  await writeFile(saslUsersFile, JSON.stringify({ alice: "two" }));

  await waitUntil("the new password works", async () => (await login("two")) === "NONE");
  assert.equal(await login("one"), "SASL_AUTHENTICATION_FAILED");
  await rm(folder, { recursive: true });
});

test("a users file that is not there or is none keeps the broker from starting, and no password is told", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-users-"));
  const saslUsersFile = join(folder, "users.json");
  await assert.rejects(Broker.open({ ...IN_MEMORY, port: 0, saslUsersFile }), /cannot read .*users\.json/);

  await writeFile(saslUsersFile, JSON.stringify({ alice: ["hush"] }));

  const rule = /users\.json must be a JSON object of names and passwords/;
  await assert.rejects(Broker.open({ ...IN_MEMORY, port: 0, saslUsersFile }), rule);
  await rm(folder, { recursive: true });
});

const software = { clientSoftwareName: "test", clientSoftwareVersion: "1" };

async function plain(client: WireClient, username: string, password: string): Promise<string> {
  const handshake = await client.request(saslHandshakeApi, 1, { mechanism: "PLAIN" });
  assert.equal(handshake.errorCode, 0);
  const authBytes = Buffer.from(`\0${username}\0${password}`);
  const { errorCode } = await client.request(saslAuthenticateApi, SASL_VERSION, { authBytes });
  return errorByNumber(errorCode).code;
}

interface ScramAttempt {
  readonly mechanism: "SCRAM-SHA-256" | "SCRAM-SHA-512";
  readonly username: string;
  readonly password: string;
  readonly nonceSuffix?: string;
}

/** As RFC 5802 has it, and no shorter than it takes to be checked against the server. */
async function scram(client: WireClient, { mechanism, username, password, nonceSuffix = "" }: ScramAttempt) {
  const hash = mechanism === "SCRAM-SHA-256" ? "sha256" : "sha512";
  const hmac = (key: Buffer, text: string) => createHmac(hash, key).update(text).digest();
  const send = (message: string) =>
    client.request(saslAuthenticateApi, SASL_VERSION, { authBytes: Buffer.from(message) });
  await client.request(saslHandshakeApi, 1, { mechanism });
  const clientFirst = `n=${username.replaceAll("=", "=3D").replaceAll(",", "=2C")},r=fyko+d2lbbFgONRv9qkxdawL`;
  const serverFirst = (await send(`n,,${clientFirst}`)).authBytes.toString();
  const [, nonce = "", salt = "", iterations] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst) ?? [];
  const keyBytes = hash === "sha256" ? 32 : 64;
  const salted = pbkdf2Sync(password, Buffer.from(salt, "base64"), Number(iterations), keyBytes, hash);
  const clientKey = hmac(salted, "Client Key");
  const clientFinal = `c=biws,r=${nonce}${nonceSuffix}`;
  const signed = `${clientFirst},${serverFirst},${clientFinal}`;
  const signature = hmac(createHash(hash).update(clientKey).digest(), signed);
  const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0))).toString("base64");
  const { errorCode, authBytes } = await send(`${clientFinal},p=${proof}`);
  if (errorCode === 0) {
    assert.equal(authBytes.toString(), `v=${hmac(hmac(salted, "Server Key"), signed).toString("base64")}`);
  }
  return errorByNumber(errorCode).code;
}
