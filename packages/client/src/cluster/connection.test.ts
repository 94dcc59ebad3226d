import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { afterEach, beforeEach, test } from "node:test";
import { InProcessNetwork, silentLogger, systemClock, tcpNetwork, VirtualClock } from "@millrace/base";
import {
  apiVersionsApi,
  encodeResponse,
  heartbeatApi,
  initProducerIdApi,
  type KafkaError,
  metadataApi,
  produceApi,
} from "@millrace/protocol";
import { rejectionOf, ScriptedBroker, waitUntil } from "@millrace/testing";
import { softwareVersion } from "../software.ts";
import { Connection, type ConnectionOptions } from "./connection.ts";

const network = new InProcessNetwork();
const emptyMetadata = { brokers: [], controllerId: 0, topics: [] };
const produceNothing = { acks: -1, timeoutMs: 1000, topicData: [] };
let clock: VirtualClock;
let broker: ScriptedBroker;

beforeEach(async () => {
  clock = new VirtualClock();
  broker = await ScriptedBroker.listen(network);
});

afterEach(() => broker.close());

function connect(options: Partial<ConnectionOptions> = {}): Connection {
  return new Connection({
    network,
    clock,
    logger: silentLogger,
    address: broker.address,
    clientId: "test",
    requestTimeoutMs: 1000,
    connectTimeoutMs: 500,
    maxFrameBytes: 64 * 1024,
    ...options,
  });
}

async function opened(options: Partial<ConnectionOptions> = {}): Promise<Connection> {
  const connection = connect(options);
  await connection.open();
  return connection;
}

test("the version of a request is the highest that both sides speak", async () => {
  broker.on(metadataApi, () => emptyMetadata, [3, 8]);

  const connection = await opened();
  await connection.request(metadataApi, { topics: [] });
  await connection.request(metadataApi, { topics: [] }, { maxVersion: 5 });

  assert.deepEqual(
    broker.received.filter((request) => request.apiName === "Metadata").map((request) => request.version),
    [8, 5],
  );
});

test("the broker is told our name and version", async () => {
  const told: unknown[] = [];
  broker.on(apiVersionsApi, (request) => {
    told.push(request.clientSoftwareName, request.clientSoftwareVersion);
    return { errorCode: 0, apiKeys: [] };
  });

  await opened();

  const manifest: unknown = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
  assert.deepEqual(told, ["millrace", Reflect.get(Object(manifest), "version")]);
  assert.equal(softwareVersion, told[1]);
});

for (const [highest, asked] of [
  [3, [4, 3]],
  [2, [4, 2]],
  [0, [4, 0]],
] as const) {
  test(`a broker that knows ApiVersions up to version ${highest} is asked again in that version`, async () => {
    broker.on(apiVersionsApi, () => ({ errorCode: 0, apiKeys: [{ apiKey: 3, minVersion: 0, maxVersion: 9 }] }), [
      0,
      highest,
    ]);

    const connection = await opened();

    assert.deepEqual(
      broker.received.map((request) => request.version),
      asked,
    );
    assert.equal(connection.versionOf(metadataApi), 9);
    assert.equal(broker.connectionCount, 1);
  });
}

test("a broker that closes the connection on a new ApiVersions is asked in version 0 on another", async () => {
  broker.on(apiVersionsApi, (_, call) => {
    if (call.version === 0) return { errorCode: 0, apiKeys: [{ apiKey: 3, minVersion: 0, maxVersion: 1 }] };
    call.cut();
    return null;
  });

  const connection = await opened();

  assert.equal(connection.versionOf(metadataApi), 1);
  assert.equal(broker.connectionCount, 2);
});

test("a broker that answers 'unsupported version' for ever is given up", async () => {
  const refusal = { errorCode: 35, apiKeys: [{ apiKey: 18, minVersion: 0, maxVersion: 4 }] };
  broker.on(apiVersionsApi, (_, call) => {
    for (const bytes of encodeResponse(apiVersionsApi, 0, call.correlationId, refusal)) call.writeRaw(bytes);
    return null;
  });

  const error = await rejectionOf(connect().open());

  assert.equal(error.code, "UNSUPPORTED_VERSION");
  assert.ok(broker.received.length <= 5);
});

