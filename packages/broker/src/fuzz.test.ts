import assert from "node:assert/strict";
import { test } from "node:test";
import { type Logger, MEBIBYTE, SeededRandom } from "@millrace/base";
import { apiByKey, encodeRequest, type Field, metadataApi } from "@millrace/protocol";
import { startBroker, WireClient } from "@millrace/testing";
import { handlers } from "./handlers/index.ts";

const SEED = 20_260_101;
const ROUNDS_PER_VERSION = 20;
const PROMISES_PER_VERSION = 10;
const MAX_ELEMENTS = 2;
const HEADER_BYTES = 14;
const NO_BYTES = Buffer.alloc(0);

/** Names that may be of something, and some that cannot be of anything. */
const TEXTS = ["", "t", "g", "1", "__consumer_offsets", "a/b", "retention.ms", "consumer", "classic"];
const NUMBERS = [-3, -2, -1, 0, 1, 2, 4, 5, 6000, 30_000, 2 ** 31 - 1, -(2 ** 31)];

const LIMITS: Readonly<Record<string, number>> = { int8: 2 ** 7, int16: 2 ** 15, uint16: 2 ** 16, uint32: 2 ** 32 };

/** A value that the field can carry, made by chance. */
function randomValue(random: SeededRandom, { type, nullableVersion }: Field, version: number): unknown {
  if (version >= nullableVersion && random.integer(4) === 0) return null;
  const number = NUMBERS[random.integer(NUMBERS.length)] ?? 0;
  switch (type.kind) {
    case "bool":
      return random.integer(2) === 0;
    case "int64":
      return BigInt(number);
    case "int32":
      return number;
    case "string":
      return TEXTS[random.integer(TEXTS.length)];
    case "uuid":
      return random.bytes(16).toString("base64url");
    case "bytes":
      return random.bytes(random.integer(20));
    case "records":
      return [random.bytes(random.integer(100))];
    case "array": {
      const { element } = type;
      if (element === undefined) return [];
      const item = { type: element, nullableVersion: Number.POSITIVE_INFINITY } as Field; // as much of one as is looked at
      return Array.from({ length: random.integer(MAX_ELEMENTS + 1) }, () => randomValue(random, item, version));
    }
    case "struct":
      return randomStruct(random, type.shape ?? {}, version);
    default: {
      const limit = LIMITS[type.kind] ?? 1;
      return type.kind.startsWith("u") ? Math.abs(number) % limit : number % limit;
    }
  }
}

function randomStruct(random: SeededRandom, shape: Readonly<Record<string, Field>>, version: number): object {
  return Object.fromEntries(Object.entries(shape).map(([name, field]) => [name, randomValue(random, field, version)]));
}

/** Collects what a broker says of its own mistakes. */
function bugCatcher(): { readonly logger: Logger; readonly bugs: string[] } {
  const bugs: string[] = [];
  const error = (fields: object, message: string) => {
    const { error: cause } = fields as { error?: Error }; // what the broker logs with an error
    bugs.push(`${message}: ${cause?.stack ?? JSON.stringify(fields)}`);
  };
  return { logger: { debug() {}, info() {}, warn() {}, error }, bugs };
}

test(`requests of chance to every API and version leave the broker as it was (seed ${SEED})`, async () => {
  const { logger, bugs } = bugCatcher();
  await using started = await startBroker({ logger, maxPartitionsPerTopic: 8, groupInitialRebalanceDelayMs: 1 });
  const random = new SeededRandom(SEED);

  for (const { apiKey, versions } of handlers) {
    const api = apiByKey.get(apiKey);
    assert.ok(api);
    for (let version = Math.max(versions.min, api.versions.min); version <= versions.max; version++) {
      for (let round = 0; round < ROUNDS_PER_VERSION; round++) {
        const value = randomStruct(random, api.request.shape, version);
        const frame = Buffer.concat(encodeRequest(api, version, { correlationId: 1, clientId: null }, value));
        // Every other one is damaged in a byte of its body.
        const at = HEADER_BYTES + random.integer(frame.length - HEADER_BYTES + 1);
        if (round % 2 === 1 && at < frame.length) frame[at] = random.integer(256);
        // Closed at once: some would wait for others that never come.
        using client = await WireClient.connect(started.broker.address, started.broker.network);
        client.sendBytes(frame);
      }
    }
  }
  using client = await WireClient.connect(started.broker.address);
  const metadata = await client.request(metadataApi, 9, { topics: [] });
  await started.close();

  assert.equal(metadata.controllerId, 1);
  assert.deepEqual(bugs, []);
});

