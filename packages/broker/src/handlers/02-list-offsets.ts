/**
 * ListOffsets: the offset that belongs to a timestamp.
 *
 * v1–10. -1 latest (what readers may see), -2 earliest, -3 the record with the largest timestamp (v7), -4 earliest on
 * local disk (v8), -5 latest on remote storage (v9), of which there is none.
 */

import { KafkaError, listOffsetsApi } from "@millrace/protocol";
import { defineHandler, errorNumberOf, NO_ERROR, type RequestOf, type ResponseOf } from "../handler.ts";
import type { PartitionLog } from "../log/partition-log.ts";
import { checkLeaderEpoch } from "./leader-epoch.ts";
import { failedByTopic, partedByTopic } from "./partitions-by-topic.ts";

const LATEST = -1n;
const EARLIEST = -2n;
const MAX_TIMESTAMP = -3n;
const EARLIEST_LOCAL = -4n;
const LATEST_TIERED = -5n;

interface FoundOffset {
  readonly offset: bigint;
  readonly timestamp: bigint;
}

const NOT_FOUND: FoundOffset = { offset: -1n, timestamp: -1n };

export const listOffsetsHandler = defineHandler({
  api: listOffsetsApi,
  versions: [1, 10],

  async handle(request, { access, broker }) {
    const topics = [];
    for (const { name, partitions: asked } of request.topics) {
      const partitions = [];
      for (const { partitionIndex, currentLeaderEpoch, timestamp } of asked) {
        try {
          access.expect("DESCRIBE", "TOPIC", name);
          const log = broker.topics.expect(name).partition(partitionIndex);
          checkLeaderEpoch(currentLeaderEpoch, log);
          const found = await findOffset(log, timestamp);
          const leaderEpoch = found.offset < 0n ? -1 : log.epochOf(found.offset);
          partitions.push({ partitionIndex, errorCode: NO_ERROR, ...found, leaderEpoch });
        } catch (error) {
          const errorCode = errorNumberOf(error, `offsets of ${name}-${partitionIndex}`, broker.logger);
          partitions.push({ partitionIndex, errorCode });
        }
      }
      topics.push({ name, partitions });
    }
    return { topics };
  },

  errorResponse: ({ topics }, errorCode) => ({ topics: failedByTopic(topics, errorCode) }),
  parted: partedByTopic<RequestOf<typeof listOffsetsApi>, ResponseOf<typeof listOffsetsApi>>(),
});

async function findOffset(log: PartitionLog, timestamp: bigint): Promise<FoundOffset> {
  if (timestamp === LATEST) return { offset: log.highWatermark, timestamp: -1n };
  if (timestamp === EARLIEST || timestamp === EARLIEST_LOCAL) return { offset: log.logStartOffset, timestamp: -1n };
  if (timestamp === MAX_TIMESTAMP) return (await log.maxTimestamp()) ?? NOT_FOUND;
  if (timestamp === LATEST_TIERED) return NOT_FOUND;
  if (timestamp < 0n) throw new KafkaError("UNSUPPORTED_VERSION", `timestamp ${timestamp} stands for nothing we know`);
  return (await log.offsetForTimestamp(timestamp)) ?? NOT_FOUND;
}
