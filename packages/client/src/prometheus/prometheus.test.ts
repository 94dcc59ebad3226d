import assert from "node:assert/strict";
import { test } from "node:test";
import { startBroker } from "@millrace/testing";
import { Registry } from "prom-client";
import { Producer } from "../producer/producer.ts";
import { ProducerCollector } from "./index.ts";

test("Prometheus sees what each producer counts, and no more of one that was removed", async () => {
  await using started = await startBroker();
  await using orders = new Producer({ bootstrapServers: started.server });
  await using clicks = new Producer({ bootstrapServers: started.server, allowAutoTopicCreation: false });
  const registry = new Registry();
  const collector = new ProducerCollector({ registry });
  collector.add(orders, "orders");
  const remove = collector.add(clicks, "clicks");

  await orders.sendBatch(Array.from({ length: 7 }, () => ({ topic: "orders", value: "v" })));
  const text = await registry.metrics();

  assert.match(text, /^# TYPE millrace_producer_records_acknowledged_total counter$/m);
  assert.match(text, /^millrace_producer_records_acknowledged_total\{producer="orders"\} 7$/m);
  assert.match(text, /^millrace_producer_records_acknowledged_total\{producer="clicks"\} 0$/m);
  assert.match(text, /^millrace_producer_buffer_bytes\{producer="orders"\} 0$/m);
  assert.match(text, /^millrace_producer_request_latency_seconds\{producer="orders",quantile="0.99"\} 0\.\d+$/m);

  remove();
  assert.doesNotMatch(await registry.metrics(), /clicks/);
  collector.close();
  assert.equal((await registry.metrics()).trim(), "");
});

test("errors are counted by their code", async () => {
  const registry = new Registry();
  const collector = new ProducerCollector({ registry, prefix: "p_" });
  const producer = new Producer();
  collector.add({ metrics: () => ({ ...producer.metrics(), errorsByCode: { NOT_LEADER_OR_FOLLOWER: 3 } }) });

  assert.match(await registry.metrics(), /^p_errors_total\{producer="default",code="NOT_LEADER_OR_FOLLOWER"\} 3$/m);
  await producer.close();
});

test("two producers of one name are refused", () => {
  const collector = new ProducerCollector({ registry: new Registry() });
  const source = { metrics: () => assert.fail("nobody asked") };
  collector.add(source, "orders");

  assert.throws(() => collector.add(source, "orders"), /named orders/);
});
