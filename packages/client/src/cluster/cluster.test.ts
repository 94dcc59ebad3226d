import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { InProcessNetwork, SeededRandom, VirtualClock } from "@millrace/base";
import { metadataApi } from "@millrace/protocol";
import { rejectionOf, ScriptedBroker } from "@millrace/testing";
import { commonOptions } from "../common-options.ts";
import { Cluster } from "./cluster.ts";

let network: InProcessNetwork;
let clock: VirtualClock;
let brokers: ScriptedBroker[];
let clusters: Cluster[];

beforeEach(async () => {
  network = new InProcessNetwork();
  clock = new VirtualClock();
  clusters = [];
  brokers = [];
  for (let count = 0; count < 3; count++) brokers.push(await ScriptedBroker.listen(network));
  announce(brokers);
});

afterEach(async () => {
  for (const cluster of clusters) await cluster.close();
  for (const broker of brokers) await broker.close();
});

/** All brokers tell of these; their node ids are 1, 2, 3 in this order. */
function announce(listed: readonly ScriptedBroker[]): void {
  const nodes = listed.map((broker, index) => ({ nodeId: index + 1, address: broker.address }));
  for (const broker of brokers) broker.serveMetadata(nodes, {});
}

function clusterOf(...bootstrap: readonly string[]): Cluster {
  const random = new SeededRandom(1);
  const cluster = new Cluster(commonOptions.resolve({ bootstrapServers: bootstrap, network, clock, random }));
  clusters.push(cluster);
  return cluster;
}

function broker(index: number): ScriptedBroker {
  const found = brokers[index];
  assert.ok(found !== undefined);
  return found;
}

function run<T>(promise: Promise<T>): Promise<T> {
  return clock.runUntil(promise, 120_000);
}

test("the cluster is learned from one bootstrap server, past those that are down", async () => {
  const cluster = clusterOf("127.0.0.1:9999", broker(1).server, "127.0.0.1:9998");

  await run(cluster.metadata.refreshBrokers());
  const connection = await run(cluster.connectionTo(3));

  assert.deepEqual(cluster.nodeIds, [1, 2, 3]);
  assert.deepEqual(connection.address, broker(2).address);
  assert.equal(cluster.description.clusterId, "scripted");
});

test("one connection to a broker serves all who ask for it", async () => {
  const cluster = clusterOf(broker(0).server);
  await run(cluster.metadata.refreshBrokers());

  const connections = await run(Promise.all([1, 2, 3, 4].map(() => cluster.connectionTo(2))));

  assert.equal(new Set(connections).size, 1);
  assert.equal(broker(1).connectionCount, 1);
  assert.equal(cluster.openConnectionTo(2), connections[0]);
  assert.equal(cluster.openConnectionTo(3), null);
});

test("the connection to a bootstrap server goes on as the one to its broker", async () => {
  const cluster = clusterOf(broker(0).server);
  const bootstrap = await run(cluster.anyConnection());

  await run(cluster.metadata.refreshBrokers());

  assert.equal(await run(cluster.connectionTo(1)), bootstrap);
  assert.equal(broker(0).connectionCount, 1);
});

test("a bootstrap server that goes by another name than any broker is let go", async () => {
  announce([broker(1), broker(2)]);
  const cluster = clusterOf(broker(0).server);
  const bootstrap = await run(cluster.anyConnection());

  await run(cluster.metadata.refreshBrokers());
  await clock.advance(1);

  assert.equal(bootstrap.isOpen, false);
  assert.equal((await run(cluster.anyConnection())).isOpen, true);
});

test("a broker that metadata does not name is an error that may pass", async () => {
  const cluster = clusterOf(broker(0).server);
  await run(cluster.metadata.refreshBrokers());

  const error = await rejectionOf(run(cluster.connectionTo(7)));

  assert.equal(error.code, "BROKER_NOT_AVAILABLE");
  assert.equal(error.retriable, true);
});

test("with no broker in reach the error names all that were tried", async () => {
  const error = await rejectionOf(run(clusterOf("127.0.0.1:9998", "127.0.0.1:9999").anyConnection()));

  assert.equal(error.code, "CONNECTION_FAILED");
  assert.match(error.message, /127.0.0.1:9998: connect ECONNREFUSED/);
  assert.match(error.message, /127.0.0.1:9999: connect ECONNREFUSED/);
});

