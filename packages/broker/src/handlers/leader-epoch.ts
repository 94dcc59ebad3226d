/** The check of a partition's leader epoch, as far as a client says which one it knows. */

import { KafkaError } from "@millrace/protocol";
import type { PartitionLog } from "../log/partition-log.ts";

/** Throws FENCED_LEADER_EPOCH for an old one, UNKNOWN_LEADER_EPOCH for one that is yet to come. -1: the client does not say. */
export function checkLeaderEpoch(currentLeaderEpoch: number, log: PartitionLog): void {
  if (currentLeaderEpoch < 0 || currentLeaderEpoch === log.leaderEpoch) return;
  throw new KafkaError(
    currentLeaderEpoch < log.leaderEpoch ? "FENCED_LEADER_EPOCH" : "UNKNOWN_LEADER_EPOCH",
    `${log.topic}-${log.partition} has leader epoch ${log.leaderEpoch}; the client knows ${currentLeaderEpoch}`,
  );
}