test("an API that the broker does not offer is refused before anything is sent", async () => {
  const connection = await opened();

  const error = await rejectionOf(connection.request(metadataApi, { topics: [] }));

  assert.equal(error.code, "UNSUPPORTED_VERSION");
  assert.equal(error.persisted, "no");
  assert.match(error.message, /Metadata: broker speaks version none, client 0 to 13/);
  assert.equal(broker.countOf(metadataApi), 0);
});

test("a connect that is refused says so", async () => {
  await broker.close();

  const error = await rejectionOf(connect().open());

  assert.equal(error.code, "CONNECTION_FAILED");
  assert.equal(error.retriable, true);
  assert.equal(error.persisted, "no");
  assert.match(error.message, /ECONNREFUSED/);
});

test("a broker that accepts and says nothing is given up after connectTimeoutMs", async () => {
  broker.on(apiVersionsApi, () => null);

  const error = await clock.runUntil(rejectionOf(connect().open()), 10_000);

  assert.equal(error.code, "CONNECTION_FAILED");
  assert.match(error.message, /not connected within 500 ms/);
  assert.equal(clock.nowMs(), 500);
  await waitUntil("the connection is closed", () => broker.openConnectionCount === 0);
});

test("requests are pipelined, and their answers matched in order however slow each is", async () => {
  const delays = [30, 0, 20, 0, 10];
  broker.on(initProducerIdApi, async (request) => {
    const index = request.transactionTimeoutMs;
    await new Promise<void>((resolve) => clock.schedule(delays[index % delays.length] ?? 0, resolve));
    return { errorCode: 0, producerId: BigInt(index), producerEpoch: 0 };
  });
  const connection = await opened();

  const answers = Array.from({ length: 100 }, (_, index) =>
    connection.request(initProducerIdApi, { transactionalId: null, transactionTimeoutMs: index }),
  );
  assert.equal(connection.inFlightCount, 100);
  const ids = (await clock.runUntil(Promise.all(answers), 10_000)).map((answer) => answer.producerId);

  assert.deepEqual(
    ids,
    Array.from({ length: 100 }, (_, index) => BigInt(index)),
  );
  assert.equal(connection.inFlightCount, 0);
});

test("a request that is not answered in time closes the connection, so that no late answer is taken for another's", async () => {
  let answerLate: () => void = () => {};
  broker.on(metadataApi, async () => {
    await new Promise<void>((resolve) => {
      answerLate = resolve;
    });
    return emptyMetadata;
  });
  const connection = await opened();
  const closed: KafkaError[] = [];
  connection.onClose((error) => closed.push(error));

  const slow = rejectionOf(connection.request(metadataApi, { topics: [] }));
  const behind = rejectionOf(connection.request(metadataApi, { topics: [] }, { timeoutMs: 5000 }));
  const error = await clock.runUntil(slow, 10_000);
  answerLate();

  assert.equal(error.code, "REQUEST_TIMED_OUT");
  assert.equal(error.retriable, true);
  assert.equal(error.persisted, "maybe");
  assert.equal(clock.nowMs(), 1000);
  assert.equal((await behind).code, "NETWORK_EXCEPTION");
  assert.equal((await behind).persisted, "maybe");
  assert.equal(connection.isOpen, false);
  assert.deepEqual(
    closed.map((reason) => reason.code),
    ["REQUEST_TIMED_OUT"],
  );
});

test("a shorter timeout behind a longer one rings at its own time", async () => {
  broker.on(metadataApi, () => null);
  const connection = await opened();

  const patient = rejectionOf(connection.request(metadataApi, { topics: [] }, { timeoutMs: 5000 }));
  const hasty = rejectionOf(connection.request(metadataApi, { topics: [] }, { timeoutMs: 100 }));
  await clock.runUntil(hasty, 10_000);

  assert.equal(clock.nowMs(), 100);
  assert.equal((await hasty).code, "REQUEST_TIMED_OUT");
  assert.equal((await patient).code, "NETWORK_EXCEPTION");
});

