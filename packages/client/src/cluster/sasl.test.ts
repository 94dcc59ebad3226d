import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { InProcessNetwork, type Random, SeededRandom, silentLogger, VirtualClock } from "@millrace/base";
import { metadataApi, saslAuthenticateApi, saslHandshakeApi } from "@millrace/protocol";
import { rejectionOf, ScriptedBroker } from "@millrace/testing";
import { AuthenticationError } from "../errors.ts";
import { Connection } from "./connection.ts";
import type { SaslOptions } from "./sasl.ts";

const AUTHENTICATION_FAILED = 58;
const UNSUPPORTED_MECHANISM = 33;
const UNSUPPORTED = { errorCode: UNSUPPORTED_MECHANISM, mechanisms: ["SCRAM-SHA-512"] };
const network = new InProcessNetwork();
let clock: VirtualClock;
let broker: ScriptedBroker;
/** What the client has sent, token by token. */
let sent: string[];
/** What the broker says to each. */
let replies: { readonly authBytes?: string; readonly errorCode?: number; readonly sessionLifetimeMs?: bigint }[];

beforeEach(async () => {
  clock = new VirtualClock();
  broker = await ScriptedBroker.listen(network);
  sent = [];
  replies = [];
  broker.on(metadataApi, () => ({ brokers: [], topics: [] }));
  broker.on(saslHandshakeApi, () => ({ errorCode: 0, mechanisms: [] }));
  broker.on(saslAuthenticateApi, (request) => {
    sent.push(request.authBytes.toString());
    const { authBytes = "", errorCode = 0, sessionLifetimeMs = 0n } = replies[sent.length - 1] ?? {};
    return {
      errorCode,
      errorMessage: errorCode === 0 ? null : "no",
      authBytes: Buffer.from(authBytes),
      sessionLifetimeMs,
    };
  });
});

afterEach(() => broker.close());

async function opened(options: SaslOptions, random: Random = new SeededRandom(1)): Promise<Connection> {
  const connection = new Connection({
    network,
    clock,
    logger: silentLogger,
    address: broker.address,
    clientId: "test",
    requestTimeoutMs: 1000,
    connectTimeoutMs: 1000,
    maxFrameBytes: 64 * 1024,
    sasl: { options, random },
  });
  await connection.open();
  return connection;
}

/** A Random whose nonce is the one of an RFC's example. */
function nonceOf(text: string): Random {
  return { float: () => 0, integer: () => 0, bytes: () => Buffer.from(text, "base64") };
}

const plain: SaslOptions = { mechanism: "PLAIN", username: "alice", password: "s,e=cret" };
const scram: SaslOptions = { mechanism: "SCRAM-SHA-256", username: "user", password: "pencil" };
/** RFC 7677, section 3. */
const rfc7677 = {
  nonce: "rOprNGfwEbeRWgbNEkqO",
  serverFirst: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
  clientFinal:
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
  serverFinal: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
};

test("PLAIN sends user name and password as they are", async () => {
  const connection = await opened(plain);

  assert.deepEqual(sent, ["\0alice\0s,e=cret"]);
  assert.equal(connection.isOpen, true);
  assert.deepEqual(
    broker.received.map((request) => request.apiName),
    ["ApiVersions", "SaslHandshake", "SaslAuthenticate"],
  );
});

test("SCRAM sends the proof of RFC 7677's example, and takes its signature", async () => {
  replies = [{ authBytes: rfc7677.serverFirst }, { authBytes: rfc7677.serverFinal }];

  await opened(scram, nonceOf(rfc7677.nonce));

  assert.deepEqual(sent, [`n,,n=user,r=${rfc7677.nonce}`, rfc7677.clientFinal]);
});

test("SCRAM escapes what separates its fields in a user name", async () => {
  replies = [{ errorCode: AUTHENTICATION_FAILED }];

  await rejectionOf(opened({ ...scram, username: "a=b,c" }, nonceOf(rfc7677.nonce)));

  assert.equal(sent[0], `n,,n=a=3Db=2Cc,r=${rfc7677.nonce}`);
});

