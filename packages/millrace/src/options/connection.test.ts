import assert from "node:assert/strict";
import { test } from "node:test";
import { defineOptions } from "@millrace/base";
import { clientConfig, clientVariable, connectionEntries, connectionRules } from "./connection.ts";

const table = defineOptions(connectionEntries, connectionRules);

test("a broker without a port gets Kafka's", () => {
  const { brokers } = table.resolve({ brokers: "kafka-1,kafka-2:9093,[::1]" });

  assert.deepEqual(brokers, ["kafka-1:9092", "kafka-2:9093", "[::1]:9092"]);
  assert.throws(
    () => table.resolve({ brokers: "a b" }),
    /must be host:port, or several with commas between; a b is not/,
  );
});

test("without any security option the connection is plain", () => {
  const { ssl, sasl } = clientConfig(table.resolve({}));

  assert.deepEqual([ssl, sasl], [null, null]);
});

test("what all client commands share has one variable, what is a command's own has its name in it", () => {
  const variableOf = clientVariable("topics create");

  assert.equal(variableOf("brokers"), "MILLRACE_BROKERS");
  assert.equal(variableOf("saslPassword"), "MILLRACE_SASL_PASSWORD");
  assert.equal(variableOf("partitions"), "MILLRACE_TOPICS_CREATE_PARTITIONS");
  assert.equal(variableOf("config"), "MILLRACE_TOPICS_CREATE_CONFIG");
});
