import assert from "node:assert/strict";
import { test } from "node:test";
import type { Logger, Network } from "@millrace/base";
import {
  apiVersionsApi,
  createTopicsApi,
  encodeRequest,
  fetchApi,
  initProducerIdApi,
  metadataApi,
  produceApi,
  readRecords,
  splitBatches,
} from "@millrace/protocol";
import { recordBatch, type StartedBroker, startBroker, WireClient, waitUntil } from "@millrace/testing";

const EVERYTHING = { topics: null };
const PARTITIONS = 3;
const RECORDS = 60;
/** Below and above what has memory of its own, and what is copied on its way to the disk. */
const VALUE_SIZES = [100, 20_000, 90_000, 130_000, 5_000, 300_000, 600_000];

/** Collects what a broker warns of. */
function warnings(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const keep = (fields: object, message: string) => lines.push(`${message}: ${JSON.stringify(fields)}`);
  return { logger: { debug() {}, info() {}, warn: keep, error: keep }, lines };
}

function produceTo(name: string, index: number, values: readonly (string | Buffer)[], acks = -1) {
  const batch = recordBatch(
    values.map((value) => ({ value })),
    { baseOffset: 0n },
  );
  return { acks, timeoutMs: 1000, topicData: [{ name, partitionData: [{ index, records: [batch] }] }] };
}

function fetchFrom(topic: string, partition: number, fetchOffset: bigint, maxWaitMs: number) {
  const partitions = [{ partition, fetchOffset, partitionMaxBytes: 1 << 20 }];
  return { maxWaitMs, minBytes: 1, topics: [{ topic, partitions }] };
}

async function createTopic(client: WireClient, name: string, numPartitions = 1): Promise<void> {
  const topic = { name, numPartitions, replicationFactor: 1, assignments: [], configs: [] };
  const { topics } = await client.request(createTopicsApi, 7, { topics: [topic] });
  assert.equal(topics[0]?.errorCode, 0, topics[0]?.errorMessage ?? "");
}

test("produce requests sent without waiting get offsets in the order they were sent, and answers in that order", async () => {
  await using started = await startBroker();
  using client = await WireClient.connect(started.broker.address);
  await createTopic(client, "t");

  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, index) => client.request(produceApi, 9, produceTo("t", 0, [`v${index}`]))),
  );

  const offsets = answers.map(({ responses }) => responses[0]?.partitionResponses[0]?.baseOffset);
  assert.deepEqual(
    offsets,
    Array.from({ length: 50 }, (_, index) => BigInt(index)),
  );
});

test("more produce requests than may be pending are all answered", async () => {
  await using started = await startBroker({ maxPendingResponses: 2 });
  using client = await WireClient.connect(started.broker.address);
  await createTopic(client, "t");

  const answers = await Promise.all(
    Array.from({ length: 20 }, () => client.request(produceApi, 9, produceTo("t", 0, ["v"]))),
  );

  assert.equal(answers.length, 20);
});

test("requests above the byte limit of all connections wait for their turn", async () => {
  await using started = await startBroker({ maxRequestBytes: 1024 });
  using first = await WireClient.connect(started.broker.address);
  using second = await WireClient.connect(started.broker.address);
  await createTopic(first, "t");
  const value = "x".repeat(10_000);

  const answers = await Promise.all(
    [first, second].flatMap((client) =>
      Array.from({ length: 10 }, () => client.request(produceApi, 9, produceTo("t", 0, [value]))),
    ),
  );

  assert.equal(answers.length, 20);
});

test("a fetch that waits is answered as soon as its connection asks for something else", async () => {
  await using started = await startBroker();
  using client = await WireClient.connect(started.broker.address);
  await createTopic(client, "t");

  const startMs = performance.now();
  const [fetched, metadata] = await Promise.all([
    client.request(fetchApi, 11, fetchFrom("t", 0, 0n, 30_000)),
    client.request(metadataApi, 9, EVERYTHING),
  ]);

  assert.ok(performance.now() - startMs < 10_000);
  assert.equal(fetched.responses[0]?.partitions[0]?.records?.length, 0);
  assert.equal(metadata.topics.length, 1);
});

test("requests are answered in the order they came in, whatever each takes", async () => {
  await using started = await startBroker();
  using client = await WireClient.connect(started.broker.address);
  await createTopic(client, "t");
  const order: string[] = [];
  const note = (name: string) => () => order.push(name);

  await Promise.all([
    client.request(produceApi, 9, produceTo("t", 0, ["v"])).then(note("produce")),
    client.request(metadataApi, 9, EVERYTHING).then(note("metadata")),
    client.request(initProducerIdApi, 4, { transactionalId: null, transactionTimeoutMs: 0 }).then(note("id")),
    client.request(apiVersionsApi, 0, {}).then(note("versions")),
  ]);

  assert.deepEqual(order, ["produce", "metadata", "id", "versions"]);
});

