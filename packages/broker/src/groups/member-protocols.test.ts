import assert from "node:assert/strict";
import { test } from "node:test";
import type { Member } from "./group-member.ts";
import { areSameProtocols, commonProtocols, voteForProtocol } from "./member-protocols.ts";

const protocolsOf = (...names: string[]) => names.map((name) => ({ name, metadata: Buffer.from(name) }));

function memberWith(...names: string[]): Member {
  return {
    memberId: names.join(),
    groupInstanceId: null,
    clientId: "c",
    clientHost: "/127.0.0.1",
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 30_000,
    protocols: protocolsOf(...names),
    assignment: Buffer.alloc(0),
  };
}

test("a member votes for the first of its protocols that all know", () => {
  const members = [memberWith("sticky", "range"), memberWith("range", "roundrobin"), memberWith("roundrobin", "range")];

  assert.deepEqual([...commonProtocols(members)], ["range"]);
  assert.equal(voteForProtocol(members), "range");
});

test("of two protocols with as many votes the one first voted for wins", () => {
  const members = [memberWith("range", "sticky"), memberWith("sticky", "range")];

  assert.equal(voteForProtocol(members), "range");
});

test("members that have nothing in common choose nothing", () => {
  assert.equal(voteForProtocol([memberWith("range"), memberWith("sticky")]), null);
});

test("protocols are the same only in the same order and with the same bytes", () => {
  assert.equal(areSameProtocols(protocolsOf("range", "sticky"), protocolsOf("range", "sticky")), true);
  assert.equal(areSameProtocols(protocolsOf("range", "sticky"), protocolsOf("sticky", "range")), false);
  assert.equal(areSameProtocols(protocolsOf("range"), [{ name: "range", metadata: Buffer.from("other") }]), false);
  assert.equal(areSameProtocols(protocolsOf("range"), protocolsOf("range", "sticky")), false);
});
