/**
 * InitProducerId: an id for an idempotent producer.
 *
 * v0–5. A producer that asks again, to start a new epoch, gets a new id, as from Kafka. Transactional ids are refused:
 * there are no transactions yet.
 */

import { initProducerIdApi, KafkaError } from "@millrace/protocol";
import { defineHandler, NO_ERROR } from "../handler.ts";

const FIRST_EPOCH = 0;

export const initProducerIdHandler = defineHandler({
  api: initProducerIdApi,
  versions: [0, 5],

  async handle({ transactionalId }, { access, broker }) {
    if (transactionalId !== null) throw new KafkaError("INVALID_REQUEST", "this broker has no transactions");
    // Whoever may write anywhere may do so idempotently (KIP-679).
    if (!access.allowsSomewhere("WRITE", "TOPIC")) access.expectCluster("IDEMPOTENT_WRITE");
    return { errorCode: NO_ERROR, producerId: await broker.producerIds.allocate(), producerEpoch: FIRST_EPOCH };
  },

  errorResponse: (_request, errorCode) => ({ errorCode, producerEpoch: -1 }),
});
