/** What a promise was rejected with: a KafkaError, or the test fails. */

import assert from "node:assert/strict";
import { KafkaError } from "@millrace/protocol";

export async function rejectionOf(promise: Promise<unknown>): Promise<KafkaError> {
  const error = await promise.then(
    () => assert.fail("expected a rejection"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof KafkaError, `expected a KafkaError, found ${String(error)}`);
  return error;
}
