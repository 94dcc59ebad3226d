/** How far a group has read one partition: a record of the topic __consumer_offsets. */

import { defineMessage, int32, int64, NIL_UUID, string, uuid } from "../../schema.ts";

/** Version 0 is from Kafka 0.8 and the same. */
export const offsetCommitKey = defineMessage(
  "OffsetCommitKey",
  { group: string(), topic: string(), partition: int32() },
  { min: 0, max: 1 },
  Number.POSITIVE_INFINITY,
);

/** A record with no value forgets the offset. */
export const offsetCommitValue = defineMessage(
  "OffsetCommitValue",
  {
    offset: int64(),
    leaderEpoch: int32().since(3).default(-1),
    metadata: string(),
    commitTimestamp: int64(),
    expireTimestamp: int64().since(1).until(1).default(-1n),
    topicId: uuid().since(4).tagged(0).default(NIL_UUID),
  },
  { min: 0, max: 4 },
  4,
);
