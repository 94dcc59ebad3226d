/** Produce with an Idempotency-Key: the first request is done and its answer kept; the same one sent again is given that. */

import { createHash } from "node:crypto";
import type { Clock } from "@millrace/base";
import { KafkaError } from "@millrace/protocol";
import type { FastifyReply, FastifyRequest } from "fastify";
import { type StoredAnswer, sendAnswer } from "../answers.ts";
import { acceptedAnswer } from "../async/async-handlers.ts";
import type { GatewayContext } from "../context.ts";
import { RequestError } from "../errors.ts";
import type { ProduceRequest } from "../produce-request.ts";
import { causeOf } from "../produce-response.ts";
import type { ProduceSettings } from "../produce-settings.ts";
import type { ProducerContext } from "../producer-context.ts";
import { RecordOutcomes } from "../record-outcomes.ts";
import type { ScannedRecords } from "../scanned-records.ts";
import { isTraceHeader } from "../trace-headers.ts";
import type { Attempt } from "./idempotency-keys.ts";

const KEY = /^[\x20-\x7e]{1,255}$/;

/** Of the request; null if it has none. Throws RequestError INVALID_PARAMETER for what is no key. */
export function idempotencyKeyOf({ headers }: FastifyRequest): string | null {
  const key = headers["idempotency-key"];
  if (key === undefined) return null;
  if (typeof key === "string" && KEY.test(key)) return key;
  const message = "must be 1 to 255 printable ASCII characters";
  throw new RequestError("INVALID_PARAMETER", `Idempotency-Key ${message}`, {
    details: [{ field: "idempotency-key", message }],
  });
}

export interface IdempotentProduce {
  readonly key: string;
  readonly produce: ProduceRequest;
  readonly settings: ProduceSettings;
  readonly records: ScannedRecords;
  /** Of one that is not async. */
  readonly createProducer: () => ProducerContext;
  readonly answerOf: (outcomes: RecordOutcomes) => StoredAnswer;
}

/** Rejects as IdempotencyKeys.begin does, and as the request would without a key. */
export async function produceOnce(
  context: GatewayContext,
  given: IdempotentProduce,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { asyncRequests, idempotencyKeys } = context;
  const { key, produce, settings } = given;
  const scope = { ownerId: request.principal.id, topic: produce.topic, key };
  const requestId = settings.isAsync ? asyncRequests.newId() : null;
  const begun = await idempotencyKeys.begin(scope, fingerprintOf(produce), requestId);
  if (begun.kind === "again") return sendAnswer(begun.answer, reply.header("idempotency-replayed", "true"));
  const { attempt } = begun;
  try {
    if (requestId === null) return sendAnswer(await produceFirst(attempt, given, context.options.clock), reply);
    await asyncRequests.accept(produce, scope.ownerId, given.records, requestId);
    const answer = acceptedAnswer(requestId);
    await attempt.answered(answer);
    return sendAnswer(answer, reply);
  } catch (error) {
    const isUndone = error instanceof RequestError || (error instanceof KafkaError && error.persisted === "no");
    if (isUndone) await attempt.undone();
    else attempt.inDoubt();
    throw error;
  }
}

/**
 * As without a key, but that the fate of records is waited for when timeout_ms are over: their sender, who then sends the
 * same again, is told of it.
 */
async function produceFirst(attempt: Attempt, given: IdempotentProduce, clock: Clock): Promise<StoredAnswer> {
  const { produce, settings, records, answerOf } = given;
  const outcomes = new RecordOutcomes(records.length);
  const sent = given.createProducer().send(produce.body, records, outcomes);
  if (settings.isAtomic) await sent;
  // What could not be handed over has no fate to wait for.
  const settled = Promise.race([outcomes.settled, sent.then(() => outcomes.settled)]);
  if (settings.timeoutMs === null || (await isWithin(settings.timeoutMs, settled, clock))) {
    await settled;
    return settle(attempt, outcomes, answerOf(outcomes));
  }
  const message = `${produce.topic}: not acknowledged within timeout_ms (${settings.timeoutMs})`;
  const late = new KafkaError("TIMED_OUT", message, { persisted: "maybe" });
  const answer = answerOf(withoutPending(outcomes, late));
  void settled.then(() => settle(attempt, outcomes, answerOf(outcomes))).catch(() => attempt.inDoubt());
  return answer;
}

/** Resolves once the attempt's end is written down. */
async function settle(attempt: Attempt, outcomes: RecordOutcomes, answer: StoredAnswer): Promise<StoredAnswer> {
  await (isUndone(outcomes) ? attempt.undone() : attempt.answered(answer));
  return answer;
}

/** Nothing is stored, for a reason that may pass: the same request may go better the next time. */
function isUndone(outcomes: RecordOutcomes): boolean {
  if (outcomes.storedCount > 0 || causeOf(outcomes) === null) return false;
  for (const failure of outcomes.failures()) {
    if (failure instanceof KafkaError && failure.persisted !== "no") return false;
  }
  return true;
}

function isWithin(timeoutMs: number, settled: Promise<void>, clock: Clock): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = clock.schedule(timeoutMs, () => resolve(false));
    settled.then(() => resolve(true), reject).finally(() => timer.cancel());
  });
}

/** The outcomes as they are now, with those that have no fate yet failed. */
function withoutPending(outcomes: RecordOutcomes, failure: KafkaError): RecordOutcomes {
  const copy = new RecordOutcomes(outcomes.recordCount);
  for (let slot = 0; slot < outcomes.recordCount; slot++) {
    const receipt = outcomes.receipt(slot);
    if (receipt === null) copy.fail(outcomes.failure(slot) ?? failure, slot);
    else copy.succeed(receipt, outcomes.place(slot), slot);
  }
  return copy;
}

/** Of all that the records are made of, and how they are stored. A retry has a trace of its own. */
function fingerprintOf({ query, mediaType, rawHeaders, body }: ProduceRequest): string {
  const headers: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? "").toLowerCase();
    if (!isTraceHeader(name)) headers.push(name, rawHeaders[index + 1] ?? "");
  }
  const parameters = Object.entries(query).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256")
    .update(JSON.stringify([parameters, mediaType ?? null, headers]))
    .update(body)
    .digest("base64url");
}