const malformed: readonly (readonly [what: string, bytes: Uint8Array, reason: RegExp])[] = [
  ["an HTTP request", Buffer.from("GET / HTTP/1.1\r\n\r\n"), /HTTP/],
  ["a TLS hello", Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]), /TLS/],
  ["a negative length", Buffer.from([0xff, 0xff, 0xff, 0xff]), /frame of -1 bytes/],
  ["a length above the limit", Buffer.from([0x00, 0x09, 0x00, 0x00]), /at most 512\.0 KiB/],
  ["an API that is not there", Buffer.from([0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff]), /no API with key/],
  ["a version that is not served", Buffer.from([0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff]), /Metadata v99/],
  ["a body that is too short", Buffer.from([0, 0, 0, 11, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0]), /expected 4 bytes/],
  ["a frame without a header", Buffer.from([0, 0, 0, 0]), /expected 2 bytes/],
];

for (const [what, bytes, reason] of malformed) {
  test(`${what} closes its connection, is logged once with the reason, and disturbs no other`, async () => {
    const { logger, lines } = warnings();
    await using started = await startBroker({ logger });
    using healthy = await WireClient.connect(started.broker.address);
    using broken = await WireClient.connect(started.broker.address);

    broken.sendBytes(bytes);
    await broken.closed;

    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? "", reason);
    assert.equal((await healthy.request(metadataApi, 9, EVERYTHING)).controllerId, 1);
  });
}

test("bytes behind the body of a request are not looked at: librdkafka sends some", async () => {
  await using started = await startBroker();
  using client = await WireClient.connect(started.broker.address);
  const frame = Buffer.concat(encodeRequest(metadataApi, 1, { correlationId: 1, clientId: null }, EVERYTHING));
  const longer = Buffer.concat([frame, Buffer.from([0, 0, 0])]);
  longer.writeInt32BE(longer.length - 4, 0);

  const answer = await client.exchange(longer);

  assert.equal(answer.readInt32BE(0), 1);
});

test("a known client may send frames up to the large limit", async () => {
  await using started = await startBroker({ maxFirstFrameBytes: 2000 });
  using client = await WireClient.connect(started.broker.address);
  using stranger = await WireClient.connect(started.broker.address);
  await createTopic(client, "t");

  const answer = await client.request(produceApi, 9, produceTo("t", 0, ["x".repeat(5000)]));
  stranger.send(produceApi, 9, produceTo("t", 0, ["x".repeat(5000)]));
  await stranger.closed;

  assert.equal(answer.responses[0]?.partitionResponses[0]?.errorCode, 0);
});

test("one connection more than may be is closed at once, and there is room when another one leaves", async () => {
  await using started = await startBroker({ maxConnections: 1 });
  const first = await WireClient.connect(started.broker.address);
  await first.request(metadataApi, 9, EVERYTHING);
  using second = await WireClient.connect(started.broker.address);
  await second.closed;

  first.close();

  await waitUntil("the broker takes another connection", async () => {
    try {
      using third = await WireClient.connect(started.broker.address);
      await third.request(metadataApi, 9, EVERYTHING);
      return true;
    } catch {
      return false;
    }
  });
});

test("one address may have so many connections, and others, and this process itself, are not counted with it", async () => {
  await using started = await startBroker({ maxConnectionsPerIp: 1, dataDir: "memory" });
  using first = await WireClient.connect(started.broker.address);
  await first.request(metadataApi, 9, EVERYTHING);

  using second = await WireClient.connect(started.broker.address);
  await second.closed;

  for (let count = 0; count < 3; count++) {
    using inside = await WireClient.connect(started.broker.address, started.broker.network);
    await inside.request(metadataApi, 9, EVERYTHING);
  }
  first.close();
  await waitUntil("the address has room again", async () => {
    try {
      using third = await WireClient.connect(started.broker.address);
      await third.request(metadataApi, 9, EVERYTHING);
      return true;
    } catch {
      return false;
    }
  });
});

/** A client that asks for records and never reads what comes. */
function stalledReader(network: Network, topic: string): { readonly closed: Promise<void>; close(): void } {
  const stream = network.connect({ host: "any", port: 1 });
  const closed = new Promise<void>((resolve) => {
    stream.start({ onData() {}, onClose: () => resolve() });
  });
  stream.pause();
  for (let correlationId = 0; correlationId < 20; correlationId++) {
    stream.write(encodeRequest(fetchApi, 11, { correlationId, clientId: "stalled" }, fetchFrom(topic, 0, 0n, 0)));
  }
  return { closed, close: () => stream.destroy() };
}

async function fillTopic(started: StartedBroker, name: string): Promise<void> {
  using client = await WireClient.connect(started.broker.address);
  await createTopic(client, name);
  const value = Buffer.alloc(500_000);
  for (let count = 0; count < 4; count++) await client.request(produceApi, 9, produceTo(name, 0, [value]));
}

