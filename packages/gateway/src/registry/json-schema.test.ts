import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { gatewayCalls, SchemaRegistryServer, type StartedBroker, startBroker } from "@millrace/testing";
import { Gateway } from "../gateway.ts";
import type { GatewayConfig } from "../options.ts";

const orderSchema = {
  type: "object",
  properties: { id: { type: "integer" }, items: { type: "array", items: { required: ["price"] } } },
  required: ["id"],
};
const orderText = JSON.stringify(orderSchema);
const narrowerText = JSON.stringify({ ...orderSchema, required: ["id", "items"] });
const widerText = JSON.stringify({ ...orderSchema, required: [] });

suite("JSON schemas", { concurrency: false }, () => {
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
  const register = (subject: string, schema: string, more: object = {}) =>
    schemas("POST", `/subjects/${subject}/versions`, { schema, schemaType: "JSON", ...more });

  suite("in the registry", { concurrency: false }, () => {
    test("are registered once, however they are spelled, and are told from Avro", async () => {
      const reversed = JSON.stringify(Object.fromEntries(Object.entries(orderSchema).reverse()), null, 2);
      const { id } = (await register("a-value", orderText)).json;
      const again = await register("b-value", reversed);
      const text = '{"type":"string"}';
      const asJson = await register("text-json", text);
      const asAvro = await schemas("POST", "/subjects/text-avro/versions", { schema: text });

      assert.equal(again.json.id, id);
      assert.notEqual(asJson.json.id, asAvro.json.id);
      const stored = { schemaType: "JSON", schema: orderText };
      assert.deepEqual((await schemas("GET", `/schemas/ids/${id}`)).json, stored);
      const version = { subject: "a-value", version: 1, id, ...stored };
      assert.deepEqual((await schemas("GET", "/subjects/a-value/versions/latest")).json, version);
      assert.deepEqual(
        (await schemas("POST", "/subjects/a-value", { schema: reversed, schemaType: "JSON" })).json,
        version,
      );
      assert.deepEqual((await schemas("GET", "/schemas/types")).json, ["AVRO", "JSON"]);
    });

    test("are refused where they are wrong, or refer to what is not there", async () => {
      for (const [schema, reason] of [
        ['{"type":"text"}', /\/type must match/],
        ["{", /expected .*found the end/],
        ["[]", /expected an object, true or false/],
        ["", /Empty schema/],
        ['{"$ref":"http://127.0.0.1:1/elsewhere.json"}', /nothing is fetched/],
        ['{"$schema":"http://json-schema.org/draft-04/schema#"}', /draft-04/],
      ] as const) {
        const { status, json } = await register("wrong", schema);
        assert.deepEqual([status, json.error_code], [422, 42201], schema);
        assert.match(json.message, reason);
      }
    });

    test("that may refuse what an earlier one let pass are refused, unless the level is NONE", async () => {
      await register("c-value", orderText);

      const refused = await register("c-value", narrowerText);
      const body = { schema: narrowerText, schemaType: "JSON" };
      const checked = await schemas("POST", "/compatibility/subjects/c-value/versions/latest?verbose=true", body);
      const avro = await schemas("POST", "/subjects/c-value/versions", { schema: '"string"' });
      await schemas("PUT", "/config/c-value", { compatibility: "NONE" });
      const accepted = await register("c-value", narrowerText);
      const allowed = await schemas("POST", "/compatibility/subjects/c-value/versions/latest", body);

      assert.deepEqual([refused.status, refused.json.error_code], [409, 409]);
      assert.match(refused.json.message, /path '\/required'.*PUT \/schemas\/config\/\{subject\}.*NONE/);
      assert.equal(checked.json.is_compatible, false);
      assert.match(checked.json.messages[0], /NOT_IMPLIED/);
      assert.equal(avro.status, 409);
      assert.match(avro.json.message, /SCHEMA_TYPE_MISMATCH.*from JSON to AVRO/);
      assert.equal(accepted.status, 200);
      assert.deepEqual(allowed.json, { is_compatible: true });
      assert.deepEqual((await schemas("GET", "/subjects/c-value/versions")).json, [1, 2]);
    });

    test("that let pass what an earlier one did are taken, in the direction that the level asks for", async () => {
      await register("d-value", orderText);

      const wider = await register("d-value", widerText);
      await schemas("PUT", "/config/d-value", { compatibility: "FORWARD" });
      const narrower = await register("d-value", narrowerText);
      await schemas("PUT", "/config/d-value", { compatibility: "FULL" });
      const words = await register("d-value", JSON.stringify({ ...JSON.parse(narrowerText), title: "Order" }));
      const back = await register("d-value", orderText);
      await schemas("PUT", "/config/d-value", { compatibility: "BACKWARD" });
      const exact = await register("d-value", JSON.stringify({ ...orderSchema, maximum: 1 }).replace("1}", "1.0}"));

      assert.deepEqual([wider.status, narrower.status, words.status], [200, 200, 200]);
      // It is the first version already.
      assert.equal(back.status, 200);
      assert.equal(exact.status, 409);
    });

    test("may refer to others, which then stay, and outlive the server", async () => {
      await register("item", '{"type":"object","required":["sku"]}');
      const references = [{ name: "item.json", subject: "item", version: 1 }];
      const text = '{"items":{"$ref":"item.json"}}';

      const { id } = (await register("list", text, { references })).json;
      const removed = await schemas("DELETE", "/subjects/item");
      await using another = await open();
      const topic = await createTopic();
      const query = { "value.format": "jsonschema", "value.schema": "list" };
      const produced = await produce(topic, query, '{"records":[{"value":[{"sku":1}]},{"value":[{}]}]}', another);
      const shown = await call("GET", `/schemas/schemas/ids/${id}`, undefined, another);

      assert.equal(removed.status, 422);
      assert.deepEqual(shown.json, { schemaType: "JSON", schema: text, references });
      assert.deepEqual([produced.json.succeeded, produced.json.failed], [1, 1]);
      assert.match(
        produced.json.offsets[1].error,
        /^record 1: serialize value: \/0: must have required property 'sku'$/,
      );
    });
  });

  suite("in produce and read", { concurrency: false }, () => {
    const json = '{ "items": [], "id":9007199254740993, "note":"\\u00fc" }';
    const body = `{"records":[{"value":${json}}]}`;

    test("by the schema itself, which is registered for the topic; by its subject; by its id; bytes as they were sent", async () => {
      const topic = await createTopic();
      const format = { "value.format": "jsonschema" };

      const inline = await produce(topic, { ...format, "value.schema": orderText }, body);
      const latest = (await schemas("GET", `/subjects/${topic}-value/versions/latest`)).json;
      const bySubject = await produce(topic, { ...format, "value.schema": `${topic}-value` }, body);
      const byId = await produce(topic, { ...format, "value.schema": String(latest.id) }, body);

      assert.deepEqual([inline.status, bySubject.status, byId.status], [200, 200, 200]);
      assert.equal(latest.schemaType, "JSON");
      assert.deepEqual(
        (await readOne(topic)).value,
        Buffer.concat([Buffer.from([0, 0, 0, 0, latest.id]), Buffer.from(json)]),
      );
      const { text } = await call("GET", `/api/topics/${topic}/messages?value.format=jsonschema`);
      assert.equal(text.split(`"value":${json}`).length, 4, text);
      assert.match(text, new RegExp(`"valueSchemaId":${latest.id}`));
    });

    test("a record that does not fit fails alone, with the path; a null stays null", async () => {
      const topic = await createTopic();
      const query = { "value.format": "jsonschema", "value.schema": orderText };
      const records = ['{"id":1,"items":[{"price":1},{}]}', '{"id":1}', "null", '"text"'];

      const answer = await produce(topic, query, `{"records":[${records.map((value) => `{"value":${value}}`)}]}`);

      assert.deepEqual([answer.status, answer.json.succeeded, answer.json.failed], [200, 2, 2]);
      const [first, , , last] = answer.json.offsets;
      assert.equal(first.error, "record 0: serialize value: /items/1: must have required property 'price'");
      assert.deepEqual([first.code, first.persisted], ["SERIALIZATION_FAILED", "no"]);
      assert.equal(last.error, "record 3: serialize value: the whole: must be object");
      const { text } = await call("GET", `/api/topics/${topic}/messages?format=jsonschema`);
      assert.match(text, /"value":null/);
    });

    test("a schema that goes round in a circle fails its records, and the server goes on", async () => {
      const topic = await createTopic();
      const query = { "value.format": "jsonschema", "value.schema": '{"allOf":[{"$ref":"#"}]}' };

      const circle = await produce(topic, query, body);
      const other = await produce(topic, {}, body);

      assert.match(circle.json.offsets[0].error, /goes too deep/);
      assert.equal(other.status, 200);
    });

    test("keys, NDJSON, raw bodies, async requests and all or nothing have it too", async () => {
      const topic = await createTopic();
      const query = { "key.format": "jsonschema", "key.schema": '{"type":"string"}', "value.format": "json" };
      const both = { ...query, "value.format": "jsonschema", "value.schema": orderText };
      const lines = '{"key":"k","value":1}\n{"key":2,"value":1}\n';
      const ndjson = await produce(topic, query, lines, gateway, { "content-type": "application/x-ndjson" });
      const raw = await produce(topic, { ...both, raw: "true", key: '"k"' }, json);
      const notJson = await produce(topic, { ...both, raw: "true", key: '"k"' }, "{");
      const accepted = await produce(topic, { ...both, async: "true" }, body);
      const final = await call("GET", `/api/produce/status/${accepted.json.requestId}?wait=20000`);
      const whole = await produce(topic, { ...both, atomic: "true" }, `{"records":[{"value":{"id":1}},{"value":{}}]}`);

      assert.deepEqual([ndjson.json.succeeded, ndjson.json.failed], [1, 1]);
      assert.equal(raw.json.offsets[0].offset, 1);
      assert.match(notJson.json.offsets[0].error, /serialize value: jsonschema format expects JSON/);
      assert.deepEqual([final.json.status, final.json.offsets[0].offset], ["completed", 2]);
      assert.deepEqual([whole.status, whole.json.code], [422, "ATOMIC_NOT_POSSIBLE"]);
    });

    test("a schema of another kind, or none, ends the request; in a record that asks for another format, the record", async () => {
      const topic = await createTopic();
      await register(`${topic}-json`, orderText);
      await schemas("POST", `/subjects/${topic}-avro/versions`, { schema: '"string"' });
      const cases: [format: string, schema: string | undefined, status: number, error: RegExp][] = [
        ["jsonschema", undefined, 400, /value\.schema required when value\.format=jsonschema/],
        ["jsonschema", `${topic}-avro`, 400, /is for the format avro, not for jsonschema/],
        ["avro", `${topic}-json`, 400, /is for the format jsonschema, not for avro/],
        ["jsonschema", "nobody-knows", 404, /not found/],
        ["jsonschema", '{"type":"text"}', 400, /Invalid schema/],
      ];
      for (const [format, schema, status, error] of cases) {
        const query = { "value.format": format, ...(schema === undefined ? {} : { "value.schema": schema }) };
        const answer = await produce(topic, query, body);
        assert.equal(answer.status, status, answer.text);
        assert.match(answer.json.error, error);
      }

      const mixed = `{"records":[{"value":{"id":1},"valueFormat":"jsonschema"},{"value":"a","valueFormat":"avro"},{"value":2}]}`;
      const { json: answered } = await produce(topic, { "value.schema": `${topic}-json` }, mixed);
      assert.deepEqual([answered.succeeded, answered.failed], [2, 1]);
      assert.match(answered.offsets[1].error, /avro format needs a schema for it/);
    });

    test("what is not in the wire format, or no JSON behind it, is shown as the bytes that it is", async () => {
      const topic = await createTopic();
      const values = [Buffer.from("{}"), Buffer.from([0, 0, 0, 0, 1, 0x7b]), Buffer.from([0, 0, 0, 0, 1])];
      const records = values.map((value) => ({ value: value.toString("base64") }));
      await produce(topic, { "value.format": "binary" }, JSON.stringify({ records }));

      const { json: shown } = await call("GET", `/api/topics/${topic}/messages?format=jsonschema`);

      assert.deepEqual(
        shown.map((message: { value: string; valueEncoding: string }) => [message.value, message.valueEncoding]),
        records.map(({ value }) => [value, "base64"]),
      );
    });

    test("schemas come from another registry where one is named, with those that they refer to", async () => {
      await using remote = await SchemaRegistryServer.start();
      remote.register("item", { required: ["sku"] }, [], "JSON");
      const references = [{ name: "item.json", subject: "item", version: 1 }];
      const id = remote.register("list", { items: { $ref: "item.json" } }, references, "JSON");
      const proto = remote.register("proto", 'syntax = "proto3";', [], "PROTOBUF");
      await using elsewhere = await open({ schemaRegistry: [remote.url] });
      const topic = await createTopic();
      const format = { "value.format": "jsonschema" };
      const two = '{"records":[{"value":[{"sku":1}]},{"value":[{}]}]}';

      const first = await produce(topic, { ...format, "value.schema": "list" }, two, elsewhere);
      const inline = await produce(topic, { ...format, "value.schema": orderText }, body, elsewhere);
      const other = await produce(topic, { ...format, "value.schema": String(proto) }, body, elsewhere);

      assert.deepEqual([first.json.succeeded, first.json.failed], [1, 1]);
      assert.deepEqual((await readOne(topic)).value?.subarray(0, 5), Buffer.from([0, 0, 0, 0, id]));
      assert.equal(inline.status, 200);
      assert.ok(remote.requests.includes(`POST /subjects/${topic}-value/versions`));
      assert.deepEqual([other.status, other.json.code], [400, "SCHEMA_INVALID"]);
      assert.match(other.json.error, /of type PROTOBUF; known are AVRO and JSON/);
    });
  });
});
