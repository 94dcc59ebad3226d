import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { InProcessNetwork, SeededRandom, VirtualClock } from "@millrace/base";
import { KafkaError, metadataApi } from "@millrace/protocol";
import { rejectionOf, ScriptedBroker, scriptedTopic } from "@millrace/testing";
import { commonOptions } from "../common-options.ts";
import { Cluster } from "./cluster.ts";
import type { TopicMetadata } from "./topic-metadata.ts";

type Topic = ReturnType<typeof scriptedTopic>;

const RECREATED_ID = "BBBBBBBBBBBBBBBBBBBBBA";
const FIRST_ID = "CCCCCCCCCCCCCCCCCCCCCA";
const UNKNOWN_TOPIC = 3;
const LEADER_NOT_AVAILABLE = 5;

const network = new InProcessNetwork();
let clock: VirtualClock;
let broker: ScriptedBroker;
let cluster: Cluster;
/** What the broker knows, by name. */
let topics: Map<string, Topic>;
let asked: { names: (string | null)[] | null; allowAutoTopicCreation: boolean }[];

beforeEach(async () => {
  clock = new VirtualClock();
  broker = await ScriptedBroker.listen(network);
  topics = new Map();
  asked = [];
  broker.on(metadataApi, (request) => {
    const { allowAutoTopicCreation } = request;
    const names = request.topics?.map((topic) => topic.name) ?? null;
    asked.push({ names, allowAutoTopicCreation });
    return {
      brokers: [{ nodeId: 1, ...broker.address }],
      controllerId: 1,
      topics: (names ?? [...topics.keys()]).map(
        (name) => topics.get(name ?? "") ?? scriptedTopic(name ?? "", undefined),
      ),
    };
  });
  cluster = new Cluster(
    commonOptions.resolve({ bootstrapServers: broker.server, network, clock, random: new SeededRandom(1) }),
  );
});

afterEach(async () => {
  await cluster.close();
  await broker.close();
});

function fetch(name: string, timeoutMs = 10_000, allowAutoTopicCreation = false): Promise<TopicMetadata> {
  const fetched = cluster.metadata.fetchTopic(name, { allowAutoTopicCreation, deadlineMs: clock.nowMs() + timeoutMs });
  return clock.runUntil(fetched, 60_000);
}

/** A refresh, and the end of the request that it leads to. */
async function refresh(): Promise<void> {
  const count = asked.length;
  cluster.metadata.requestRefresh();
  for (let step = 0; step < 100 && asked.length === count; step++) await clock.advance(100);
  await clock.advance(1);
}

test("a topic that was fetched is known without asking again", async () => {
  topics.set("orders", scriptedTopic("orders", [{ leaderId: 1, leaderEpoch: 7 }]));

  const topic = await fetch("orders");

  assert.equal(cluster.metadata.topic("orders"), topic);
  assert.deepEqual(cluster.metadata.partition("orders", 0), {
    partition: 0,
    leaderId: 1,
    leaderEpoch: 7,
    replicas: [1],
    isr: [1],
  });
  assert.equal(cluster.metadata.partition("orders", 1), undefined);
  assert.equal(cluster.metadata.topic("other"), undefined);
  assert.equal(asked.length, 1);
});

test("topics that are wanted in the same turn share one request", async () => {
  for (const name of ["a", "b", "c"]) topics.set(name, scriptedTopic(name, [{ leaderId: 1 }]));
  const deadlineMs = 1000;

  const fetched = ["a", "b", "c", "a"].map((name) =>
    cluster.metadata.fetchTopic(name, { allowAutoTopicCreation: false, deadlineMs }),
  );
  await clock.runUntil(Promise.all(fetched), 1000);

  assert.deepEqual(
    asked.map((request) => request.names),
    [["a", "b", "c"]],
  );
});

test("without auto-creation a missing topic is an error at once", async () => {
  const error = await rejectionOf(fetch("nope"));

  assert.equal(error.code, "UNKNOWN_TOPIC_OR_PARTITION");
  assert.equal(error.persisted, "no");
  assert.match(error.message, /topic nope/);
  assert.equal(asked.length, 1);
  assert.equal(asked[0]?.allowAutoTopicCreation, false);
});

