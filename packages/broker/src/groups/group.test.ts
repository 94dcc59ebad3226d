import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger, VirtualClock } from "@millrace/base";
import { consumerProtocolSubscription, encodeVersioned, type KafkaError } from "@millrace/protocol";
import { type BrokerOptions, brokerOptions } from "../options.ts";
import { Group } from "./group.ts";
import type { JoinRequest, JoinResult } from "./group-requests.ts";

const SESSION_MS = 10_000;
const REBALANCE_MS = 30_000;
const ROUND_ROBIN = [{ name: "roundrobin", metadata: Buffer.from("r") }];

/** A clock that jumps: its timers come late by as much, as after a laptop slept. */
class StallingClock extends VirtualClock {
  stalledMs = 0;

  override nowMs(): number {
    return super.nowMs() + this.stalledMs;
  }
}

interface TestGroup {
  readonly group: Group;
  readonly clock: StallingClock;
  join(request?: Partial<JoinRequest>): Promise<JoinResult>;
  /** The first join of a new client and the second one with the id that it was given. */
  enter(request?: Partial<JoinRequest>): Promise<JoinResult>;
  sync(joined: JoinResult, assignments?: Record<string, string>): Promise<string>;
  heartbeat(joined: JoinResult): string;
}

function testGroup(options: BrokerOptions = {}, persist: () => Promise<void> = async () => {}): TestGroup {
  const clock = new StallingClock();
  let idCount = 0;
  const group = new Group({
    groupId: "g",
    clock,
    logger: silentLogger,
    options: brokerOptions.resolve(options),
    persist,
    newMemberId: (prefix) => `${prefix}-${++idCount}`,
  });
  const join = (request: Partial<JoinRequest> = {}) =>
    group.join({
      memberId: "",
      groupInstanceId: null,
      clientId: "c",
      clientHost: "/127.0.0.1",
      sessionTimeoutMs: SESSION_MS,
      rebalanceTimeoutMs: REBALANCE_MS,
      protocolType: "consumer",
      protocols: ROUND_ROBIN,
      mustKnowMemberId: true,
      canSkipAssignment: true,
      ...request,
    });
  const claimOf = ({ memberId, generationId }: JoinResult) => ({ memberId, generationId, groupInstanceId: null });
  return {
    group,
    clock,
    join,
    enter: async (request = {}) => {
      const { memberId } = await join(request);
      return join({ ...request, memberId });
    },
    sync: async (joined, assignments = {}) => {
      const given = Object.entries(assignments).map(([memberId, text]) => ({
        memberId,
        assignment: Buffer.from(text),
      }));
      const request = { ...claimOf(joined), protocolType: null, protocolName: null, assignments: given };
      return (await group.sync(request)).assignment.toString();
    },
    heartbeat: (joined) => codeOf(() => group.heartbeat(claimOf(joined))),
  };
}

function codeOf(action: () => void): string {
  try {
    action();
    return "NONE";
  } catch (error) {
    return (error as KafkaError).code; // all that groups throw is a KafkaError
  }
}

/** A stable group of two: the leader and a follower. */
async function groupOfTwo(options: BrokerOptions = {}) {
  const group = testGroup(options);
  const alone = await group.enter();
  await group.sync(alone);
  const [follower, leader] = await Promise.all([group.enter(), group.join({ memberId: alone.memberId })]);
  const [first, second] = await Promise.all([
    group.sync(leader, { [leader.memberId]: "A", [follower.memberId]: "B" }),
    group.sync(follower),
  ]);
  return { ...group, leader, follower, first, second };
}

test("a new member is given an id first, and must come back with it", async () => {
  const { join } = testGroup();

  const first = await join();
  const second = await join({ memberId: first.memberId });

  assert.equal(first.error, "MEMBER_ID_REQUIRED");
  assert.notEqual(first.memberId, "");
  assert.equal(second.error, null);
  assert.equal(second.generationId, 1);
  assert.equal(second.leaderId, first.memberId);
});

test("an old client joins without being asked to come back", async () => {
  const { join } = testGroup();

  const joined = await join({ mustKnowMemberId: false });

  assert.equal(joined.error, null);
  assert.equal(joined.members.length, 1);
});

test("only the leader learns who is in the group, and each member gets its own assignment", async () => {
  const { leader, follower, first, second, group } = await groupOfTwo();

  assert.equal(leader.members.length, 2);
  assert.equal(follower.members.length, 0);
  assert.equal(first, "A");
  assert.equal(second, "B");
  assert.equal(group.state, "Stable");
});

