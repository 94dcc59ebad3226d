import assert from "node:assert/strict";
import { type ChannelListener, subscribe, unsubscribe } from "node:diagnostics_channel";
import { test } from "node:test";
import { InProcessNetwork, SeededRandom, VirtualClock } from "@millrace/base";
import { ScriptedBroker, ScriptedLog } from "@millrace/testing";
import type { ProducerDiagnostics } from "./diagnostics.ts";
import { Producer } from "./producer.ts";

type ChannelName = keyof ProducerDiagnostics;

const LIMIT_MS = 600_000;
const names: readonly ChannelName[] = [
  "millrace:producer:request:start",
  "millrace:producer:request:end",
  "millrace:producer:request:error",
  "millrace:producer:batch:acknowledged",
  "millrace:producer:batch:retried",
  "millrace:producer:batch:failed",
  "millrace:producer:batch:split",
];

test("requests and batches are told on diagnostics channels while somebody listens, and not afterwards", async () => {
  const network = new InProcessNetwork();
  const clock = new VirtualClock();
  await using broker = await ScriptedBroker.listen(network);
  const log = new ScriptedLog().serve(broker);
  broker.serveMetadata([{ nodeId: 1, address: broker.address }], { orders: [{ leaderId: 1 }] });
  const random = new SeededRandom(1);
  const producer = new Producer({ bootstrapServers: broker.server, network, clock, random, clientId: "shop" });
  const send = (count: number) => {
    const records = Array.from({ length: count }, (_, index) => ({ topic: "orders", value: `value ${index}` }));
    return clock.runUntil(producer.sendBatch(records), LIMIT_MS);
  };
  await send(1);
  const told: string[] = [];
  const messages: unknown[] = [];
  const listeners = names.map((name): [ChannelName, ChannelListener] => [
    name,
    (message) => {
      told.push(name.replace("millrace:producer:", ""));
      messages.push(message);
    },
  ]);
  for (const [name, listener] of listeners) subscribe(name, listener);

  await send(2);
  log.plan({ kind: "refuse", code: "NOT_LEADER_OR_FOLLOWER" });
  await send(1);
  log.plan({ kind: "loseAnswer" });
  await send(1);
  log.plan({ kind: "refuse", code: "TOPIC_AUTHORIZATION_FAILED" });
  await send(1).catch(() => {});
  for (const [name, listener] of listeners) unsubscribe(name, listener);
  await send(1);

  assert.deepEqual(told, [
    ...["request:start", "request:end", "batch:acknowledged"],
    ...["request:start", "request:end", "batch:retried", "request:start", "request:end", "batch:acknowledged"],
    ...["request:start", "request:error", "batch:retried", "request:start", "request:end", "batch:acknowledged"],
    ...["request:start", "request:end", "batch:failed"],
  ]);
  const [start, end, acknowledged] = messages;
  assert.equal(start, end);
  const { sizeBytes, ...rest } = Object(acknowledged);
  assert.ok(sizeBytes > 0);
  assert.deepEqual(rest, {
    clientId: "shop",
    topic: "orders",
    partition: 0,
    recordCount: 2,
    attempts: 1,
    baseOffset: 1n,
  });
  await clock.runUntil(producer.close(), LIMIT_MS);
});
