import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Producer, Reader } from "@millrace/client";
import { avroDeserializer, avroSerializer, SchemaRegistry } from "@millrace/client/avro";
import { gatewayCalls, SchemaRegistryServer, type StartedBroker, startBroker, waitUntil } from "@millrace/testing";
import { Gateway } from "../gateway.ts";
import type { GatewayConfig } from "../options.ts";

const orderSchema = {
  type: "record",
  name: "Order",
  namespace: "shop",
  fields: [
    { name: "id", type: "long" },
    { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 20, scale: 2 } },
    { name: "note", type: ["null", "string"], default: null },
  ],
};
const orderText = JSON.stringify(orderSchema);

function withField(field: object): string {
  return JSON.stringify({ ...orderSchema, fields: [...orderSchema.fields, field] });
}

suite("the schema registry", { concurrency: false }, () => {
  let started: StartedBroker;
  let gateway: Gateway;

  before(async () => {
    started = await startBroker();
    gateway = await open();
  });

  after(async () => {
    await gateway.close();
    await started.close();
  });

  function open(config: GatewayConfig = {}): Promise<Gateway> {
    return Gateway.open({ port: 0, bootstrapServers: started.server, ...config });
  }

  const { call, schemas, createTopic, produce, readOne } = gatewayCalls(
    () => gateway,
    () => started.server,
  );

  suite("Confluent's REST API", { concurrency: false }, () => {
    test("a schema is registered once, however it is spelled, and found by id, subject and itself", async () => {
      const first = await schemas("POST", "/subjects/a-value/versions", { schema: orderText });
      const again = await schemas("POST", "/subjects/a-value/versions", {
        schema: JSON.stringify(Object.fromEntries(Object.entries(orderSchema).reverse()), null, 2),
        schemaType: "AVRO",
        references: null,
      });
      const elsewhere = await schemas("POST", "/subjects/b-value/versions", { schema: orderText });
      const { id } = first.json;

      assert.equal(first.headers.get("content-type"), "application/vnd.schemaregistry.v1+json");
      assert.deepEqual([again.json, elsewhere.json], [{ id }, { id }]);
      assert.deepEqual((await schemas("GET", `/schemas/ids/${id}`)).json, { schema: orderText });
      assert.deepEqual((await schemas("GET", `/schemas/ids/${id}/schema`)).json, orderSchema);
      assert.deepEqual((await schemas("GET", `/schemas/ids/${id}/versions`)).json, [
        { subject: "a-value", version: 1 },
        { subject: "b-value", version: 1 },
      ]);
      const version = { subject: "a-value", version: 1, id, schema: orderText };
      assert.deepEqual((await schemas("GET", "/subjects/a-value/versions/latest")).json, version);
      assert.deepEqual((await schemas("GET", "/subjects/a-value/versions/1")).json, version);
      assert.deepEqual((await schemas("POST", "/subjects/a-value", { schema: orderText })).json, version);
      assert.deepEqual((await schemas("GET", "/subjects?subjectPrefix=a-")).json, ["a-value"]);
    });

    test("what is not there, or not right, has Confluent's error codes", async () => {
      const cases: [method: string, path: string, body: object | undefined, status: number, code: number][] = [
        ["GET", "/subjects/none/versions", undefined, 404, 40401],
        ["GET", "/subjects/a-value/versions/99", undefined, 404, 40402],
        ["GET", "/subjects/a-value/versions/0", undefined, 422, 42202],
        ["GET", "/schemas/ids/999", undefined, 404, 40403],
        ["GET", "/schemas/ids/x", undefined, 404, 40403],
        ["POST", "/subjects/none", { schema: orderText }, 404, 40401],
        ["POST", "/subjects/a-value", { schema: '"string"' }, 404, 40403],
        ["POST", "/subjects/c/versions", { schema: '{"type":"nonsense"}' }, 422, 42201],
        ["POST", "/subjects/c/versions", { schema: "" }, 422, 42201],
        ["POST", "/subjects/c/versions", { schema: "{}", schemaType: "PROTOBUF" }, 422, 42201],
        ["POST", "/subjects/c/versions", { schema: '"int"', id: 7 }, 422, 42205],
        ["GET", "/config/a-value", undefined, 404, 40408],
        ["PUT", "/config/a-value", { compatibility: "SOMETIMES" }, 422, 42203],
        ["PUT", "/mode", { mode: "SOMETIMES" }, 422, 42204],
        ["GET", "/mode/a-value", undefined, 404, 40409],
        ["DELETE", "/subjects/none", undefined, 404, 40401],
        ["DELETE", "/subjects/a-value?permanent=true", undefined, 404, 40405],
        ["DELETE", "/subjects/a-value/versions/1?permanent=true", undefined, 404, 40407],
        ["POST", "/subjects/c/versions", {}, 400, 400],
        ["GET", "/nonsense", undefined, 404, 404],
      ];

      for (const [method, path, body, status, code] of cases) {
        const answer = await schemas(method, path, body);
        assert.deepEqual([answer.status, answer.json.error_code], [status, code], `${method} ${path}`);
        assert.equal(typeof answer.json.message, "string");
      }
    });

    test("a new version must go with the latest, in the direction that the level asks for", async () => {
      const added = withField({ name: "more", type: "int" });
      const optional = withField({ name: "more", type: "int", default: 0 });
      const register = (schema: string) => schemas("POST", "/subjects/d/versions", { schema });
      await register(orderText);

      const refused = await register(added);
      const checked = await schemas("POST", "/compatibility/subjects/d/versions/latest?verbose=True", {
        schema: added,
      });
      const accepted = await register(optional);
      await schemas("PUT", "/config/d", { compatibility: "FORWARD" });
      const forward = await register(added);
      await schemas("PUT", "/config/d", { compatibility: "NONE" });
      const another = await register('"string"');

      assert.deepEqual([refused.status, refused.json.error_code], [409, 409]);
      assert.match(refused.json.message, /READER_FIELD_MISSING_DEFAULT_VALUE.*'more'/);
      assert.equal(checked.json.is_compatible, false);
      assert.match(checked.json.messages[0], /READER_FIELD_MISSING_DEFAULT_VALUE/);
      assert.deepEqual([accepted.status, forward.status, another.status], [200, 200, 200]);
      assert.deepEqual((await schemas("GET", "/config/d")).json, { compatibilityLevel: "NONE" });
      assert.deepEqual((await schemas("DELETE", "/config/d")).json, { compatibilityLevel: "NONE" });
      assert.deepEqual((await schemas("GET", "/config/d?defaultToGlobal=true")).json, {
        compatibilityLevel: "BACKWARD",
      });
    });

    test("a subject that is deleted can be had back by registering again, until it is deleted for good", async () => {
      const { json } = await schemas("POST", "/subjects/e/versions", { schema: orderText });

      assert.deepEqual((await schemas("DELETE", "/subjects/e")).json, [1]);
      assert.equal((await schemas("GET", "/subjects/e/versions")).status, 404);
      assert.deepEqual((await schemas("GET", "/subjects/e/versions?deleted=true")).json, [1]);
      assert.equal((await schemas("DELETE", "/subjects/e")).json.error_code, 40404);
      const again = await schemas("POST", "/subjects/e/versions", { schema: orderText });
      assert.deepEqual(again.json, json);
      assert.deepEqual((await schemas("GET", "/subjects/e/versions")).json, [2]);
      assert.equal((await schemas("DELETE", "/subjects/e/versions/latest")).json, 2);
      assert.deepEqual((await schemas("DELETE", "/subjects/e?permanent=true")).json, [1, 2]);
      assert.equal((await schemas("GET", "/subjects/e/versions?deleted=true")).status, 404);
    });

    test("a schema may use types of another, which then stays", async () => {
      const item = { type: "record", name: "Item", namespace: "shop", fields: [{ name: "n", type: "int" }] };
      const basket = {
        type: "record",
        name: "Basket",
        fields: [{ name: "items", type: { type: "array", items: "shop.Item" } }],
      };
      const references = [{ name: "shop.Item", subject: "item", version: 1 }];
      await schemas("POST", "/subjects/item/versions", { schema: JSON.stringify(item) });

      const without = await schemas("POST", "/subjects/basket/versions", { schema: JSON.stringify(basket) });
      const registered = await schemas("POST", "/subjects/basket/versions", {
        schema: JSON.stringify(basket),
        references,
      });

      assert.equal(without.json.error_code, 42201);
      assert.equal(registered.status, 200);
      assert.deepEqual((await schemas("GET", `/schemas/ids/${registered.json.id}`)).json.references, references);
      assert.deepEqual((await schemas("GET", "/subjects/item/versions/1/referencedby")).json, [registered.json.id]);
      assert.equal((await schemas("DELETE", "/subjects/item")).json.error_code, 42206);
    });

    test("read-only takes nothing; import takes the ids of another registry", async () => {
      await schemas("PUT", "/mode/f", { mode: "READONLY" });
      const refused = await schemas("POST", "/subjects/f/versions", { schema: '"int"' });
      await schemas("PUT", "/mode/f", { mode: "IMPORT" });
      const imported = await schemas("POST", "/subjects/f/versions", { schema: '"float"', id: 5_000, version: 7 });
      await schemas("DELETE", "/mode/f");
      const next = await schemas("POST", "/subjects/g/versions", { schema: '"double"' });

      assert.equal(refused.json.error_code, 42205);
      assert.deepEqual(imported.json, { id: 5_000 });
      assert.deepEqual((await schemas("GET", "/subjects/f/versions")).json, [7]);
      assert.deepEqual(next.json, { id: 5_001 });
    });

    test("registrations at the same time get versions and ids of their own", async () => {
      await schemas("PUT", "/config/many", { compatibility: "NONE" });
      const texts = Array.from({ length: 20 }, (_, index) => `{"type":"fixed","name":"F${index}","size":${index + 1}}`);

      const answers = await Promise.all(texts.map((schema) => schemas("POST", "/subjects/many/versions", { schema })));

      assert.equal(new Set(answers.map(({ json }) => json.id)).size, 20);
      assert.equal((await schemas("GET", "/subjects/many/versions")).json.length, 20);
    });

    test("what is registered outlives the server, and another server over the same brokers knows it at once", async () => {
      await using other = await open();
      const { json } = await schemas("POST", "/subjects/lasting/versions", { schema: orderText });
      const seen = await call("GET", "/schemas/subjects/lasting/versions/latest", undefined, other);
      const later = await call(
        "POST",
        "/schemas/subjects/lasting/versions",
        { schema: withField({ name: "x", type: "int", default: 1 }) },
        other,
      );

      assert.equal(seen.json.id, json.id);
      assert.equal((await schemas("GET", "/subjects/lasting/versions/latest")).json.id, later.json.id);
      await using reader = new Reader({ bootstrapServers: started.server, topic: "_schemas", from: "earliest" });
      const [record] = await reader.read();
      assert.deepEqual(JSON.parse(String(record?.key)), {
        keytype: "SCHEMA",
        subject: "a-value",
        version: 1,
        magic: 1,
      });
      assert.deepEqual(JSON.parse(String(record?.value)), {
        subject: "a-value",
        version: 1,
        id: 1,
        schema: orderText,
        deleted: false,
      });
    });

    test("what is no record of a registry is passed over", async () => {
      await using producer = new Producer({ bootstrapServers: started.server });
      for (const key of ["{", "null", '{"keytype":"SCHEMA"}', '{"keytype":"NOOP","magic":0}']) {
        await producer.send({ topic: "_schemas", key, value: "?" });
      }
      await using other = await open();

      const { json } = await call("GET", "/schemas/subjects/lasting/versions", undefined, other);

      assert.deepEqual(json, [1, 2]);
    });

    test("a key held to topics registers for those alone, and settings are for admins", async () => {
      await using guarded = await open({ auth: "keys", apiKeys: ["admin-key"], dataDir: "memory" });
      const asAdmin = { authorization: "Bearer admin-key" };
      const created = await call(
        "POST",
        "/api/keys",
        { scopes: ["produce"], topicPrefixes: ["mine"] },
        guarded,
        asAdmin,
      );
      const asUser = { authorization: `Basic ${Buffer.from(`any name:${created.json.key}`).toString("base64")}` };
      const register = (subject: string) =>
        call("POST", `/schemas/subjects/${subject}/versions`, { schema: '"int"' }, guarded, asUser);

      assert.equal((await call("GET", "/schemas/subjects", undefined, guarded)).json.error_code, 401);
      assert.equal((await register("mine-value")).status, 200);
      assert.equal((await register("theirs-value")).status, 403);
      assert.deepEqual((await call("GET", "/schemas/subjects", undefined, guarded, asUser)).json, ["mine-value"]);
      assert.equal((await call("PUT", "/schemas/config", { compatibility: "NONE" }, guarded, asUser)).status, 403);
      assert.equal((await call("PUT", "/schemas/mode", { mode: "READWRITE" }, guarded, asAdmin)).status, 200);
    });

    test("our own serializer and deserializer work with it", async () => {
      const topic = await createTopic();
      const registry = new SchemaRegistry({ url: `http://127.0.0.1:${gateway.address.port}/schemas` });
      const value = { id: 9_007_199_254_740_993n, price: "12.30", note: "paid" };
      await using producer = new Producer({
        bootstrapServers: started.server,
        valueSerializer: avroSerializer({ registry, schema: orderSchema }),
      });

      await producer.send({ topic, value });

      const record = await readOne(topic);
      assert.deepEqual({ ...((await avroDeserializer({ registry })(record.value)) as object) }, value);
    });
  });

  suite("produce and read", { concurrency: false }, () => {
    const body = '{"records":[{"key":"k","value":{"id":9007199254740993,"price":12.30,"note":"paid"}}]}';
    const shown = '{"id":9007199254740993,"price":"12.30","note":"paid"}';

    test("by the schema itself, which is registered for the topic; by its subject; by its id", async () => {
      const topic = await createTopic();
      const avro = { "key.format": "string", "value.format": "avro" };

      const inline = await produce(topic, { ...avro, "value.schema": orderText }, body);
      const latest = (await schemas("GET", `/subjects/${topic}-value/versions/latest`)).json;
      const bySubject = await produce(topic, { ...avro, "value.schema": `${topic}-value` }, body);
      const byId = await produce(topic, { ...avro, "value.schema": String(latest.id) }, body);

      assert.deepEqual([inline.status, bySubject.status, byId.status], [200, 200, 200]);
      const { text } = await call("GET", `/api/topics/${topic}/messages?value.format=avro`);
      assert.equal(text.split(`"value":${shown}`).length, 4, text);
      assert.match(text, new RegExp(`"valueSchemaId":${latest.id}`));
      const { value } = await readOne(topic);
      assert.deepEqual(value?.subarray(0, 5), Buffer.from([0, 0, 0, 0, latest.id]));
    });

    test("keys, NDJSON, raw bodies and async requests may be Avro too; null stays null", async () => {
      const topic = await createTopic();
      const query = {
        "key.format": "avro",
        "key.schema": '"string"',
        "value.format": "avro",
        "value.schema": orderText,
      };
      const lines = `{"key":"k","value":${shown}}\n{"key":"k","value":null}\n`;

      const ndjson = await produce(topic, query, lines, gateway, { "content-type": "application/x-ndjson" });
      const raw = await produce(topic, { ...query, raw: "true", key: '"k"' }, shown);
      const notJson = await produce(topic, { ...query, raw: "true", key: "k" }, shown);
      const accepted = await produce(topic, { ...query, async: "true" }, body);
      const final = await call("GET", `/api/produce/status/${accepted.json.requestId}?wait=20000`);

      assert.deepEqual([ndjson.json.offsets.length, ndjson.json.failed], [2, undefined]);
      assert.equal(raw.json.offsets[0].offset, 2);
      assert.match(notJson.json.offsets[0].error, /serialize key: avro format expects JSON/);
      assert.equal(final.json.status, "completed");
      const { text } = await call("GET", `/api/topics/${topic}/messages?format=avro`);
      assert.deepEqual([text.split(shown).length, text.split('"value":null').length], [4, 2], text);
      assert.match(text, /"key":"k"/);
    });

    test("a record that does not fit fails alone, with the path of the field", async () => {
      const topic = await createTopic();
      const two =
        '{"records":[{"value":{"id":1,"price":"1.234"}},{"value":{"id":1,"price":"1.23"}},{"value":1,"valueFormat":"json"}]}';

      const { status, json } = await produce(topic, { "value.format": "avro", "value.schema": orderText }, two);

      assert.deepEqual([status, json.succeeded, json.failed], [200, 2, 1]);
      const [{ error, code, persisted }] = json.offsets;
      assert.equal(
        error,
        "record 0: serialize value: shop.Order.price: expected decimal(20, 2), found 3 digits behind the point",
      );
      assert.deepEqual([code, persisted], ["SERIALIZATION_FAILED", "no"]);
    });

    test("a schema that is missing, unknown, wrong or refused ends the request before anything is stored", async () => {
      const topic = await createTopic();
      await produce(topic, { "value.format": "avro", "value.schema": orderText }, body);
      const cases: [schema: string | undefined, status: number, code: string][] = [
        [undefined, 400, "INVALID_PARAMETER"],
        ["nobody-knows", 404, "SCHEMA_NOT_FOUND"],
        ["4711", 404, "SCHEMA_NOT_FOUND"],
        ['{"type":"nonsense"}', 400, "SCHEMA_INVALID"],
        [withField({ name: "more", type: "int" }), 409, "SCHEMA_REFUSED"],
      ];

      for (const [schema, status, code] of cases) {
        const query = { "value.format": "avro", ...(schema === undefined ? {} : { "value.schema": schema }) };
        const answer = await produce(topic, query, body);
        assert.deepEqual([answer.status, answer.json.code], [status, code], schema);
      }
      assert.equal(
        (await produce(topic, { "value.format": "avro" }, body)).json.error,
        "value.schema required when value.format=avro",
      );
      assert.equal((await call("GET", `/api/topics/${topic}/messages`)).json.length, 1);
    });

    test("what is no Avro is shown as the bytes that it is", async () => {
      const topic = await createTopic();
      await produce(
        topic,
        { "value.format": "binary" },
        '{"records":[{"value":"AAAAAAFh"},{"value":"aGk="},{"value":"AAAA//8A"}]}',
      );

      const { json } = await call("GET", `/api/topics/${topic}/messages?format=avro`);

      assert.deepEqual(
        json.map((message: { value: string; valueEncoding: string }) => [message.value, message.valueEncoding]),
        [
          ["AAAAAAFh", "base64"],
          ["aGk=", "base64"],
          ["AAAA//8A", "base64"],
        ],
      );
    });

    test("schemas come from another registry where one is named; while it is away the answer is 503, and async waits", async () => {
      const remote = await SchemaRegistryServer.start({ username: "u", password: "p" });
      const id = remote.register("remote-value", orderSchema);
      const config = { schemaRegistryUsername: "u", schemaRegistryPassword: "p", schemaRegistryTimeoutMs: 2_000 };
      await using elsewhere = await open({ schemaRegistry: [remote.url], ...config });
      await using denied = await open({ schemaRegistry: [remote.url] });
      await using away = await open({ schemaRegistry: ["http://127.0.0.1:1"], ...config });
      const topic = await createTopic();
      const query = { "value.format": "avro", "value.schema": "remote-value" };

      const first = await produce(topic, query, body, elsewhere);
      const inline = await produce(topic, { "value.format": "avro", "value.schema": orderText }, body, elsewhere);
      const unknown = await produce(topic, { ...query, "value.schema": "none" }, body, elsewhere);
      const unauthorized = await produce(topic, query, body, denied);
      const unreachable = await produce(topic, query, body, away);
      const waiting = await produce(topic, { ...query, async: "true" }, body, away);
      const builtIn = await call("GET", "/schemas/subjects", undefined, elsewhere);

      assert.deepEqual([first.status, inline.status], [200, 200]);
      assert.deepEqual((await readOne(topic)).value?.subarray(0, 5), Buffer.from([0, 0, 0, 0, id]));
      assert.deepEqual([unknown.status, unknown.json.code], [404, "SCHEMA_NOT_FOUND"]);
      assert.deepEqual([unauthorized.status, unauthorized.json.code], [502, "SCHEMA_REGISTRY_FAILED"]);
      assert.deepEqual([unreachable.status, unreachable.json.code], [503, "SCHEMA_REGISTRY_FAILED"]);
      assert.equal(unreachable.headers.get("retry-after"), "1");
      assert.equal(waiting.status, 202);
      assert.deepEqual([builtIn.status, builtIn.json.error_code], [404, 404]);
      await waitUntil("the request has tried", async () => {
        const { json } = await call("GET", `/api/produce/status/${waiting.json.requestId}`, undefined, away);
        return json.status === "pending";
      });
      await remote.close();
    });
  });
});