test("with auto-creation a missing topic is asked for until it is there and has a leader", async () => {
  let answerCount = 0;
  broker.on(metadataApi, (request) => {
    answerCount += 1;
    asked.push({ names: [], allowAutoTopicCreation: request.allowAutoTopicCreation });
    const stages = [
      scriptedTopic("new", undefined),
      { ...scriptedTopic("new", undefined), errorCode: LEADER_NOT_AVAILABLE },
      scriptedTopic("new", [{ leaderId: -1 }]),
      scriptedTopic("new", [{ leaderId: 1 }]),
    ];
    return { brokers: [{ nodeId: 1, ...broker.address }], topics: stages.slice(answerCount - 1, answerCount) };
  });

  const topic = await fetch("new", 10_000, true);

  assert.equal(topic.partitions[0]?.leaderId, 1);
  assert.equal(answerCount, 4);
  assert.ok(asked.every((request) => request.allowAutoTopicCreation));
});

test("a topic that does not come is given up at the deadline, with the last answer as the cause", async () => {
  const error = await rejectionOf(fetch("never", 5_000, true));

  assert.equal(error.code, "METADATA_TIMEOUT");
  assert.equal(Math.round(clock.nowMs()), 5_000);
  assert.match(error.message, /topic never did not come within 5000 ms; last answer: .*UNKNOWN_TOPIC_OR_PARTITION/);
  assert.ok(error.cause instanceof KafkaError);
  assert.ok(asked.length <= 10, `asked ${asked.length} times in 5 s`);
});

test("the deadline holds while no broker can be reached, and while one says nothing", async () => {
  broker.on(metadataApi, () => null);
  const silent = await rejectionOf(fetch("orders", 2_000));
  await broker.close();
  const unreachable = await rejectionOf(fetch("orders", 2_000));

  assert.equal(silent.code, "METADATA_TIMEOUT");
  assert.match(silent.message, /no broker answered/);
  assert.equal(unreachable.code, "METADATA_TIMEOUT");
  assert.equal(Math.round(clock.nowMs()), 4_000);
});

test("an older leader epoch does not turn back a newer one", async () => {
  topics.set("orders", scriptedTopic("orders", [{ leaderId: 2, leaderEpoch: 5 }]));
  await fetch("orders");

  topics.set("orders", scriptedTopic("orders", [{ leaderId: 1, leaderEpoch: 4 }]));
  await refresh();
  assert.equal(cluster.metadata.partition("orders", 0)?.leaderId, 2);

  topics.set("orders", scriptedTopic("orders", [{ leaderId: 3, leaderEpoch: 6 }]));
  await refresh();
  assert.equal(cluster.metadata.partition("orders", 0)?.leaderId, 3);
});

test("epochs of a topic that was deleted and created anew begin anew", async () => {
  topics.set("orders", scriptedTopic("orders", [{ leaderId: 2, leaderEpoch: 5 }], FIRST_ID));
  await fetch("orders");

  topics.set("orders", scriptedTopic("orders", [{ leaderId: 1, leaderEpoch: 0 }], RECREATED_ID));
  await refresh();

  assert.equal(cluster.metadata.topic("orders")?.topicId, RECREATED_ID);
  assert.equal(cluster.metadata.partition("orders", 0)?.leaderEpoch, 0);
});

test("a topic that vanishes briefly stays known; one that is gone for a minute does not", async () => {
  topics.set("orders", scriptedTopic("orders", [{ leaderId: 1 }]));
  const topic = await fetch("orders");

  topics.set("orders", { ...scriptedTopic("orders", undefined), errorCode: UNKNOWN_TOPIC });
  await refresh();
  assert.equal(cluster.metadata.topic("orders"), topic);

  await clock.advance(61_000);
  await refresh();
  assert.equal(cluster.metadata.topic("orders"), undefined);
});

test("listeners are told of changes, and of each refresh", async () => {
  let callCount = 0;
  const stop = cluster.metadata.onUpdate(() => {
    callCount += 1;
  });
  topics.set("orders", scriptedTopic("orders", [{ leaderId: 1 }]));

  const topic = await fetch("orders");
  assert.equal(callCount, 1);
  await fetch("orders");
  assert.equal(callCount, 1);
  await refresh();
  assert.equal(callCount, 2);
  assert.equal(cluster.metadata.topic("orders"), topic);

  topics.set("orders", scriptedTopic("orders", [{ leaderId: 1 }, { leaderId: 1 }]));
  await refresh();
  assert.equal(callCount, 3);
  stop();
  cluster.metadata.updateLeader({ topic: "orders", partition: 0, leaderId: 9, leaderEpoch: 9 });
  assert.equal(callCount, 3);
});