test("records that nobody takes leave others no more than the memory there is, until their reader goes", async () => {
  await using started = await startBroker({ dataDir: "memory", fetchMemoryBytes: 1024 * 1024 });
  await fillTopic(started, "t");
  using reader = await WireClient.connect(started.broker.address);
  const fetchedBytes = async () => {
    const { responses } = await reader.request(fetchApi, 11, fetchFrom("t", 0, 0n, 0));
    assert.equal(responses[0]?.partitions[0]?.errorCode, 0);
    return responses[0]?.partitions[0]?.records?.length ?? 0;
  };
  const stalled = [stalledReader(started.broker.network, "t"), stalledReader(started.broker.network, "t")];

  await waitUntil("the memory is used up", async () => (await fetchedBytes()) === 0);
  const waiting = reader.request(fetchApi, 11, fetchFrom("t", 0, 0n, 60_000));
  for (const { close } of stalled) close();

  assert.ok(((await waiting).responses[0]?.partitions[0]?.records?.length ?? 0) > 500_000);
  assert.ok((await fetchedBytes()) > 500_000);
});

test("large records come back as they were while the memory of requests and answers is used again", async () => {
  await using started = await startBroker();
  const { address } = started.broker;
  using client = await WireClient.connect(address);
  await createTopic(client, "t", PARTITIONS);
  const largeValue = (partition: number, index: number) =>
    Buffer.alloc(VALUE_SIZES[index % VALUE_SIZES.length] ?? 0, `partition ${partition}, record ${index}; `);

  const produceAndRead = async (partition: number) => {
    using producer = await WireClient.connect(address);
    using consumer = await WireClient.connect(address);
    const answers = Array.from({ length: RECORDS }, (_, index) =>
      producer.request(produceApi, 9, produceTo("t", partition, [largeValue(partition, index)])),
    );
    for (let offset = 0; offset < RECORDS; ) {
      const { responses } = await consumer.request(fetchApi, 11, fetchFrom("t", partition, BigInt(offset), 1000));
      for (const { bytes } of splitBatches(responses[0]?.partitions[0]?.records ?? Buffer.alloc(0))) {
        assert.deepEqual(readRecords(bytes)[0]?.value, largeValue(partition, offset));
        offset += 1;
      }
    }
    for (const { responses } of await Promise.all(answers)) {
      assert.equal(responses[0]?.partitionResponses[0]?.errorCode, 0);
    }
  };
  await Promise.all(Array.from({ length: PARTITIONS }, (_, partition) => produceAndRead(partition)));
});

test("a client that does not take its answers is closed after a while", async () => {
  await using started = await startBroker({ dataDir: "memory", answerTimeoutMs: 50 });
  await fillTopic(started, "t");

  await stalledReader(started.broker.network, "t").closed;
});

test("a connection that says nothing for too long is closed", async () => {
  await using started = await startBroker({ idleConnectionMs: 30 });
  using client = await WireClient.connect(started.broker.address);

  await client.closed;
});

test("a client that does not read its responses is not read either, and gets all of them later", async () => {
  await using started = await startBroker();
  using producer = await WireClient.connect(started.broker.address);
  await createTopic(producer, "t");
  const value = Buffer.alloc(500_000);
  for (let count = 0; count < 8; count++) await producer.request(produceApi, 9, produceTo("t", 0, [value]));
  using reader = await WireClient.connect(started.broker.address, started.broker.network);

  const fetches = Array.from({ length: 8 }, (_, index) =>
    reader.request(fetchApi, 11, fetchFrom("t", 0, BigInt(index), 0)),
  );
  const sizes = (await Promise.all(fetches)).map(({ responses }) => responses[0]?.partitions[0]?.records?.length ?? 0);

  assert.ok(sizes.every((sizeBytes) => sizeBytes > 500_000));
});

test("acks=0 has no response; a failure closes the connection", async () => {
  await using started = await startBroker();
  using client = await WireClient.connect(started.broker.address);
  await createTopic(client, "t");

  client.send(produceApi, 9, produceTo("t", 0, ["kept"], 0));
  const metadata = await client.request(metadataApi, 9, EVERYTHING);
  client.send(produceApi, 9, produceTo("nowhere", 0, ["lost"], 0));
  await client.closed;

  assert.equal(metadata.topics.length, 1);
});

test("closing the broker answers a fetch that waits, then closes the connection", async () => {
  const started = await startBroker();
  using client = await WireClient.connect(started.broker.address);
  await createTopic(client, "t");
  const fetched = client.request(fetchApi, 11, fetchFrom("t", 0, 0n, 60_000));
  // A second request on another connection shows that the broker has read the first one.
  using other = await WireClient.connect(started.broker.address);
  await other.request(metadataApi, 9, EVERYTHING);

  await started.close();

  assert.equal((await fetched).responses[0]?.partitions[0]?.errorCode, 0);
  await client.closed;
});
