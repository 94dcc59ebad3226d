/** A group, its generation and its members: a record of the topic __consumer_offsets. */

import { array, bytes, defineMessage, int32, int64, string, struct } from "../../schema.ts";

/** Versions 0 and 1 of the same topic's keys are OffsetCommitKey. */
export const groupMetadataKey = defineMessage(
  "GroupMetadataKey",
  { group: string() },
  { min: 2, max: 2 },
  Number.POSITIVE_INFINITY,
);

/** A record with no value forgets the group. */
export const groupMetadataValue = defineMessage(
  "GroupMetadataValue",
  {
    protocolType: string(),
    generation: int32(),
    protocol: string().nullable(),
    leader: string().nullable(),
    currentStateTimestamp: int64().since(2).default(-1n),
    members: array(
      struct({
        memberId: string(),
        groupInstanceId: string().since(3).nullable().default(null),
        clientId: string(),
        clientHost: string(),
        rebalanceTimeout: int32().since(1).default(-1),
        sessionTimeout: int32(),
        subscription: bytes(),
        assignment: bytes(),
      }),
    ),
  },
  { min: 0, max: 4 },
  4,
);
