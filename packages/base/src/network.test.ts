import assert from "node:assert/strict";
import { test } from "node:test";
import { networkSuite, waitUntil } from "@millrace/testing";
import { InProcessNetwork } from "./in-process-network.ts";
import { formatAddress, parseAddress } from "./network.ts";
import { tcpNetwork } from "./tcp-network.ts";

networkSuite("TcpNetwork", () => ({ network: tcpNetwork, host: "127.0.0.1", until: waitUntil }));
networkSuite("InProcessNetwork", () => ({ network: new InProcessNetwork(), host: "here", until: waitUntil }));

test("an address is read with and without a port, and in brackets for IPv6", () => {
  assert.deepEqual(parseAddress("broker-1.example:9092"), { host: "broker-1.example", port: 9092 });
  assert.deepEqual(parseAddress(" localhost "), null);
  assert.deepEqual(parseAddress(" localhost ", 9092), { host: "localhost", port: 9092 });
  assert.deepEqual(parseAddress("[::1]:80"), { host: "::1", port: 80 });
  assert.deepEqual(parseAddress("[::1]", 9092), { host: "::1", port: 9092 });
});

test("an address that is none is refused", () => {
  for (const text of ["", ":9092", "host:", "host:port", "host:65536", "::1", "::1:9092", "a b:1", "http://host:1"]) {
    assert.equal(parseAddress(text, 9092), null, text);
  }
});

test("a formatted address is read again as the same", () => {
  for (const address of [
    { host: "::1", port: 9092 },
    { host: "127.0.0.1", port: 1 },
  ]) {
    assert.deepEqual(parseAddress(formatAddress(address)), address);
  }
});
