/** kafkajs's client of schema registries against the built-in one: node registry.mjs host:port http://host:port */

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { check, finish, run } from "./checks.mjs";

const require = createRequire(process.env.INTEROP_MODULES ? `${process.env.INTEROP_MODULES}/` : import.meta.url);
const { COMPATIBILITY, SchemaRegistry, SchemaType } = require("@kafkajs/confluent-schema-registry");
const { Kafka, logLevel } = require("kafkajs");
const version = require("@kafkajs/confluent-schema-registry/package.json").version;
console.log(`@kafkajs/confluent-schema-registry ${version}, Node ${process.versions.node}`);

const [server, url] = process.argv.slice(2);
const topic = `registry-${run}`;
const subject = `${topic}-value`;
const registry = new SchemaRegistry({ host: `${url}/schemas` });
const kafka = new Kafka({ brokers: [server], logLevel: logLevel.NOTHING });
const fields = [
  { name: "id", type: "int" },
  { name: "note", type: ["null", "string"], default: null },
];
const schemaOf = (changed) => ({
  type: SchemaType.AVRO,
  schema: JSON.stringify({ type: "record", name: "Order", namespace: "shop", fields: changed }),
});
let id;

await fetch(`${url}/api/topics`, { method: "POST", body: JSON.stringify({ name: topic, partitions: 1 }) });

await check("a schema is registered, and found by subject, version and itself", async () => {
  ({ id } = await registry.register(schemaOf(fields), { subject, compatibility: COMPATIBILITY.BACKWARD }));
  assert.equal(await registry.getLatestSchemaId(subject), id);
  assert.equal(await registry.getRegistryId(subject, 1), id);
  assert.equal(await registry.getRegistryIdBySchema(subject, schemaOf(fields)), id);
});

await check("what it encodes is shown over HTTP", async () => {
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, messages: [{ value: await registry.encode(id, { id: 7, note: "paid" }) }] });
  await producer.disconnect();
  const response = await fetch(`${url}/api/topics/${topic}/messages?format=avro`);
  const [message] = await response.json();
  assert.deepEqual([message.value, message.valueSchemaId], [{ id: 7, note: "paid" }, id]);
});

await check("what comes over HTTP it decodes", async () => {
  const query = new URLSearchParams({ "value.format": "avro", "value.schema": subject });
  const body = '{"records":[{"value":{"id":8}}]}';
  const headers = { "content-type": "application/json" };
  await fetch(`${url}/api/topics/${topic}/produce?${query}`, { method: "POST", headers, body });
  const consumer = kafka.consumer({ groupId: `group-${run}` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const decoded = [];
  await new Promise((resolve, reject) => {
    const eachMessage = async ({ message }) => {
      decoded.push(await registry.decode(message.value));
      if (decoded.length === 2) resolve();
    };
    consumer.run({ eachMessage }).catch(reject);
  });
  await consumer.disconnect();
  assert.deepEqual(JSON.parse(JSON.stringify(decoded[1])), { id: 8, note: null });
});

await check("a schema that readers of the old one could not do with is refused", async () => {
  const changed = schemaOf([...fields, { name: "total", type: "string" }]);
  await assert.rejects(registry.register(changed, { subject }), /incompatible with an earlier schema/);
});

finish();