test("a leader hint is taken if it is newer than what is known", async () => {
  topics.set("orders", scriptedTopic("orders", [{ leaderId: 1, leaderEpoch: 5 }]));
  await fetch("orders");

  cluster.metadata.updateLeader({ topic: "orders", partition: 0, leaderId: 2, leaderEpoch: 5 });
  cluster.metadata.updateLeader({ topic: "orders", partition: 0, leaderId: -1, leaderEpoch: 9 });
  cluster.metadata.updateLeader({ topic: "other", partition: 0, leaderId: 2, leaderEpoch: 9 });
  assert.equal(cluster.metadata.partition("orders", 0)?.leaderId, 1);

  cluster.metadata.updateLeader({ topic: "orders", partition: 0, leaderId: 2, leaderEpoch: 6 });
  assert.equal(cluster.metadata.partition("orders", 0)?.leaderId, 2);
});

test("refreshes that are asked for together are one, and the next waits for the backoff", async () => {
  topics.set("orders", scriptedTopic("orders", [{ leaderId: 1 }]));
  await fetch("orders");

  for (let count = 0; count < 100; count++) cluster.metadata.requestRefresh();
  await clock.advance(1);
  assert.equal(asked.length, 2);

  for (let count = 0; count < 100; count++) cluster.metadata.requestRefresh();
  await clock.advance(90);
  assert.equal(asked.length, 2);
  await clock.advance(50);
  assert.equal(asked.length, 3);
});

test("a refresh that fails is tried again, ever more slowly, until it works", async () => {
  topics.set("orders", scriptedTopic("orders", [{ leaderId: 1 }]));
  await fetch("orders");
  const address = broker.address;
  await broker.close();

  cluster.metadata.requestRefresh();
  await clock.advance(10_000);
  broker = await ScriptedBroker.listen(network, address);
  let isAsked = false;
  broker.on(metadataApi, () => {
    isAsked = true;
    return { brokers: [{ nodeId: 1, ...address }], topics: [] };
  });
  await clock.advance(3_000);

  assert.equal(isAsked, true);
});

test("what is known is asked for again when it is five minutes old", async () => {
  topics.set("orders", scriptedTopic("orders", [{ leaderId: 1 }]));
  await fetch("orders");

  await clock.advance(299_000);
  assert.equal(asked.length, 1);
  await clock.advance(2_000);

  assert.deepEqual(asked[1], { names: ["orders"], allowAutoTopicCreation: false });
});

test("a topic that is not used for five minutes is no longer asked for", async () => {
  for (const name of ["used", "idle"]) topics.set(name, scriptedTopic(name, [{ leaderId: 1 }]));
  await fetch("used");
  await fetch("idle");

  for (let minute = 0; minute < 12; minute++) {
    await clock.advance(60_000);
    cluster.metadata.topic("used");
  }

  assert.deepEqual(asked.at(-1)?.names, ["used"]);
  assert.equal(cluster.metadata.topic("idle"), undefined);
});

test("allTopics lists all and follows none of them", async () => {
  for (const name of ["a", "b"]) topics.set(name, scriptedTopic(name, [{ leaderId: 1 }]));

  const all = await clock.runUntil(cluster.metadata.allTopics(), 1000);

  assert.deepEqual(
    all.map((topic) => topic.name),
    ["a", "b"],
  );
  assert.equal(asked[0]?.names, null);
  assert.equal(cluster.metadata.topic("a"), undefined);
});

test("close ends what waits, with ClosedError", async () => {
  broker.on(metadataApi, () => null);
  const pending = rejectionOf(
    cluster.metadata.fetchTopic("orders", { allowAutoTopicCreation: true, deadlineMs: 60_000 }),
  );
  await clock.advance(100);

  await cluster.close();

  assert.equal((await pending).code, "CLOSED");
  await clock.advance(600_000);
});