test("a steady stream of answered requests never times out", async () => {
  broker.on(metadataApi, () => emptyMetadata);
  const connection = await opened();

  for (let round = 0; round < 30; round++) {
    await clock.runUntil(connection.request(metadataApi, { topics: [] }), 100);
    await clock.advance(100);
  }

  assert.equal(connection.isOpen, true);
});

const lies: readonly (readonly [string, (correlationId: number) => Buffer, RegExp])[] = [
  [
    "to another request",
    (correlationId) => frameOf(int32(correlationId + 1)),
    /answer to request 2; expected the one to 1/,
  ],
  ["that ends too early", (correlationId) => frameOf(int32(correlationId), Buffer.alloc(3)), /Metadata v1 answer/],
  ["with bytes left over", (correlationId) => frameOf(int32(correlationId), Buffer.alloc(12 + 7)), /7 bytes too many/],
  [
    "with an array that claims more than there is",
    (correlationId) => frameOf(int32(correlationId), int32(0x7fffffff)),
    /2147483647 elements in 0 bytes/,
  ],
];
for (const [name, lie, message] of lies) {
  test(`an answer ${name} fails its request and closes the connection`, async () => {
    broker.on(
      metadataApi,
      (_, call) => {
        call.writeRaw(lie(call.correlationId));
        return null;
      },
      [0, 1],
    );
    const connection = await opened();

    const first = rejectionOf(connection.request(metadataApi, { topics: [] }));
    const second = rejectionOf(connection.request(metadataApi, { topics: [] }));

    assert.equal((await first).code, "MALFORMED_MESSAGE");
    assert.match((await first).message, message);
    assert.equal((await first).persisted, "maybe");
    assert.equal((await second).code, "NETWORK_EXCEPTION");
    assert.equal(connection.isOpen, false);
  });
}

test("a frame above the limit closes the connection before it is read", async () => {
  broker.on(metadataApi, (_, call) => {
    call.writeRaw(int32(65 * 1024));
    return null;
  });
  const connection = await opened();

  const error = await rejectionOf(connection.request(metadataApi, { topics: [] }));

  assert.match(error.message, /frame of 66560 bytes; at most 64.0 KiB may come/);
});

test("an answer that nobody asked for closes the connection", async () => {
  let write: (bytes: Uint8Array) => void = () => {};
  broker.on(metadataApi, (_, call) => {
    write = call.writeRaw;
    return emptyMetadata;
  });
  const connection = await opened();
  await connection.request(metadataApi, { topics: [] });

  write(frameOf(int32(7)));

  await waitUntil("the connection is closed", () => !connection.isOpen);
});

test("a broker that goes away fails what waits for it, once, as perhaps done", async () => {
  broker.on(produceApi, (_, call) => {
    call.cut();
    return null;
  });
  const connection = await opened();
  let rejectionCount = 0;

  const answer = connection.request(produceApi, produceNothing);
  answer.catch(() => {
    rejectionCount += 1;
  });
  const error = await rejectionOf(answer);
  connection.close();

  assert.equal(error.code, "NETWORK_EXCEPTION");
  assert.equal(error.persisted, "maybe");
  assert.match(error.message, /Produce v13 not answered/);
  assert.equal(rejectionCount, 1);
});

test("a request on a closed connection is surely not done", async () => {
  const connection = await opened();
  broker.cutAll();
  await waitUntil("the connection is closed", () => !connection.isOpen);

  const error = await rejectionOf(connection.request(produceApi, produceNothing));

  assert.equal(error.code, "NETWORK_EXCEPTION");
  assert.equal(error.retriable, true);
  assert.equal(error.persisted, "no");
});