test("a member that the leader leaves out gets an empty assignment", async () => {
  const { enter, sync } = testGroup();
  const joined = await enter();

  assert.equal(await sync(joined, {}), "");
});

test("a member that joins makes the others join again: their heartbeats say so", async () => {
  const { group, enter, sync, heartbeat, join } = testGroup();
  const alone = await enter();
  await sync(alone);
  assert.equal(heartbeat(alone), "NONE");

  const newcomer = enter();
  await Promise.resolve();
  await Promise.resolve();

  assert.equal(group.state, "PreparingRebalance");
  assert.equal(heartbeat(alone), "REBALANCE_IN_PROGRESS");
  const again = await join({ memberId: alone.memberId });
  assert.equal(again.generationId, 2);
  assert.equal((await newcomer).generationId, 2);
});

test("a member that does not join again within the rebalance timeout is left out", async () => {
  const { clock, enter, sync, heartbeat } = testGroup();
  const alone = await enter();
  await sync(alone);

  const newcomer = enter();
  await clock.advance(REBALANCE_MS / 2);
  heartbeat(alone);
  await clock.advance(REBALANCE_MS / 2);

  assert.equal((await newcomer).leaderId, (await newcomer).memberId);
  assert.equal(heartbeat(alone), "UNKNOWN_MEMBER_ID");
});

test("a member that says nothing for its session timeout is gone, and the rest rebalance", async () => {
  const { clock, leader, follower, group, heartbeat } = await groupOfTwo();

  await clock.advance(SESSION_MS - 1);
  heartbeat(leader);
  await clock.advance(1);

  assert.equal(heartbeat(follower), "UNKNOWN_MEMBER_ID");
  assert.equal(group.state, "PreparingRebalance");
  assert.equal(group.members.length, 1);
});

test("a member that waits for its rebalance is not taken for silent", async () => {
  const { clock, enter, sync, join, heartbeat } = testGroup();
  const alone = await enter();
  await sync(alone);
  const newcomer = enter();
  for (let waitedMs = 0; waitedMs < 2 * SESSION_MS; waitedMs += SESSION_MS / 2) {
    await clock.advance(SESSION_MS / 2);
    heartbeat(alone);
  }

  const again = await join({ memberId: alone.memberId });

  assert.equal((await newcomer).error, null);
  assert.equal(again.members.length, 2);
});

test("after the process stood still, members get one more session before they are taken for gone", async () => {
  const { clock, group, leader, heartbeat } = await groupOfTwo();
  clock.stalledMs = 60 * SESSION_MS;

  await clock.advance(SESSION_MS);
  const membersAfterSleep = group.members.length;
  await clock.advance(SESSION_MS - 1);
  heartbeat(leader);
  await clock.advance(1);

  assert.equal(membersAfterSleep, 2);
  assert.deepEqual(
    group.members.map(({ memberId }) => memberId),
    [leader.memberId],
  );
});

test("a member that leaves makes the rest rebalance at once", async () => {
  const { group, leader, follower, heartbeat } = await groupOfTwo();

  group.leave(follower.memberId, null);

  assert.equal(heartbeat(leader), "REBALANCE_IN_PROGRESS");
  assert.equal(group.members.length, 1);
});

test("a group whose last member leaves is empty, with a new generation", async () => {
  const { group, enter, sync } = testGroup();
  const joined = await enter();
  await sync(joined);

  group.leave(joined.memberId, null);

  assert.equal(group.state, "Empty");
  assert.equal(group.snapshot().generationId, joined.generationId + 1);
});

test("a follower that joins again unchanged stays in its generation; a leader starts a rebalance", async () => {
  const { group, join, leader, follower } = await groupOfTwo();

  const same = await join({ memberId: follower.memberId });
  const stateBefore = group.state;
  const again = join({ memberId: leader.memberId });

  assert.equal(same.generationId, leader.generationId);
  assert.equal(stateBefore, "Stable");
  assert.equal(group.state, "PreparingRebalance");
  await join({ memberId: follower.memberId });
  assert.equal((await again).generationId, leader.generationId + 1);
});

test("a member whose subscription changed starts a rebalance", async () => {
  const { group, join, follower } = await groupOfTwo();

  void join({ memberId: follower.memberId, protocols: [{ name: "roundrobin", metadata: Buffer.from("other") }] });

  assert.equal(group.state, "PreparingRebalance");
});

test("a join answer that got lost is given again while the assignment is awaited", async () => {
  const { join, enter } = testGroup();
  const joined = await enter();

  const again = await join({ memberId: joined.memberId });

  assert.deepEqual(again, joined);
});