test("a broker that is down is tried ever more slowly", async () => {
  const cluster = clusterOf(broker(0).server);
  await run(cluster.metadata.refreshBrokers());
  await broker(1).close();
  const waits: number[] = [];

  for (let attempt = 0; attempt < 8; attempt++) {
    const startMs = clock.nowMs();
    await rejectionOf(run(cluster.connectionTo(2)));
    waits.push(clock.nowMs() - startMs);
  }

  assert.equal(waits[0], 0);
  for (let attempt = 1; attempt < 8; attempt++) {
    const leastMs = Math.min(50 * 2 ** (attempt - 1), 1000);
    const wait = waits[attempt] ?? 0;
    assert.ok(wait >= leastMs && wait <= Math.min(leastMs * 1.2, 1000), `wait ${attempt} was ${wait} ms`);
  }
});

test("any connection is the one with the fewest requests in flight", async () => {
  const cluster = clusterOf(broker(0).server);
  await run(cluster.metadata.refreshBrokers());
  const first = await run(cluster.connectionTo(1));
  const second = await run(cluster.connectionTo(2));
  broker(0).on(metadataApi, () => null);
  const waiting = first.request(metadataApi, { topics: [] });
  waiting.catch(() => {});

  const chosen = new Set([await cluster.anyConnection(), await cluster.anyConnection(), await cluster.anyConnection()]);

  assert.equal(chosen.has(first), false);
  assert.equal(chosen.has(second), true);
});

test("when all known brokers are gone the bootstrap servers lead to the new ones", async () => {
  const cluster = clusterOf(broker(0).server);
  announce([broker(1), broker(2)]);
  await run(cluster.metadata.refreshBrokers());
  await run(cluster.connectionTo(1));
  for (const old of [broker(0), broker(1), broker(2)]) old.cutAll();
  await broker(1).close();
  await broker(2).close();
  announce([broker(0)]);

  await run(cluster.metadata.refreshBrokers());

  assert.deepEqual(cluster.nodeIds, [1]);
  assert.deepEqual((await run(cluster.connectionTo(1))).address, broker(0).address);
});

test("a broker that moved is reached at its new address, and what is in flight on the old one ends well", async () => {
  const cluster = clusterOf(broker(0).server);
  await run(cluster.metadata.refreshBrokers());
  const old = await run(cluster.connectionTo(2));
  announce([broker(0), broker(2)]);

  await run(cluster.metadata.refreshBrokers());
  const moved = await run(cluster.connectionTo(2));

  await clock.advance(1);

  assert.deepEqual(moved.address, broker(2).address);
  assert.equal(old.isOpen, false);
});

test("a connection that broke is opened again when it is needed", async () => {
  const cluster = clusterOf(broker(0).server);
  await run(cluster.metadata.refreshBrokers());
  const first = await run(cluster.connectionTo(2));
  broker(1).cutAll();
  await clock.advance(1);
  assert.equal(first.isOpen, false);

  const second = await run(cluster.connectionTo(2));

  assert.notEqual(second, first);
  assert.equal(second.isOpen, true);
});

test("the controller is asked for anew after it was forgotten", async () => {
  const cluster = clusterOf(broker(0).server);

  assert.deepEqual((await run(cluster.controller())).address, broker(0).address);
  announce([broker(2), broker(1), broker(0)]);
  cluster.forgetController();

  assert.deepEqual((await run(cluster.controller())).address, broker(2).address);
});

test("close ends connects that wait for their backoff, and refuses new ones", async () => {
  const cluster = clusterOf(broker(0).server);
  await run(cluster.metadata.refreshBrokers());
  await broker(1).close();
  await rejectionOf(run(cluster.connectionTo(2)));
  const waiting = rejectionOf(run(cluster.connectionTo(2)));

  await cluster.close();
  await cluster.close();

  assert.equal((await waiting).code, "CLOSED");
  assert.equal((await rejectionOf(run(cluster.connectionTo(1)))).code, "CLOSED");
  assert.equal((await rejectionOf(run(cluster.anyConnection()))).code, "CLOSED");
});

test("bootstrap servers that are no addresses are refused when they are given", () => {
  assert.throws(
    () => commonOptions.resolve({ bootstrapServers: "local host:9092" }),
    /must be one or more of host:port/,
  );
  assert.throws(() => commonOptions.resolve({ bootstrapServers: "" }), /must be one or more of host:port/);
  assert.deepEqual(commonOptions.resolve({ brokers: "a:1, b" }).bootstrapServers, ["a:1", "b"]);
});