test("close rejects what is pending with ClosedError, and may be called twice", async () => {
  broker.on(metadataApi, () => null);
  const connection = await opened();
  const reasons: KafkaError[] = [];
  connection.onClose((error) => reasons.push(error));

  const pending = rejectionOf(connection.request(metadataApi, { topics: [] }));
  connection.close();
  connection.close();
  connection.onClose((error) => reasons.push(error));

  assert.equal((await pending).code, "CLOSED");
  assert.equal((await pending).persisted, "maybe");
  assert.deepEqual(
    reasons.map((error) => error.code),
    ["CLOSED", "CLOSED"],
  );
});

test("close while it opens ends the opening", async () => {
  broker.on(apiVersionsApi, () => null);
  const connection = connect();

  const opening = rejectionOf(connection.open());
  connection.close();

  assert.equal((await opening).code, "CLOSED");
});

test("closeWhenIdle lets what is in flight be answered", async () => {
  let answer: () => void = () => {};
  broker.on(metadataApi, async () => {
    await new Promise<void>((resolve) => {
      answer = resolve;
    });
    return emptyMetadata;
  });
  const connection = await opened();
  const pending = connection.request(metadataApi, { topics: [] });
  await waitUntil("the request has come", () => broker.countOf(metadataApi) === 1);

  connection.closeWhenIdle();
  assert.equal(connection.isOpen, true);
  answer();
  await pending;

  assert.equal(connection.isOpen, false);
});

test("a request without an answer resolves once it is written", async () => {
  broker.on(produceApi, () => null);
  broker.on(metadataApi, () => emptyMetadata);
  const connection = await opened();

  await connection.request(produceApi, { ...produceNothing, acks: 0 }, { expectsResponse: false });
  assert.equal(connection.inFlightCount, 0);
  await connection.request(metadataApi, { topics: [] });

  assert.equal(broker.countOf(produceApi), 1);
});

test("more requests than may wait are refused, and leave the others alone", async () => {
  broker.on(heartbeatApi, () => ({ errorCode: 0 }));
  const connection = await opened({ maxPendingRequests: 2 });
  const body = { groupId: "g", generationId: 1, memberId: "m" };

  const accepted = [connection.request(heartbeatApi, body), connection.request(heartbeatApi, body)];
  const error = await rejectionOf(connection.request(heartbeatApi, body));

  assert.equal(error.code, "BUFFER_EXHAUSTED");
  assert.equal(error.persisted, "no");
  await Promise.all(accepted);
});

test("a connection that is not used is closed, one that is stays", async () => {
  broker.on(metadataApi, () => emptyMetadata);
  const connection = await opened({ maxIdleMs: 10_000 });

  for (let round = 0; round < 5; round++) {
    await clock.advance(6_000);
    await connection.request(metadataApi, { topics: [] });
  }
  assert.equal(connection.isOpen, true);
  await clock.advance(20_000);

  assert.equal(connection.isOpen, false);
});

test("over TCP the same: a large answer in many pieces arrives whole", async () => {
  const overTcp = await ScriptedBroker.listen(tcpNetwork);
  const clusterId = "x".repeat(30_000);
  overTcp.on(metadataApi, () => ({ ...emptyMetadata, clusterId }));
  const connection = connect({ network: tcpNetwork, address: overTcp.address });

  await connection.open();
  const answers = await Promise.all([1, 2, 3].map(() => connection.request(metadataApi, { topics: [] })));
  connection.close();
  await overTcp.close();

  assert.deepEqual(
    answers.map((answer) => answer.clusterId?.length),
    [30_000, 30_000, 30_000],
  );
});

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function frameOf(...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([int32(body.length), body]);
}

test("an HTTP server at the address is named as such", async () => {
  const server = createServer((_, response) => response.end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const connection = connect({
    network: tcpNetwork,
    clock: systemClock,
    address: { host: "127.0.0.1", port: address.port },
  });

  const error = await rejectionOf(connection.open());

  assert.match(error.message, /an HTTP server answers here, not a Kafka broker/);
  server.close();
});