test("the protocol that most members prefer of those that all know is chosen", async () => {
  const protocols = (...names: string[]) => names.map((name) => ({ name, metadata: Buffer.from(name) }));
  const group = testGroup({ groupInitialRebalanceDelayMs: 100 });
  const joins = [protocols("sticky", "range"), protocols("range", "sticky"), protocols("range", "sticky", "x")].map(
    (known) => group.join({ mustKnowMemberId: false, protocols: known }),
  );
  await group.clock.advance(1000);

  const results = await Promise.all(joins);

  assert.deepEqual([...new Set(results.map(({ protocolName }) => protocolName))], ["range"]);
  assert.equal(results.filter(({ members }) => members.length === 3).length, 1);
  assert.equal((await group.join({ protocols: [] })).error, "INCONSISTENT_GROUP_PROTOCOL");
});

test("a member that knows no protocol that the others know, or is of another type, is refused", async () => {
  const { join } = await groupOfTwo();

  const stranger = await join({ protocols: [{ name: "other", metadata: Buffer.alloc(0) }] });
  const connector = await join({ protocolType: "connect" });

  assert.equal(stranger.error, "INCONSISTENT_GROUP_PROTOCOL");
  assert.equal(connector.error, "INCONSISTENT_GROUP_PROTOCOL");
});

test("an id that was given out and never came back holds up a rebalance no longer than a session", async () => {
  const { clock, enter, sync, join } = testGroup();
  const alone = await enter();
  await sync(alone);
  await join();
  const again = join({ memberId: alone.memberId });

  await clock.advance(SESSION_MS);

  assert.equal((await again).generationId, 2);
});

test("followers wait for the leader's assignment; if it never comes they are told to join again", async () => {
  const { clock, enter, sync, join } = testGroup();
  const alone = await enter();
  await sync(alone);
  const newcomer = enter();
  const leader = await join({ memberId: alone.memberId, sessionTimeoutMs: 10 * REBALANCE_MS });
  const follower = await newcomer;
  const synced = sync(follower);

  const rejected = assert.rejects(synced, { code: "REBALANCE_IN_PROGRESS" });
  await clock.advance(REBALANCE_MS);

  await rejected;
  assert.equal(leader.generationId, 2);
});

test("a member that shows itself and never asks for its assignment is left out, so that others get its share", async () => {
  const { clock, enter, group, heartbeat, join, sync } = testGroup();
  const alone = await enter();
  await sync(alone);
  const [silent, leader] = await Promise.all([enter(), join({ memberId: alone.memberId })]);
  await sync(leader, { [leader.memberId]: "A", [silent.memberId]: "B" });

  for (let passedMs = 0; passedMs < REBALANCE_MS; passedMs += SESSION_MS / 2) {
    assert.deepEqual([heartbeat(leader), heartbeat(silent)], ["NONE", "NONE"]);
    await clock.advance(SESSION_MS / 2);
  }

  assert.equal(heartbeat(silent), "UNKNOWN_MEMBER_ID");
  assert.equal(heartbeat(leader), "REBALANCE_IN_PROGRESS");
  assert.equal(group.members.length, 1);
});

test("an assignment that cannot be stored is not given out", async () => {
  let isBroken = true;
  const { enter, sync, group } = testGroup({}, async () => {
    if (isBroken) throw new Error("disk");
  });
  const joined = await enter();

  await assert.rejects(sync(joined, { [joined.memberId]: "A" }), { code: "REBALANCE_IN_PROGRESS" });

  assert.equal(group.state, "PreparingRebalance");
  isBroken = false;
});

test("a generation that is over is refused", async () => {
  const { leader, heartbeat, sync } = await groupOfTwo();
  const stale = { ...leader, generationId: leader.generationId - 1 };

  assert.equal(heartbeat(stale), "ILLEGAL_GENERATION");
  await assert.rejects(sync(stale), { code: "ILLEGAL_GENERATION" });
});

test("a static member that restarts takes its place again without a rebalance", async () => {
  const { group, join, sync } = testGroup();
  const first = await join({ groupInstanceId: "i1" });
  await sync(first, { [first.memberId]: "A" });

  const second = await join({ groupInstanceId: "i1" });

  assert.notEqual(second.memberId, first.memberId);
  assert.equal(second.generationId, first.generationId);
  assert.equal(second.skipAssignment, true);
  assert.equal(group.state, "Stable");
  assert.equal(await sync(second), "A");
  const claim = { memberId: first.memberId, groupInstanceId: "i1", generationId: first.generationId };
  assert.equal(
    codeOf(() => group.heartbeat(claim)),
    "FENCED_INSTANCE_ID",
  );
});

