/** DescribeProducers: who wrote to partitions lately with a producer id, and up to which sequence. v0. */

import { describeProducersApi } from "@millrace/protocol";
import { defineHandler, errorMessageOf, errorNumberOf, NO_ERROR, type RequestContext } from "../handler.ts";

/** What Kafka says of a producer without transactions, of which there are none here. */
const NO_COORDINATOR = -1;

export const describeProducersHandler = defineHandler({
  api: describeProducersApi,
  versions: [0, 0],

  handle: ({ topics }, context) => ({
    topics: topics.map(({ name, partitionIndexes }) => ({
      name,
      partitions: partitionIndexes.map((partitionIndex) => describe(name, partitionIndex, context)),
    })),
  }),

  errorResponse: ({ topics }, errorCode) => ({
    topics: topics.map(({ name, partitionIndexes }) => ({
      name,
      partitions: partitionIndexes.map((partitionIndex) => ({ partitionIndex, errorCode, activeProducers: [] })),
    })),
  }),
});

function describe(name: string, partitionIndex: number, { access, broker }: RequestContext) {
  try {
    access.expect("READ", "TOPIC", name);
    const topic = broker.topics.expect(name);
    const activeProducers = topic
      .partition(partitionIndex)
      .producers()
      .map(({ producerId, epoch, batches }) => {
        const last = batches.at(-1);
        return {
          producerId,
          producerEpoch: epoch,
          lastSequence: last?.lastSequence ?? -1,
          lastTimestamp: last?.timestamp ?? -1n,
          coordinatorEpoch: NO_COORDINATOR,
        };
      });
    return { partitionIndex, errorCode: NO_ERROR, activeProducers };
  } catch (error) {
    const errorCode = errorNumberOf(error, `producers of ${name}-${partitionIndex}`, broker.logger);
    return { partitionIndex, errorCode, errorMessage: errorMessageOf(error), activeProducers: [] };
  }
}
