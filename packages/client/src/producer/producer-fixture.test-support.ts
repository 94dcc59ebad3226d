/** What the producer's tests share: a producer on virtual time, and a scripted broker with a topic "orders" of one partition. */

import assert from "node:assert/strict";
import { afterEach, beforeEach } from "node:test";
import { InProcessNetwork, SeededRandom, VirtualClock } from "@millrace/base";
import type { ErrorCode, KafkaError, Persisted } from "@millrace/protocol";
import { rejectionOf, ScriptedBroker, ScriptedLog, waitUntil } from "@millrace/testing";
import type { ProducerConfig } from "./options.ts";
import { Producer } from "./producer.ts";

/** Virtual time that no test reaches unless something hangs. */
export const LIMIT_MS = 600_000;

/** Made anew for each test of a file that calls `useProducerFixture`. */
export let network: InProcessNetwork;
export let clock: VirtualClock;
export let broker: ScriptedBroker;
export let log: ScriptedLog;
export let producer: Producer;

export function useProducerFixture(): void {
  beforeEach(async () => {
    network = new InProcessNetwork();
    clock = new VirtualClock();
    broker = await ScriptedBroker.listen(network);
    log = new ScriptedLog().serve(broker);
    serveTopic(1);
  });

  afterEach(async () => {
    log.release();
    await clock.runUntil(
      producer.close({ timeoutMs: 1 }).catch(() => {}),
      LIMIT_MS,
    );
    await broker.close();
  });
}

export function serveTopic(partitionCount: number): void {
  const partitions = Array.from({ length: partitionCount }, () => ({ leaderId: 1 }));
  broker.serveMetadata([{ nodeId: 1, address: broker.address }], { orders: partitions });
}

export function create(config: ProducerConfig = {}): Producer {
  producer = new Producer({
    bootstrapServers: broker.server,
    network,
    clock,
    random: new SeededRandom(1),
    ...config,
  });
  return producer;
}

/** The promise's value, with virtual time running until it is there. */
export function soon<T>(promise: Promise<T>): Promise<T> {
  return clock.runUntil(promise, LIMIT_MS);
}

/** As `soon`, where real time has to pass as well: while a codec is being loaded. */
export async function inRealTime<T>(promise: Promise<T>): Promise<T> {
  let isSettled = false;
  const settled = () => {
    isSettled = true;
  };
  promise.then(settled, settled);
  await waitUntil("the promise settles", async () => {
    await clock.advance(1);
    return isSettled;
  });
  return promise;
}

/** A test looks at the promises when it is ready to: until then a rejection is not unhandled. */
export function sendAll(count: number, value = (index: number) => `v${index}`): Promise<unknown>[] {
  return Array.from({ length: count }, (_, index) => {
    const sent = producer.send({ topic: "orders", value: value(index) });
    sent.catch(() => {});
    return sent;
  });
}

/** A producer whose connection, metadata and producer id are there, with one record, "first", acknowledged. */
export async function warm(config: ProducerConfig = {}): Promise<void> {
  create(config);
  await soon(producer.send({ topic: "orders", value: "first" }));
}

export function failureOf(promise: Promise<unknown>): Promise<KafkaError> {
  return rejectionOf(soon(promise));
}

export async function assertFailure(promise: Promise<unknown>, code: ErrorCode, persisted: Persisted): Promise<void> {
  const error = await failureOf(promise);
  assert.equal(error.code, code, error.message);
  assert.equal(error.persisted, persisted, error.message);
}