test(`frames that promise more than they hold cost no more than what they hold (seed ${SEED})`, async () => {
  const { logger, bugs } = bugCatcher();
  await using started = await startBroker({ logger, maxPartitionsPerTopic: 8, groupInitialRebalanceDelayMs: 1 });
  const { address, network } = started.broker;
  const random = new SeededRandom(SEED);
  // As an int32, and as the varint of the flexible versions.
  const hugeLengths = [Buffer.from([0x7f, 0xff, 0xff, 0xff]), Buffer.from([0xff, 0xff, 0xff, 0xff, 0x07])];
  const startBytes = process.memoryUsage().arrayBuffers;
  let mostBytes = 0;

  for (const { apiKey, versions } of handlers) {
    const api = apiByKey.get(apiKey);
    assert.ok(api);
    for (let version = Math.max(versions.min, api.versions.min); version <= versions.max; version++) {
      for (let round = 0; round < PROMISES_PER_VERSION; round++) {
        const value = randomStruct(random, api.request.shape, version);
        const frame = Buffer.concat(encodeRequest(api, version, { correlationId: 1, clientId: null }, value));
        const huge = hugeLengths[round % 2] ?? NO_BYTES;
        huge.copy(frame, HEADER_BYTES + random.integer(Math.max(frame.length - HEADER_BYTES - huge.length, 0) + 1));
        using client = await WireClient.connect(address, network);
        client.sendBytes(frame);
      }
      mostBytes = Math.max(mostBytes, process.memoryUsage().arrayBuffers - startBytes);
    }
  }
  // Clients that are known, each with the beginning of a frame that is as long as may be.
  const stalled: WireClient[] = [];
  for (let count = 0; count < 50; count++) {
    const client = await WireClient.connect(address, network);
    await client.request(metadataApi, 9, { topics: [] });
    const begun = Buffer.alloc(100);
    begun.writeInt32BE(90 * MEBIBYTE);
    client.sendBytes(begun);
    stalled.push(client);
  }
  using client = await WireClient.connect(address);
  await client.request(metadataApi, 9, { topics: [] });
  mostBytes = Math.max(mostBytes, process.memoryUsage().arrayBuffers - startBytes);
  for (const each of stalled) each.close();

  assert.ok(mostBytes < 64 * MEBIBYTE, `${(mostBytes / MEBIBYTE).toFixed(0)} MiB`);
  assert.deepEqual(bugs, []);
});

test("requests with default values to every API and version are answered", async () => {
  await using started = await startBroker();

  for (const { apiKey, name, versions } of handlers) {
    const api = apiByKey.get(apiKey);
    assert.ok(api);
    for (let version = Math.max(versions.min, api.versions.min); version <= versions.max; version++) {
      using client = await WireClient.connect(started.broker.address, started.broker.network);
      const empty = Object.fromEntries(
        Object.entries(api.request.shape).map(([field, { type, defaultValue }]) => [field, defaultValue ?? type.empty]),
      );
      const frame = Buffer.concat(encodeRequest(api, version, { correlationId: 1, clientId: null }, empty));
      // Produce with acks=0 has no answer, by design.
      if (name === "Produce") continue;
      const answer = await client.exchange(frame);
      assert.equal(answer.readInt32BE(0), 1, `${name} v${version}`);
    }
  }
});