const lies: readonly (readonly [string, string, string, RegExp])[] = [
  [
    "with a signature made without the password",
    rfc7677.serverFirst,
    `v=${"A".repeat(43)}=`,
    /does not know the password/,
  ],
  ["with no signature", rfc7677.serverFirst, "", /does not know the password/],
  ["with another nonce", "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "", /nonce does not continue ours/],
  ["with our nonce and nothing more", `r=${rfc7677.nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`, "", /nonce does not/],
  ["that asks for too little work", rfc7677.serverFirst.replace("4096", "1"), "", /1 iterations; expected 4096 to/],
  ["that asks for years of work", rfc7677.serverFirst.replace("4096", "99999999999"), "", /99999999999 iterations/],
  ["that refuses", rfc7677.serverFirst, "e=invalid-proof", /invalid-proof/],
];
for (const [name, serverFirst, serverFinal, message] of lies) {
  test(`SCRAM does not trust a broker ${name}`, async () => {
    replies = [{ authBytes: serverFirst }, { authBytes: serverFinal }];

    const error = await rejectionOf(opened(scram, nonceOf(rfc7677.nonce)));

    assert.ok(error instanceof AuthenticationError);
    assert.equal(error.code, "SASL_AUTHENTICATION_FAILED");
    assert.equal(error.retriable, false);
    assert.match(error.message, message);
  });
}

test("OAUTHBEARER sends the token and its extensions, asked for at each connection", async () => {
  let askedCount = 0;
  const oauth: SaslOptions = {
    mechanism: "OAUTHBEARER",
    token: async () => {
      askedCount += 1;
      return { value: `token-${askedCount}`, extensions: { cluster: "c1", pool: "p1" } };
    },
  };

  await opened(oauth);
  await opened(oauth);

  assert.deepEqual(sent, [
    "n,,\x01auth=Bearer token-1\x01cluster=c1\x01pool=p1\x01\x01",
    "n,,\x01auth=Bearer token-2\x01cluster=c1\x01pool=p1\x01\x01",
  ]);
});

test("OAUTHBEARER tells why a token was refused", async () => {
  replies = [{ authBytes: '{"status":"invalid_token"}' }, { errorCode: AUTHENTICATION_FAILED }];

  const error = await rejectionOf(opened({ mechanism: "OAUTHBEARER", token: () => "old" }));

  assert.match(error.message, /OAUTHBEARER: \{"status":"invalid_token"\}/);
  assert.deepEqual(sent, ["n,,\x01auth=Bearer old\x01\x01", "\x01"]);
});

test("a token function that fails is an error that may pass", async () => {
  const token = () => Promise.reject(new Error("issuer is down"));

  const error = await rejectionOf(opened({ mechanism: "OAUTHBEARER", token }));

  assert.match(error.message, /issuer is down/);
  assert.equal(error.retriable, true);
});

test("a refusal names the broker and the mechanism, and never the password", async () => {
  replies = [{ errorCode: AUTHENTICATION_FAILED }];

  const error = await rejectionOf(opened(plain));

  assert.equal(error.code, "SASL_AUTHENTICATION_FAILED");
  assert.match(error.message, /PLAIN: SASL_AUTHENTICATION_FAILED: no/);
  assert.doesNotMatch(`${error.message}${error.stack}`, /cret/);
});

test("a mechanism that the broker has not is told with those it has", async () => {
  broker.on(saslHandshakeApi, () => UNSUPPORTED);

  const error = await rejectionOf(opened(plain));

  assert.equal(error.code, "UNSUPPORTED_SASL_MECHANISM");
  assert.match(error.message, /asked for PLAIN; the broker offers SCRAM-SHA-512/);
});

test("a session is renewed on its connection before it ends, and requests wait for that", async () => {
  replies = [{ sessionLifetimeMs: 10_000n }, { sessionLifetimeMs: 10_000n }, { sessionLifetimeMs: 0n }];
  const connection = await opened(plain);
  let answerHandshake: () => void = () => {};
  broker.on(saslHandshakeApi, async () => {
    await new Promise<void>((resolve) => {
      answerHandshake = resolve;
    });
    return { errorCode: 0, mechanisms: [] };
  });

  await clock.advance(8_400);
  assert.equal(broker.countOf(saslHandshakeApi), 1);
  await clock.advance(1_200);
  assert.equal(broker.countOf(saslHandshakeApi), 2);
  const held = connection.request(metadataApi, { topics: [] });
  await clock.advance(10);
  assert.equal(broker.countOf(metadataApi), 0);
  answerHandshake();
  await clock.runUntil(held, 1000);
  assert.equal(sent.length, 2);

  await clock.advance(9_600);
  answerHandshake();
  await clock.advance(100_000);

  assert.equal(sent.length, 3);
  assert.equal(broker.connectionCount, 1);
  assert.equal(connection.isOpen, true);
});

test("a session that cannot be renewed closes the connection; what waited was surely not sent", async () => {
  replies = [{ sessionLifetimeMs: 10_000n }, { errorCode: AUTHENTICATION_FAILED }];
  const connection = await opened(plain);
  broker.on(saslAuthenticateApi, async () => {
    await new Promise<void>((resolve) => clock.schedule(100, resolve));
    return { errorCode: AUTHENTICATION_FAILED, authBytes: Buffer.alloc(0) };
  });

  await clock.advance(9_550);
  const held = rejectionOf(connection.request(metadataApi, { topics: [] }));
  await clock.advance(200);

  assert.equal(connection.isOpen, false);
  assert.equal((await held).persisted, "no");
  assert.match((await held).message, /SASL_AUTHENTICATION_FAILED/);
});
