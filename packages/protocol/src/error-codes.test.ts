import assert from "node:assert/strict";
import { test } from "node:test";
import { errorByCode, errorByNumber, errorEntries, isErrorCode } from "./error-codes.ts";
import { BrokerError, isRetriable, KafkaError, WireError } from "./errors.ts";

const LAST_KAFKA_NUMBER = 133;

// Both lists as the exceptions of kafka-clients 4.3.1 derive from RetriableException and InvalidMetadataException.
const retriableNumbers = [
  2, 3, 5, 6, 7, 9, 13, 14, 15, 16, 19, 20, 41, 51, 56, 70, 71, 72, 74, 75, 78, 80, 83, 84, 88, 89, 100, 103, 106, 122,
  123, 133,
];
const staleMetadataNumbers = [3, 5, 6, 9, 13, 56, 72, 74, 80, 83, 84, 100, 103];

const kafkaEntries = Array.from({ length: LAST_KAFKA_NUMBER + 2 }, (_, index) => errorByNumber(index - 1));

test("every number of Kafka's, from -1 to the last, has its own entry", () => {
  const numbers = kafkaEntries.map((entry) => entry.number);
  const codes = new Set(kafkaEntries.map((entry) => entry.code));

  assert.deepEqual(
    numbers,
    numbers.map((_, index) => index - 1),
  );
  assert.equal(codes.size, kafkaEntries.length);
});

test("an error is retriable where Kafka's exception is", () => {
  const numbers = kafkaEntries.filter((entry) => entry.retriable).map((entry) => entry.number);

  assert.deepEqual(numbers, retriableNumbers);
});

test("an error asks for fresh metadata where Kafka's exception is an InvalidMetadataException", () => {
  const numbers = kafkaEntries.filter((entry) => entry.refreshMetadata).map((entry) => entry.number);

  assert.deepEqual(numbers, staleMetadataNumbers);
});

test("a number that the table does not have keeps its number and is not retried", () => {
  const entry = errorByNumber(9999);

  assert.equal(entry.number, 9999);
  assert.equal(entry.code, "UNKNOWN_SERVER_ERROR");
  assert.equal(entry.retriable, false);
  assert.match(entry.advice, /9999/);
});

test("our own codes do not take a number from Kafka's table", () => {
  assert.equal(errorByNumber(-1).code, "UNKNOWN_SERVER_ERROR");
  assert.equal(errorByCode("CIRCUIT_OPEN").number, -1);
});

test("every entry tells in a sentence what to do, and has an HTTP status for failures", () => {
  for (const entry of errorEntries) {
    assert.match(entry.advice, /^[A-Z].*\.$/, entry.code);
    if (entry.code !== "NONE") assert(entry.httpStatus >= 400 && entry.httpStatus < 600, entry.code);
  }
});

test("a retriable error is not answered as the caller's fault, unless it is one to wait for", () => {
  const blaming = errorEntries.filter((entry) => entry.retriable && entry.httpStatus === 400).map(({ code }) => code);

  assert.deepEqual(blaming, ["CORRUPT_MESSAGE"]);
});

test("a code is known by its name alone, and names that every object has are no codes", () => {
  assert.equal(isErrorCode("NOT_COORDINATOR"), true);
  assert.equal(isErrorCode("toString"), false);
});

test("an error takes what it knows from the table, unless told otherwise", () => {
  assert.equal(new KafkaError("REQUEST_TIMED_OUT", "no answer").retriable, true);
  assert.equal(new KafkaError("REQUEST_TIMED_OUT", "no answer", { retriable: false }).retriable, false);
  assert.equal(isRetriable(new WireError("too short", 3)), false);
  assert.equal(isRetriable(new Error("anything else")), false);
});

test("a broker's error says where, which, and the broker's own words if it had any", () => {
  const silent = BrokerError.fromNumber(29, "produce to orders-3");
  const talkative = BrokerError.fromNumber(29, "produce to orders-3", "User:bob may not");

  assert.equal(silent.message, "produce to orders-3: TOPIC_AUTHORIZATION_FAILED: Give the user an ACL for this topic.");
  assert.equal(talkative.message, "produce to orders-3: TOPIC_AUTHORIZATION_FAILED: User:bob may not");
  assert.equal(talkative.errorNumber, 29);
});
