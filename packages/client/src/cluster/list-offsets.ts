/** Asks a leader for offsets: the earliest, the latest, or the first at or after a time. */

import { BrokerError, errorByCode, listOffsetsApi } from "@millrace/protocol";
import type { Connection } from "./connection.ts";
import type { PartitionMetadata } from "./topic-metadata.ts";

/** number: milliseconds since the epoch. */
export type OffsetSpec = "earliest" | "latest" | number;

export interface OffsetAndTimestamp {
  /** -1n: no record is at or after the time that was asked for. */
  readonly offset: bigint;
  /** Of the record at the offset, in milliseconds since the epoch; -1 for earliest and latest. */
  readonly timestamp: number;
}

const LATEST_TIMESTAMP = -1n;
const EARLIEST_TIMESTAMP = -2n;
const CONSUMER_REPLICA_ID = -1;

/**
 * partitions: all led by the broker at the other end. isCommittedOnly: latest is the last stable offset, behind which
 * transactions are open.
 *
 * Rejects with BrokerError if one of them fails.
 */
export async function listOffsets(
  connection: Connection,
  topic: string,
  partitions: readonly PartitionMetadata[],
  spec: OffsetSpec,
  isCommittedOnly = false,
): Promise<Map<number, OffsetAndTimestamp>> {
  const response = await connection.request(listOffsetsApi, {
    replicaId: CONSUMER_REPLICA_ID,
    isolationLevel: isCommittedOnly ? 1 : 0,
    topics: [
      {
        name: topic,
        partitions: partitions.map(({ partition, leaderEpoch }) => ({
          partitionIndex: partition,
          currentLeaderEpoch: leaderEpoch,
          timestamp: timestampOf(spec),
        })),
      },
    ],
  });
  const offsets = new Map<number, OffsetAndTimestamp>();
  for (const answer of response.topics.flatMap((entry) => entry.partitions)) {
    if (answer.errorCode !== 0) {
      throw BrokerError.fromNumber(answer.errorCode, `offsets of ${topic}-${answer.partitionIndex}`);
    }
    offsets.set(answer.partitionIndex, { offset: answer.offset, timestamp: Number(answer.timestamp) });
  }
  for (const { partition } of partitions) {
    if (offsets.has(partition)) continue;
    throw new BrokerError(errorByCode("UNKNOWN_SERVER_ERROR"), `offsets of ${topic}-${partition}: not in the answer`);
  }
  return offsets;
}

function timestampOf(spec: OffsetSpec): bigint {
  if (spec === "earliest") return EARLIEST_TIMESTAMP;
  if (spec === "latest") return LATEST_TIMESTAMP;
  return BigInt(Math.trunc(spec));
}
