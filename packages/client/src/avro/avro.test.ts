import assert from "node:assert/strict";
import { afterEach, beforeEach, suite, test } from "node:test";
import { KafkaError } from "@millrace/protocol";
import { SchemaRegistryServer, startBroker } from "@millrace/testing";
import { SendBatchError } from "../errors.ts";
import { Producer } from "../producer/producer.ts";
import { Reader } from "../reader.ts";
import { avroDeserializer, avroSerializer, SchemaRegistry, type SchemaRegistryConfig } from "./index.ts";

const orderSchema = {
  type: "record",
  name: "Order",
  namespace: "shop",
  fields: [
    { name: "id", type: "long" },
    { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 10, scale: 2 } },
    { name: "note", type: ["null", "string"], default: null },
    {
      name: "items",
      type: { type: "array", items: { type: "record", name: "Item", fields: [{ name: "count", type: "int" }] } },
      default: [],
    },
  ],
} as const;
const order = { id: 9_007_199_254_740_993n, price: "12.30", note: "Grüße", items: [{ count: 2 }] };
const context = { topic: "orders", part: "value" } as const;

suite("Avro with a schema registry", () => {
  let server: SchemaRegistryServer;

  beforeEach(async () => {
    server = await SchemaRegistryServer.start();
  });

  afterEach(() => server.close());

  function registry(config: SchemaRegistryConfig = {}): SchemaRegistry {
    return new SchemaRegistry({ url: server.url, ...config });
  }

  test("a record goes through a broker and comes back: longs and decimals without loss, null as null", async () => {
    await using started = await startBroker();
    await using producer = new Producer({
      bootstrapServers: started.server,
      keySerializer: "string",
      valueSerializer: avroSerializer({ registry: registry(), schema: orderSchema }),
    });
    const deserialize = avroDeserializer({ registry: registry() });

    await producer.sendBatch([order, null].map((value) => ({ topic: "orders", key: "k", value })));

    const { partition } = await producer.send({ topic: "orders", key: "k", value: order });
    await using reader = new Reader({ bootstrapServers: started.server, topic: "orders", partition });
    const records = await reader.read();
    const values = await Promise.all(records.map(({ value }) => deserialize(value)));
    assert.deepEqual(JSON.stringify(values, bigintAsText), JSON.stringify([order, null, order], bigintAsText));
    assert.deepEqual(records[0]?.value?.subarray(0, 5), Buffer.from([0, 0, 0, 0, 1]));
    assert.equal(records[1]?.value, null);
  });

  test("a value that does not fit fails alone, and the error names the field", async () => {
    await using started = await startBroker();
    await using producer = new Producer({
      bootstrapServers: started.server,
      valueSerializer: avroSerializer({ registry: registry(), schema: orderSchema }),
    });
    const misfits = [
      { ...order, items: [{ count: 1 }, { count: "two" }] },
      { ...order, price: "12.345" },
      { ...order, id: 2n ** 63n },
      { ...order, note: 7 },
    ];

    const failure = await producer
      .sendBatch([order, ...misfits, order].map((value) => ({ topic: "orders", value })))
      .then(
        () => assert.fail("expected a rejection"),
        (error: unknown) => error,
      );

    assert.ok(failure instanceof SendBatchError);
    const messages = failure.results.map((result) => (result instanceof KafkaError ? result.message : "sent"));
    const expected = [
      /^sent$/,
      /shop\.Order\.items\.1\.count: expected int, found a string/,
      /shop\.Order\.price: expected decimal\(10, 2\), found 3 digits behind the point/,
      /shop\.Order\.id: expected long, found a bigint/,
      /shop\.Order\.note: expected one of null, string, found a number/,
      /^sent$/,
    ];
    assert.equal(messages.length, expected.length);
    for (const [index, pattern] of expected.entries()) assert.match(messages[index] ?? "", pattern);
  });

  test("the registry is asked once a topic, however many records wait for its answer", async () => {
    const serialize = avroSerializer({ registry: registry(), schema: orderSchema });

    await Promise.all([serialize(order, context), serialize(order, context), serialize(order, context)]);

    assert.deepEqual(server.requests, ["POST /subjects/orders-value/versions"]);
    assert.ok(serialize(order, context) instanceof Uint8Array, "from then on it answers at once");
  });

  test("subjects are named by topic, by record, by both, or by a function", async () => {
    const strategies = ["topic", "record", "topic_record", () => "own/name"] as const;

    for (const subject of strategies) {
      await avroSerializer({ registry: registry(), schema: orderSchema, subject })(order, { ...context, part: "key" });
    }

    assert.deepEqual(
      server.requests.map((request) => request.split("/")[2]),
      ["orders-key", "shop.Order", "orders-shop.Order", "own%2Fname"],
    );
  });

  test("without autoRegister a schema that the registry does not have fails the record", async () => {
    const serialize = avroSerializer({ registry: registry(), schema: orderSchema, autoRegister: false });

    await rejects(serialize(order, context), /404 Subject 'orders-value' not found/, { retriable: false });

    server.register("orders-value", orderSchema);
    assert.ok((await serialize(order, context)) instanceof Uint8Array);
  });

  test("without a schema the latest of the subject is used, and a newer one after latestMaxAgeMs", async () => {
    server.register("orders-value", { type: "record", name: "Order", fields: [{ name: "id", type: "long" }] });
    const serialize = avroSerializer({ registry: registry({ latestMaxAgeMs: 0 }) });

    const before = Buffer.from(await serialize(order, context));
    server.register("orders-value", orderSchema);
    const after = Buffer.from(await serialize(order, context));

    assert.deepEqual([before.readUInt32BE(1), after.readUInt32BE(1)], [1, 2]);
  });

  test("a reader's schema resolves what an older one wrote", async () => {
    const older = { type: "record", name: "Order", fields: [{ name: "id", type: "int" }] };
    const newer = {
      type: "record",
      name: "Order",
      fields: [
        { name: "id", type: "long" },
        { name: "state", type: "string", default: "new" },
      ],
    };
    const written = Buffer.from(await avroSerializer({ registry: registry(), schema: older })({ id: 7 }, context));

    const read = await avroDeserializer({ registry: registry(), readerSchema: newer })(written);

    assert.deepEqual({ ...Object(read) }, { id: 7n, state: "new" });
  });

  test("a schema may use types that the registry has elsewhere", async () => {
    server.register("money", { type: "record", name: "shop.Money", fields: [{ name: "cents", type: "long" }] });
    const references = [{ name: "shop.Money", subject: "money", version: 1 }];
    const schema = { type: "record", name: "shop.Sale", fields: [{ name: "total", type: "shop.Money" }] };
    const serialize = avroSerializer({ registry: registry(), schema, references });

    const written = Buffer.from(await serialize({ total: { cents: 5 } }, context));
    const read = await avroDeserializer({ registry: registry() })(written);

    assert.equal(JSON.stringify(read, bigintAsText), '{"total":{"cents":"5"}}');
  });

  test("decimals keep every digit, in bytes and in fixed, and are never rounded", async () => {
    const bytes = { type: "bytes", logicalType: "decimal", precision: 38, scale: 4 };
    const fixed = { type: "fixed", name: "Small", size: 2, logicalType: "decimal", precision: 4, scale: 1 };
    const cases = [
      [bytes, "-1234567890123456789012345678901234.5678"],
      [bytes, "0.0000"],
      [bytes, "-0.0001"],
      [bytes, "12.8000"],
      [fixed, "-327.6"],
      [fixed, "0.0"],
    ] as const;

    for (const [schema, text] of cases) {
      const written = Buffer.from(
        await avroSerializer({ registry: registry(), schema, subject: () => JSON.stringify(schema) })(text, context),
      );
      assert.equal(await avroDeserializer({ registry: registry() })(written), text);
    }
  });

  test("credentials are shown to the registry, and a refusal tells what it said", async () => {
    await using guarded = await SchemaRegistryServer.start({ username: "alice", password: "secret" });
    const url = guarded.url;

    await rejects(new SchemaRegistry({ url }).schemaById(1), /401 Unauthorized/, { retriable: false });
    await rejects(
      new SchemaRegistry({ url, username: "alice", password: "secret" }).schemaById(1),
      /404 Schema 1 not found/,
      { retriable: false },
    );
  });

  test("a registry that fails is asked again; one that is silent or away is given up in time", async () => {
    server.register("orders-value", orderSchema);
    server.plan("fail");
    assert.match((await registry().schemaById(1)).schema, /Order/);

    server.plan("silence");
    await rejects(registry({ timeoutMs: 50, retries: 0 }).schemaById(1), /no answer within 50 ms/, { retriable: true });
    await rejects(registry({ url: "http://127.0.0.1:9", retries: 0 }).schemaById(1), /fetch failed/, {
      retriable: true,
    });
  });

  test("the next registry of the list is asked where one is away", async () => {
    server.register("orders-value", orderSchema);

    const { schema } = await registry({ url: ["http://127.0.0.1:9", server.url] }).schemaById(1);

    assert.match(schema, /Order/);
  });

  test("bytes that are no such record are refused, with what was found", async () => {
    server.register("orders-value", orderSchema);
    const deserialize = avroDeserializer({ registry: registry() });

    await rejects(deserialize(Buffer.from('{"id":1}')), /found first byte 123/, { retriable: false });
    await rejects(deserialize(Buffer.from([0, 0])), /found 2 bytes/, { retriable: false });
    await rejects(deserialize(Buffer.from([0, 0, 0, 0, 1, 2])), /schema 1: truncated buffer/, { retriable: false });
    server.register("orders-json", { type: "object" }, [], "JSON");
    await rejects(deserialize(Buffer.from([0, 0, 0, 0, 2, 2])), /expected an Avro schema, found JSON/, {
      retriable: false,
    });
  });

  test("a wrong schema is refused when the serializer is made", () => {
    assert.throws(() => avroSerializer({ registry: registry(), schema: { type: "recrod" } }), /unknown type/);
  });
});

async function rejects(promise: unknown, pattern: RegExp, { retriable }: { retriable: boolean }): Promise<void> {
  await assert.rejects(Promise.resolve(promise), (error: unknown) => {
    assert.ok(error instanceof KafkaError, String(error));
    assert.match(error.message, pattern);
    assert.equal(error.retriable, retriable);
    return true;
  });
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}
