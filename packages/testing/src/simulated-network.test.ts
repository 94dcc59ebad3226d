import assert from "node:assert/strict";
import { test } from "node:test";
import { type Address, type ByteStream, SeededRandom, VirtualClock } from "@millrace/base";
import { networkSuite } from "./network-suite.ts";
import { SimulatedNetwork, type SimulatedNetworkOptions } from "./simulated-network.ts";

const BROKER: Address = { host: "broker", port: 9092 };

networkSuite("SimulatedNetwork", () => {
  const clock = new VirtualClock();
  const network = new SimulatedNetwork({ clock, random: new SeededRandom(1), splitProbability: 0.5 });
  return {
    network,
    host: "broker",
    async until(what, condition) {
      for (let elapsedMs = 0; !condition(); elapsedMs += 1) {
        if (elapsedMs > 10_000) throw new Error(`waited in vain until ${what}`);
        await clock.advance(1);
      }
    },
  };
});

/** What one end was told, in order. */
function observe(stream: ByteStream): string[] {
  const events: string[] = [];
  stream.start({
    onOpen: () => events.push("open"),
    onData: (bytes) => events.push(bytes.toString()),
    onClose: (error) => events.push(`closed ${error !== null && "code" in error ? error.code : error}`),
  });
  return events;
}

async function setUp(options: Partial<SimulatedNetworkOptions> = {}) {
  const clock = new VirtualClock();
  const network = new SimulatedNetwork({
    clock,
    random: new SeededRandom(5),
    delayMs: [1, 10],
    splitProbability: 0,
    ...options,
  });
  const accepted: ByteStream[] = [];
  await network.listen(BROKER, (stream) => accepted.push(stream));
  const connect = async (host = "client") => {
    const near = network.from(host).connect(BROKER);
    const nearEvents = observe(near);
    await clock.advance(20);
    const far = accepted.at(-1);
    assert.ok(far);
    const farEvents = observe(far);
    await clock.advance(0);
    return { near, nearEvents, far, farEvents };
  };
  return { clock, network, connect };
}

test("what is written takes its time, and arrives in pieces cut anywhere", async () => {
  const { clock, connect } = await setUp({ splitProbability: 0.8 });
  const { near, farEvents } = await connect();

  near.write([Buffer.from("a text that is long enough to be cut more than once")]);
  await clock.advance(0.9);
  assert.deepEqual(farEvents, ["open"]);

  await clock.advance(100);
  assert.ok(farEvents.length > 3);
  assert.equal(farEvents.slice(1).join(""), "a text that is long enough to be cut more than once");
});

test("a cut is told to both ends, each in its own time, and loses what was under way", async () => {
  const { clock, network, connect } = await setUp();
  const { near, nearEvents, farEvents } = await connect();

  near.write([Buffer.from("lost")]);
  network.cut("broker");
  await clock.advance(20);

  assert.deepEqual(nearEvents, ["open", "closed ECONNRESET"]);
  assert.deepEqual(farEvents, ["open", "closed ECONNRESET"]);
});

test("a cut of one host's connections leaves the others alone", async () => {
  const { clock, network, connect } = await setUp();
  const one = await connect("one");
  const two = await connect("two");

  network.cut("one");
  two.near.write([Buffer.from("alive")]);
  await clock.advance(20);

  assert.deepEqual(one.nearEvents, ["open", "closed ECONNRESET"]);
  assert.deepEqual(two.farEvents, ["open", "alive"]);
});

test("connections are cut at random: some bytes before it arrive, none after it", async () => {
  const { clock, connect } = await setUp({ cutProbability: 0.05 });
  const { near, nearEvents, farEvents } = await connect();

  for (let index = 0; index < 200; index++) near.write([Buffer.from(`${index}`)]);
  await clock.advance(100);

  const arrived = farEvents.slice(1, -1);
  assert.deepEqual(
    arrived,
    arrived.map((_, index) => `${index}`),
  );
  assert.ok(arrived.length < 200);
  assert.equal(farEvents.at(-1), "closed ECONNRESET");
  assert.equal(nearEvents.at(-1), "closed ECONNRESET");
});

test("a host that is down loses its connections and refuses new ones until it is up and listens again", async () => {
  const { clock, network, connect } = await setUp();
  const { nearEvents, farEvents } = await connect();

  network.takeDown("broker");
  await clock.advance(20);
  assert.deepEqual(nearEvents, ["open", "closed ECONNRESET"]);
  assert.deepEqual(farEvents, ["open", "closed EHOSTDOWN"]);

  const refused = observe(network.connect(BROKER));
  await clock.advance(20);
  assert.deepEqual(refused, ["closed ECONNREFUSED"]);
  await assert.rejects(
    network.listen(BROKER, () => {}),
    { code: "EADDRNOTAVAIL" },
  );

  network.bringUp("broker");
  const stillRefused = observe(network.connect(BROKER));
  await clock.advance(20);
  assert.deepEqual(stillRefused, ["closed ECONNREFUSED"]);

  await network.listen(BROKER, () => {});
  const connected = observe(network.connect(BROKER));
  await clock.advance(20);
  assert.deepEqual(connected, ["open"]);
});

test("a host that is down cannot connect", async () => {
  const { clock, network } = await setUp();

  network.takeDown("client");
  const events = observe(network.from("client").connect(BROKER));
  await clock.advance(20);

  assert.deepEqual(events, ["closed EHOSTDOWN"]);
});

test("an isolated host hears nothing and is not heard, until it is healed; then all arrives in order", async () => {
  const { clock, network, connect } = await setUp();
  const { near, nearEvents, far, farEvents } = await connect();

  network.isolate("broker");
  near.write([Buffer.from("one")]);
  near.write([Buffer.from("two")]);
  far.write([Buffer.from("answer")]);
  const hanging = observe(network.connect(BROKER));
  await clock.advance(60_000);
  assert.deepEqual([nearEvents, farEvents, hanging], [["open"], ["open"], []]);

  network.heal("broker");
  await clock.advance(20);
  assert.deepEqual(farEvents, ["open", "one", "two"]);
  assert.deepEqual(nearEvents, ["open", "answer"]);
  assert.deepEqual(hanging, ["open"]);
});

test("the same seed does the same, another one something else", async () => {
  const run = async (seed: number) => {
    const events: string[] = [];
    const { clock, connect } = await setUp({
      random: new SeededRandom(seed),
      splitProbability: 0.5,
      cutProbability: 0.02,
      trace: (event) => events.push(event),
    });
    const { near } = await connect();
    for (let index = 0; index < 50; index++) near.write([Buffer.from(`some text, number ${index}`)]);
    await clock.advance(100);
    return events;
  };

  const first = await run(1);

  assert.ok(first.length > 10);
  assert.deepEqual(await run(1), first);
  assert.notDeepEqual(await run(2), first);
});