test("a static consumer that restarts owning nothing yet is given its place, however it told of itself before", async () => {
  const { group, join, sync } = testGroup();
  const protocols = (ownedPartitions: number[]) => [
    {
      name: "cooperative-sticky",
      metadata: encodeVersioned(consumerProtocolSubscription, 1, {
        topics: ["t", "u"],
        userData: null,
        ownedPartitions: [{ topic: "t", partitions: ownedPartitions }],
      }),
    },
  ];
  const first = await join({ groupInstanceId: "i1", protocols: protocols([0, 1]) });
  await sync(first, { [first.memberId]: "A" });

  const second = await join({ groupInstanceId: "i1", protocols: protocols([]) });

  assert.equal(second.generationId, first.generationId);
  assert.equal(group.state, "Stable");
  assert.equal(await sync(second), "A");
});

test("a static member that comes back wanting something else starts a rebalance", async () => {
  const { join, sync } = testGroup();
  const first = await join({ groupInstanceId: "i1" });
  await sync(first);

  const second = await join({
    groupInstanceId: "i1",
    protocols: [{ name: "roundrobin", metadata: Buffer.from("changed") }],
  });

  assert.equal(second.generationId, first.generationId + 1);
  assert.equal(second.skipAssignment, false);
});

test("a static member keeps its place while it is away, until its session times out", async () => {
  const { clock, group, join, sync } = testGroup();
  const member = await join({ groupInstanceId: "i1" });
  await sync(member);

  await clock.advance(SESSION_MS - 1);
  const membersBefore = group.members.length;
  await clock.advance(1);

  assert.equal(membersBefore, 1);
  assert.equal(group.members.length, 0);
});

test("a static member may leave by its instance id alone", async () => {
  const { group, join } = testGroup();
  await join({ groupInstanceId: "i1" });

  group.leave("", "i1");

  assert.equal(group.members.length, 0);
});

test("with an initial delay a new group waits for more members, as long as they keep coming", async () => {
  const { clock, join } = testGroup({ groupInitialRebalanceDelayMs: 3000 });
  const first = join({ mustKnowMemberId: false });
  await clock.advance(2000);
  const second = join({ mustKnowMemberId: false });
  await clock.advance(2000);
  const third = join({ mustKnowMemberId: false });
  await clock.advance(3000);

  const results = await Promise.all([first, second, third]);

  assert.deepEqual([...new Set(results.map(({ generationId }) => generationId))], [1]);
});

test("no more members than may be are let in", async () => {
  const { enter, join } = testGroup({ groupMaxSize: 1 });
  await enter();

  assert.equal((await join()).error, "GROUP_MAX_SIZE_REACHED");
});

test("offsets may be committed by members of the generation, and without one while nobody is in the group", async () => {
  const { group, enter, sync } = testGroup();
  const nobody = { memberId: "", groupInstanceId: null, generationId: -1 };
  group.checkCommit(nobody);
  const joined = await enter();
  const claim = { memberId: joined.memberId, groupInstanceId: null, generationId: joined.generationId };

  assert.equal(
    codeOf(() => group.checkCommit(claim)),
    "REBALANCE_IN_PROGRESS",
  );
  await sync(joined);
  group.checkCommit(claim);
  assert.equal(
    codeOf(() => group.checkCommit({ ...claim, generationId: 7 })),
    "ILLEGAL_GENERATION",
  );
  assert.equal(
    codeOf(() => group.checkCommit(nobody)),
    "UNKNOWN_MEMBER_ID",
  );
});

test("a restored group goes on where it was, and forgets members that do not show themselves", async () => {
  const { group: before, leader } = await groupOfTwo();
  const { group, clock, heartbeat } = testGroup();

  group.restore(before.snapshot());
  assert.equal(group.state, "Stable");
  assert.equal(heartbeat(leader), "NONE");
  await clock.advance(SESSION_MS);

  assert.equal(group.members.length, 0);
  assert.equal(group.state, "Empty");
});

test("ending a group tells all who wait", async () => {
  const { group, enter, sync } = testGroup();
  const alone = await enter();
  await sync(alone);
  const newcomer = enter();
  await Promise.resolve();
  await Promise.resolve();

  group.end();

  assert.equal((await newcomer).error, "COORDINATOR_NOT_AVAILABLE");
});
